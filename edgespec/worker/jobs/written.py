"""What jobs that write a model say of it."""

from dataclasses import dataclass
from pathlib import Path

Lines = tuple[tuple[str, str], ...]
"""Things to be said, each with a word for what it is."""


@dataclass(frozen=True, slots=True)
class Made:
    """A new file."""

    dense: Path
    """The model that it was made from."""
    path: Path
    notes: Lines
    """What left, what the repair brought."""
