"""Schemas that answers are held to, read from the user's files."""

from pathlib import Path
from typing import Final

from edgespec.chat.schema.convert import schema_to_gbnf
from edgespec.chat.structure import Structure, StructureKind
from edgespec.documents import read_text
from edgespec.errors import EdgespecError, UsageError

_MOST_BYTES: Final = 1 << 20


def load_schema(path: Path) -> Structure:
    """A JSON schema, checked. Takes a moment where it is long: call it from a thread.

    Raises:
        EdgespecError: the file cannot be read.
        UsageError: it is no schema, or one that cannot be kept to.
    """
    path = path.expanduser()
    try:
        size = path.stat().st_size
    except OSError as error:
        raise EdgespecError(
            f"{path} cannot be read: {error.strerror or error}", "name a file with a JSON schema"
        ) from error
    if size > _MOST_BYTES:
        raise UsageError(f"{path} has {size} bytes", f"a schema has {_MOST_BYTES} at most")
    text = read_text(path)
    try:
        schema_to_gbnf(text)
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from None
    return Structure(StructureKind.SCHEMA, text)
