"""`edgespec run`: one answer, streamed to stdout."""

import sys
from typing import Any

import click

from edgespec.cli.answer_printer import AnswerPrinter
from edgespec.cli.context import Settings
from edgespec.cli.engine_options import EngineOptions, SamplingOptions, engine_options, sampling_options
from edgespec.cli.output import print_json
from edgespec.cli.server_options import ServerOptions, server_options
from edgespec.cli.structure_options import StructureOptions, structure_options
from edgespec.cli.thinking_options import ThinkingOptions, thinking_options
from edgespec.errors import UsageError


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
    picked, engine_settings = sampling.make_wish(), engine.make_settings()

    from edgespec.chat.messages import ChatMessage
    from edgespec.worker.protocol import Answer

    messages = [ChatMessage("system", system)] if system else []
    messages.append(ChatMessage("user", text))
    request = Answer(tuple(messages), max_tokens, picked, thinking=thinking.make_thinking())
    printer = AnswerPrinter(silent=as_json, shows_thoughts=show_thinking)
    if address is None:
        from edgespec.cli.run_here import answer_here

        report = answer_here(
            target, draft, request, printer, engine_settings, settings, raw=raw, structure=wanted
        )
    else:
        from edgespec.cli.run_remote import answer_remotely

        report = answer_remotely(
            address, target, request, printer, raw=raw, structure=wanted, quiet=settings.quiet
        )
    if as_json:
        print_json(report.document)
    elif stats:
        click.echo(report.receipt, err=True)


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
