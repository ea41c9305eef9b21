"""A model's file under the name that people call it by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgespec.catalog.entries import ModelEntry
from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.errors import EdgespecError

UNREADABLE: Final = (
    *(EdgespecError, OSError),
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
)
"""What a file's header can lead to: the second line is of one so odd that nobody thought of it. Of many files that one is
named, and the others are judged."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model's name and file, with what its header says."""

    name: str
    path: Path
    meta: GgufMetadata
    sampling: Mapping[str, float] = field(default_factory=dict)
    """What the catalogue says of how its tokens are best picked."""


def why_unreadable(error: Exception) -> str:
    """What an error of `UNREADABLE` says of the file, in a clause."""
    if isinstance(error, EdgespecError):
        return error.message
    if isinstance(error, OSError):
        return str(error)
    return f"its header cannot be understood ({type(error).__name__}: {error})"


def open_file(name: str, path: Path, entry: ModelEntry | None = None) -> ModelFile:
    """Reads the header.

    Args:
        name: By which people call it.
        path: The file, or the first part of a split model.
        entry: What the catalogue says of it.

    Raises:
        ModelMissingError: there is no such file.
        ModelFileError: not a GGUF, or a damaged one.
    """
    return ModelFile(name, path, read_metadata(path), entry.sampling if entry else {})
