"""`edgespec run --server`: one answer of a server, streamed to stdout."""

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click

from edgespec.cli.answer_printer import AnswerPrinter, AnswerReport, warn_of_answer
from edgespec.text import one_line, plain_text

if TYPE_CHECKING:
    from edgespec.chat.structure import Structure
    from edgespec.worker.protocol import Answer
    from edgespec.worker.remote.address import ServerAddress
    from edgespec.worker.remote.server import RemoteAnswer


def answer_remotely(
    address: "ServerAddress",
    target: str | None,
    request: "Answer",
    printer: AnswerPrinter,
    *,
    raw: bool,
    structure: "Structure | None",
    quiet: bool,
) -> AnswerReport:
    """Asks a server and prints what comes.

    Args:
        address: Of the server.
        target: Which of its models.
        request: What is asked.
        printer: Takes the answer.
        raw: Send the text without the model's chat template.
        structure: What the answer must look like.
        quiet: No warnings, and no word on why it takes longer.

    Raises:
        EdgespecError: any error of `edgespec.worker.remote.server`.
    """

    def tell(text: str) -> None:
        if not quiet:
            click.echo(f"edgespec: {one_line(text)}", err=True)

    async def ask() -> AnswerReport:
        from edgespec.cli.flags import with_flags
        from edgespec.worker.remote.figures import remote_receipt
        from edgespec.worker.remote.server import RemoteServer

        async with aclosing(RemoteServer(address, tell)) as server:
            model = await server.open(target)
            answer = server.ask(request, raw=raw, structure=structure)
            with printer:
                async with aclosing(answer.pieces()) as pieces:
                    async for parts in pieces:
                        printer.add(parts.answer, parts.thought)
        for note in answer.notes:
            tell(f"warning: {with_flags(note)}")
        if not quiet:
            warn_of_answer(answer.stats, printer, None)
        receipt = plain_text(f"{remote_receipt(answer.stats)}\n{one_line(answer.stats.why)}")
        return AnswerReport(_document(answer, model.name, printer), receipt)

    return asyncio.run(ask())


def _document(answer: "RemoteAnswer", model: str, printer: AnswerPrinter) -> dict[str, Any]:
    stats, drafts = answer.stats, answer.tells_timings
    return {
        "schema": "edgespec.run/1",
        "text": printer.text,
        "thought": printer.thought,
        "prompt_n": stats.prompt_n or None,
        "predicted_n": stats.predicted_n or None,
        "thought_n": stats.thought_n or (None if printer.thought else 0),
        "tok_per_s": stats.tok_per_s or None,
        "estimated_speedup": None,
        "draft_n": stats.draft_n if drafts else None,
        "draft_n_accepted": stats.draft_n_accepted if drafts else None,
        "acceptance": stats.acceptance,
        "mean_accepted_len": None,
        "ttft_s": stats.ttft_s or None,
        "prompt_tok_per_s": stats.prompt_tok_per_s or None,
        "stopped": stats.stopped,
        "speculation": stats.why,
        "model": model,
        "server": str(answer.address),
    }
