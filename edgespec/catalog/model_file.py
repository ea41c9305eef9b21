"""A model's file under the name that people call it by."""

from dataclasses import dataclass
from pathlib import Path

from edgespec.catalog.metadata import GgufMetadata, read_metadata


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model's name and file, with what its header says."""

    name: str
    path: Path
    meta: GgufMetadata


def open_file(name: str, path: Path) -> ModelFile:
    """Reads the header.

    Raises:
        ModelMissingError: there is no such file.
        ModelFileError: not a GGUF, or a damaged one.
    """
    return ModelFile(name, path, read_metadata(path))
