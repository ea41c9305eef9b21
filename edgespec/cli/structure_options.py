"""The options that say what an answer must look like."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from edgespec.cli.options import option_group
from edgespec.errors import UsageError

if TYPE_CHECKING:
    from edgespec.chat.structure import Structure

_STRUCTURE: Final = (
    click.option(
        "--json-schema",
        metavar="FILE|TEXT",
        help="Answer with JSON of this schema: a file, or the schema itself.",
    ),
    click.option(
        "--grammar",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Answer with a text of this grammar, in llama.cpp's notation (GBNF).",
    ),
)


@dataclass(frozen=True, slots=True)
class StructureOptions:
    """What was typed of the structure."""

    json_schema: str | None
    grammar: Path | None

    def make_structure(self) -> "Structure | None":
        """What the answer must look like; None for whatever the model says.

        Raises:
            UsageError: both were typed, a file cannot be read, or what is in it cannot be kept to.
        """
        if self.json_schema is None and self.grammar is None:
            return None
        if self.json_schema is not None and self.grammar is not None:
            raise UsageError("--json-schema and --grammar are both given", "give one of them")

        from edgespec.chat.answer_grammar import check_structure
        from edgespec.chat.structure import Structure, StructureKind

        if self.grammar is not None:
            structure = Structure(StructureKind.GBNF, _read_text(self.grammar))
        else:
            text = self.json_schema or ""
            is_schema = text.lstrip().startswith(("{", "["))
            structure = Structure(StructureKind.SCHEMA, text if is_schema else _read_text(Path(text)))
        check_structure(structure)
        return structure


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as err:
        raise UsageError(f"{path} cannot be read: {err.strerror}", "give the name of a file") from None
    except ValueError:  # a name with a zero byte, or bytes that are no UTF-8
        raise UsageError(f"{path} is not UTF-8 text", "give the name of a UTF-8 text file") from None


structure_options: Final = option_group("structure", StructureOptions, _STRUCTURE)
"""Adds the options of an answer's structure to a command, which takes them as `structure`."""
