"""What a tab says of itself beside its title, while another one may be shown."""

from enum import StrEnum


class TabMark(StrEnum):
    """One sign; none where there is nothing to say."""

    NONE = ""
    ANSWERING = "▶"
    WAITS = "⋯"
    """A message waits until the engine is free."""
    ASKS = "?"
    """A tool wants to be run, and nobody has been asked yet."""
    ANSWERED = "●"
    """There is an answer that nobody has seen."""
    FAILED = "!"
    """Something went wrong that nobody has seen."""
