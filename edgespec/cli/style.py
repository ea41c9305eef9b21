"""Consoles for what is printed: coloured only where colour is wanted."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def result_console() -> "Console":
    """A console on stdout, for results; rich itself honours NO_COLOR and leaves out colour when piped."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def message_console() -> "Console":
    """A console on stderr, for everything that is not the result."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)
