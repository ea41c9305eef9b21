"""`edgespec run`: one answer, streamed to stdout."""

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from edgespec.cli.answer_printer import AnswerPrinter, warn_of_answer
from edgespec.cli.context import Settings
from edgespec.cli.engine_options import EngineOptions, SamplingOptions, engine_options, sampling_options
from edgespec.cli.output import print_json
from edgespec.cli.server_options import ServerOptions, server_options
from edgespec.cli.structure_options import StructureOptions, structure_options
from edgespec.cli.thinking_options import ThinkingOptions, thinking_options
from edgespec.errors import UsageError

if TYPE_CHECKING:
    from edgespec.session import Session


@click.command("run")
@click.argument("target", required=False)
@click.option("-p", "--prompt", default="", help="The prompt; what is piped in comes before it.")
@click.option("--system", default="", help="A system prompt.")
@click.option("--draft", default="auto", show_default=True, help="A model, ngram, auto or none.")
@click.option(
    "-n", "--max-tokens", type=click.IntRange(1), default=1024, show_default=True, help="Longest answer."
)
@click.option("--raw", is_flag=True, help="Send the text without the model's chat template.")
@click.option("--show-thinking", is_flag=True, help="Print what the model thinks to stderr.")
@click.option("--stats", is_flag=True, help="Print speed and acceptance to stderr afterwards.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer and its figures as JSON.")
@structure_options
@thinking_options
@sampling_options
@engine_options
@server_options
@click.pass_obj
def command(
    settings: Settings,
    /,
    target: str | None,
    prompt: str,
    system: str,
    draft: str,
    max_tokens: int,
    raw: bool,
    show_thinking: bool,
    stats: bool,
    as_json: bool,
    structure: StructureOptions,
    thinking: ThinkingOptions,
    sampling: SamplingOptions,
    engine: EngineOptions,
    remote: ServerOptions,
) -> None:
    """Answer one prompt with TARGET, a pair's or model's name or a GGUF file [default: the embedded model]."""
    if raw:
        thinking.check_raw()
    wanted = structure.make_structure()
    address = remote.make_address()
    text = _read_prompt(prompt)
    picked, engine_settings = sampling.make_sampling(), engine.make_settings()

    from edgespec.chat.messages import ChatMessage

    messages = [ChatMessage("system", system)] if system else []
    messages.append(ChatMessage("user", text))
    printer = AnswerPrinter(silent=as_json, shows_thoughts=show_thinking)
    if address is not None:
        from edgespec.cli.run_remote import answer_remotely
        from edgespec.worker.protocol import Answer

        request = Answer(tuple(messages), max_tokens, picked, thinking=thinking.make_thinking())
        answered = answer_remotely(
            address, target, request, printer, raw=raw, structure=wanted, quiet=settings.quiet
        )
        if as_json:
            print_json(answered.document)
        elif stats:
            click.echo(answered.receipt, err=True)
        return

    from edgespec.cli.opening import open_with_progress

    with open_with_progress(target, draft, engine_settings, settings) as session:
        tokens = session.stream(
            messages,
            max_tokens=max_tokens,
            sampling=picked,
            raw=raw,
            thinking=thinking.make_thinking(),
            structure=wanted,
        )
        with printer, closing(tokens):
            for token in tokens:
                printer.add(token.text, token.thought)
        if not settings.quiet:
            from edgespec.chat.thinking import can_stop_thinking

            target_loaded = session.engine.target
            warn_of_answer(
                session.stats,
                printer,
                target_loaded.context.n_ctx,
                can_stop_thinking=thinking.think != "off" and can_stop_thinking(target_loaded.model),
            )
        if as_json:
            _print_json(session, printer)
        elif stats:
            from edgespec.session.explain import receipt

            figures = session.stats
            click.echo("\n".join([receipt(figures), figures.why, *session.engine.placements()]), err=True)


def _read_prompt(prompt: str) -> str:
    """What is piped in, then the prompt.

    Raises:
        UsageError: neither is there.
    """
    piped = "" if sys.stdin is None or sys.stdin.isatty() else _read_stdin().strip()
    text = "\n\n".join(part for part in (piped, prompt) if part)
    if not text:
        raise UsageError("there is no prompt", "give one with -p, or pipe one in")
    return text


def _read_stdin() -> str:
    """All of stdin; bytes that are not text become replacement characters."""
    reconfigure: Any = getattr(sys.stdin, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return sys.stdin.read()


def _print_json(session: "Session", answer: AnswerPrinter) -> None:
    stats = session.stats
    document = {
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
    print_json(document)
