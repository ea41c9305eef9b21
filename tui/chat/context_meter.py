"""How much of the context a conversation takes: a number that turns to a warning before the end comes."""

from dataclasses import dataclass
from typing import Final

from textual.message import Message
from textual.widgets import Static

_WARNS_AT: Final = 0.8
"""Share of the context from which on its end is near: what is left is one or two answers."""
_BAR: Final = 20
"""Columns of the bar where there is room for one."""


@dataclass
class ContextUsed(Message):
    """What the conversation takes has changed."""

    used: int
    """Tokens; 0 where that is not known."""
    size: int
    """Of the context; 0 where that is not known."""


class ContextMeter(Static):
    """Tokens used of those that there are.

    Args:
        name: Of the widget.
        with_bar: Show a bar below, where there is a line for it.
    """

    def __init__(self, name: str, *, with_bar: bool = False) -> None:
        super().__init__("", id=name, markup=False)
        self._with_bar = with_bar
        self.display = False

    def show(self, used: int, size: int) -> None:
        """Shows that; nothing before the first answer."""
        self.display = used > 0
        self.set_class(bool(size) and used >= _WARNS_AT * size, "warning")
        bar = f"\n{_bar(used, size)}" if self._with_bar and size else ""
        self.update(context_words(used, size) + bar)


def context_words(used: int, size: int) -> str:
    """`context 467/4,096`, and the share of it from where it warns: `context 3,441/4,096 · 84 % full`."""
    if not size:
        return f"context {used:,} tokens"
    full = f" · {min(used / size, 1):.0%} full".replace("%", " %") if used >= _WARNS_AT * size else ""
    return f"context {used:,}/{size:,}{full}"


def _bar(used: int, size: int) -> str:
    filled = min(_BAR, round(_BAR * used / size))
    return "█" * filled + "░" * (_BAR - filled)
