"""What jobs that write a model say: that they began, and what they wrote."""

from dataclasses import dataclass
from pathlib import Path

Lines = tuple[tuple[str, str], ...]
"""Things to be said, each with a word for what it is."""


@dataclass(frozen=True, slots=True)
class Began:
    """The process that writes, for cleaning up behind it should it be killed."""

    pid: int


@dataclass(frozen=True, slots=True)
class Made:
    """A new file."""

    dense: Path
    """The model that it was made from."""
    path: Path
    notes: Lines
    """What left, what the repair brought."""
