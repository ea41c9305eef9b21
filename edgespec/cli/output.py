"""How a command prints what it found: lines for people, or one JSON document."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypedDict

import click

from edgespec.text import plain_text

if TYPE_CHECKING:
    from edgespec.catalog.model_file import ModelFile


class ModelDocument(TypedDict):
    """A model in a JSON document."""

    name: str
    path: str
    size_bytes: int


def model_document(file: "ModelFile") -> ModelDocument:
    """What a JSON document says of a model's file."""
    return {"name": file.name, "path": str(file.path), "size_bytes": file.meta.file_bytes}


def print_json(document: Mapping[str, object]) -> None:
    """Prints the document in ASCII alone: no code page can lose a character of it, and none reaches a terminal raw."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=True, default=str))


def print_lines(lines: Iterable[tuple[str, str]], *, width: int = 12) -> None:
    """Prints values behind their names, harmless for a terminal; one without a name belongs to the line before it.

    Args:
        lines: Names and values.
        width: Characters that a name with its colon takes.
    """
    for name, value in lines:
        click.echo(f"{name + ':' if name else '':<{width}} {plain_text(value)}")
