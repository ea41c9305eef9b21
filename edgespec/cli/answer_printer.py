"""An answer as `run` shows it while it comes, and what there is to say of it afterwards."""

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from edgespec.text import plain_text

if TYPE_CHECKING:
    from edgespec.decode.token import GenerationStats


@dataclass(frozen=True, slots=True)
class AnswerReport:
    """What there is to say of an answer, in the two forms in which it can be shown."""

    document: dict[str, Any]
    """For `--json`; null is what a server does not tell."""
    receipt: str
    """For `--stats`."""


class AnswerPrinter:
    """Streams an answer to stdout and its thought to stderr, and keeps both whole; used as a context.

    Control characters become visible, lest a model drives the terminal.

    Args:
        silent: Keep stdout for something else.
        shows_thoughts: Print them.
    """

    def __init__(self, *, silent: bool, shows_thoughts: bool) -> None:
        self._silent, self._shows_thoughts = silent, shows_thoughts
        self._text: list[str] = []
        self._thought: list[str] = []
        self._is_open = False
        """The line of a thought on stderr has no end yet."""

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._text)

    @property
    def thought(self) -> str:
        """The thought so far."""
        return "".join(self._thought)

    def add(self, text: str, thought: str) -> None:
        """More of it came."""
        self._text.append(text)
        self._thought.append(thought)
        if self._shows_thoughts and thought:
            click.echo(plain_text(thought), nl=False, err=True)
            self._is_open = True
        if text:
            self._end_thought()
            if not self._silent:
                click.echo(plain_text(text), nl=False)

    def __enter__(self) -> "AnswerPrinter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the line, whole or not."""
        self._end_thought()
        if not self._silent and self._text:
            click.echo()

    def _end_thought(self) -> None:
        if self._is_open:
            click.echo(err=True)
        self._is_open = False


def warn_of_answer(
    stats: "GenerationStats", answer: AnswerPrinter, n_ctx: int | None, *, can_stop_thinking: bool = True
) -> None:
    """Says what is odd about an answer: the context was full, or all of it was thought.

    Args:
        stats: Its figures.
        answer: What was printed of it.
        n_ctx: Tokens of the context; None for that of a server.
        can_stop_thinking: Whether the model may have a switch for that which has not been tried.
    """
    if stats.stopped == "context":
        full = "the server's context is" if n_ctx is None else f"the context of {n_ctx} tokens is"
        way_out = "start it with a larger one" if n_ctx is None else "use a larger --ctx-size"
        click.echo(f"edgespec: warning: {full} full, and the answer cut short; {way_out}", err=True)
    if not answer.text and (stats.thought_n or answer.thought):
        _explain_empty(stats, "--think off" if can_stop_thinking else "--think-budget 0")


def _explain_empty(stats: "GenerationStats", way_out: str) -> None:
    """Says where the tokens went when all of them were thoughts, and how to get an answer."""
    if stats.stopped == "length":
        count = f"{stats.predicted_n} tokens" if stats.predicted_n else "tokens"
        click.echo(
            f"edgespec: warning: all {count} were thoughts and the answer did not begin; "
            "allow a larger --max-tokens or set a --think-budget",
            err=True,
        )
    elif stats.stopped == "eog":
        count = f"{stats.thought_n} tokens of thought" if stats.thought_n else "its thought"
        click.echo(
            f"edgespec: warning: the model ended after {count} without an answer; "
            f"read them with --show-thinking, or ask again with {way_out}",
            err=True,
        )
