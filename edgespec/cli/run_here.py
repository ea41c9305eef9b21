"""`edgespec run`: one answer of an engine in this process, streamed to stdout."""

from contextlib import closing
from typing import TYPE_CHECKING, Any

from edgespec.cli.answer_printer import AnswerPrinter, AnswerReport, warn_of_answer
from edgespec.cli.context import Settings
from edgespec.cli.opening import open_with_progress

if TYPE_CHECKING:
    from edgespec.chat.structure import Structure
    from edgespec.session import EngineSettings, Session
    from edgespec.worker.protocol import Answer


def answer_here(
    target: str | None,
    draft: str,
    request: "Answer",
    printer: AnswerPrinter,
    engine_settings: "EngineSettings",
    settings: Settings,
    *,
    raw: bool,
    structure: "Structure | None",
) -> AnswerReport:
    """Opens a pair and prints what it answers.

    Args:
        target: A pair's or model's name, or a path; None for the default model.
        draft: `auto`, `ngram`, `none`, or a model like `target`.
        request: What is asked.
        printer: Takes the answer.
        engine_settings: What the pair is opened with.
        settings: Whether anything may be fetched, or be shown beside the answer.
        raw: Send the text without the model's chat template.
        structure: What the answer must look like.

    Raises:
        EdgespecError: any error of `edgespec.session`.
    """
    with open_with_progress(target, draft, engine_settings, settings) as session:
        tokens = session.stream(
            list(request.messages),
            max_tokens=request.max_tokens,
            sampling=request.sampling,
            raw=raw,
            thinking=request.thinking,
            structure=structure,
        )
        with printer, closing(tokens):
            for token in tokens:
                printer.add(token.text, token.thought)
        if not settings.quiet:
            _warn(session, printer, may_think=request.thinking.think != "off")
        return AnswerReport(_document(session, printer), _receipt(session))


def _warn(session: "Session", printer: AnswerPrinter, *, may_think: bool) -> None:
    from edgespec.chat.thinking import can_stop_thinking

    target = session.engine.target
    can_stop = may_think and can_stop_thinking(target.model)
    warn_of_answer(session.stats, printer, target.context.n_ctx, can_stop_thinking=can_stop)


def _receipt(session: "Session") -> str:
    from edgespec.session.explain import receipt

    return "\n".join([receipt(session.stats), session.stats.why, *session.engine.placements()])


def _document(session: "Session", answer: AnswerPrinter) -> dict[str, Any]:
    stats = session.stats
    return {
        "schema": "edgespec.run/1",
        "text": answer.text,
        "thought": answer.thought,
        "prompt_n": stats.prompt_n,
        "predicted_n": stats.predicted_n,
        "thought_n": stats.thought_n,
        "tok_per_s": stats.tok_per_s,
        "estimated_speedup": stats.estimated_speedup,
        "draft_n": stats.draft_n,
        "draft_n_accepted": stats.draft_n_accepted,
        "acceptance": stats.acceptance,
        "mean_accepted_len": stats.mean_accepted_len,
        "ttft_s": stats.ttft_s,
        "prompt_tok_per_s": stats.prompt_tok_per_s,
        "stopped": stats.stopped,
        "speculation": stats.why,
    }
