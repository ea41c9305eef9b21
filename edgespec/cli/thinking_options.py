"""The options that say how a model is to think before it answers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import click

from edgespec.cli.options import option_group
from edgespec.errors import UsageError

if TYPE_CHECKING:
    from edgespec.chat.thinking import Thinking

THINK_OPTION: Final = click.option(
    "--think",
    type=click.Choice(["auto", "on", "off"]),
    default="auto",
    show_default=True,
    help="Whether the model thinks before it answers, where its chat template has a switch for it.",
)
_THINKING: Final = (
    THINK_OPTION,
    click.option(
        "--think-budget",
        type=click.IntRange(0),
        help="Tokens of thought, after which the answer begins [default: as many as the model takes].",
    ),
)


@dataclass(frozen=True, slots=True)
class ThinkingOptions:
    """What was typed of the thinking."""

    think: Literal["auto", "on", "off"]
    think_budget: int | None

    def check_raw(self) -> None:
        """Refuses what only a chat template can do.

        Raises:
            UsageError: `--think` or `--think-budget` was typed beside `--raw`.
        """
        if self.think != "auto":
            typed = f"--think {self.think}"
        elif self.think_budget is not None:
            typed = f"--think-budget {self.think_budget}"
        else:
            return
        raise UsageError(
            f"{typed} has no effect with --raw, which leaves the chat template out", "use one of them"
        )

    def make_thinking(self) -> "Thinking":
        """How the model is to think."""
        from edgespec.chat.thinking import Thinking

        return Thinking(self.think, self.think_budget)


thinking_options: Final = option_group("thinking", ThinkingOptions, _THINKING)
"""Adds the options of thinking to a command, which takes them as `thinking`."""
