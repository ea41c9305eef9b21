"""`edgespec run`: one answer, streamed to stdout."""

import sys
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from edgespec.cli.context import Settings
from edgespec.cli.engine_options import EngineOptions, SamplingOptions, engine_options, sampling_options
from edgespec.cli.output import print_json
from edgespec.cli.structure_options import StructureOptions, structure_options
from edgespec.cli.thinking_options import ThinkingOptions, thinking_options
from edgespec.errors import UsageError
from edgespec.text import plain_text

if TYPE_CHECKING:
    from edgespec.decode.token import Token
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
) -> None:
    """Answer one prompt with TARGET, a pair's or model's name or a GGUF file [default: the embedded model]."""
    if raw:
        thinking.check_raw()
    wanted = structure.make_structure()
    text = _read_prompt(prompt)
    picked, engine_settings = sampling.make_sampling(), engine.make_settings()

    from edgespec.chat.messages import ChatMessage
    from edgespec.cli.opening import open_with_progress

    messages = [ChatMessage("system", system)] if system else []
    messages.append(ChatMessage("user", text))
    with open_with_progress(target, draft, engine_settings, settings) as session:
        tokens = session.stream(
            messages,
            max_tokens=max_tokens,
            sampling=picked,
            raw=raw,
            thinking=thinking.make_thinking(),
            structure=wanted,
        )
        answer = _print_answer(tokens, silent=as_json, shows_thoughts=show_thinking)
        if session.stats.stopped == "context" and not settings.quiet:
            _tell_full(session.engine.target.context.n_ctx)
        if not (answer.text or settings.quiet):
            _explain_empty(session)
        if as_json:
            _print_json(session, answer)
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


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of a prompt."""

    text: str
    thought: str


def _print_answer(tokens: "Generator[Token, None, None]", *, silent: bool, shows_thoughts: bool) -> _Answer:
    """Streams the answer to stdout and the thought to stderr, and returns both whole.

    Control characters become visible, lest a model drives the terminal.
    """
    answer: list[str] = []
    thought: list[str] = []
    is_open = False
    try:
        for token in tokens:
            answer.append(token.text)
            thought.append(token.thought)
            if shows_thoughts and token.thought:
                click.echo(plain_text(token.thought), nl=False, err=True)
                is_open = True
            if token.text:
                is_open = _end_thought(is_open)
                if not silent:
                    click.echo(plain_text(token.text), nl=False)
    finally:
        tokens.close()
        _end_thought(is_open)
        if not silent and answer:
            click.echo()
    return _Answer("".join(answer), "".join(thought))


def _tell_full(n_ctx: int) -> None:
    click.echo(
        f"edgespec: warning: the context of {n_ctx} tokens is full, and the answer cut short; use a larger --ctx-size",
        err=True,
    )


def _end_thought(is_open: bool) -> bool:
    """Ends the line of a thought on stderr; it is then closed."""
    if is_open:
        click.echo(err=True)
    return False


def _explain_empty(session: "Session") -> None:
    """Says where the tokens went when all of them were thoughts."""
    stats = session.stats
    if not stats.thought_n:
        return
    if stats.stopped == "length":
        click.echo(
            f"edgespec: warning: all {stats.predicted_n} tokens were thoughts and the answer did not begin; "
            "allow a larger --max-tokens or set a --think-budget",
            err=True,
        )
    elif stats.stopped == "eog":
        click.echo(
            f"edgespec: warning: the model ended after {stats.thought_n} tokens of thought without an answer; "
            "read them with --show-thinking, or ask again with --think off",
            err=True,
        )


def _print_json(session: "Session", answer: _Answer) -> None:
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
