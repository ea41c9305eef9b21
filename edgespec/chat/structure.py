"""What an answer must look like: a grammar, or a JSON schema that becomes one."""

from dataclasses import dataclass
from enum import StrEnum


class StructureKind(StrEnum):
    """How a structure is given."""

    GBNF = "gbnf"
    """A grammar in llama.cpp's notation, whose start is `root`."""
    SCHEMA = "schema"
    """A JSON schema, as JSON text."""
    JSON = "json"
    """Any JSON object."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What every text of an answer has to match. Thoughts before it are free."""

    kind: StructureKind
    text: str = ""
