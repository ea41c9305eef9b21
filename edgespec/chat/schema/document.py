"""A JSON schema's own document: where its references lead, and what all parts of an `allOf` say together."""

from typing import Any, Final
from urllib.parse import unquote

from edgespec.chat.schema.merging import Schema, merge, without
from edgespec.errors import UsageError

DEEPEST: Final = 60
"""Schemas inside of one another."""
_MOST_LOOKED_AT: Final = 50_000
"""Schemas, each as often as it is referred to beside other keywords: a few dozen may otherwise be looked at for ever."""


class Document:
    """Looks schemas up, and ends a search that would not.

    Args:
        root: The schema that "#" refers to.
    """

    def __init__(self, root: object) -> None:
        self._root = root
        self._looked_at_n = 0

    def count(self) -> None:
        """Another schema is looked at.

        Raises:
            UsageError: it is one too many.
        """
        self._looked_at_n += 1
        if self._looked_at_n > _MOST_LOOKED_AT:
            raise UsageError("the schema refers to its own parts too often", "use a flatter one")

    def resolve(self, schema: Any) -> Schema:
        """The schema behind references.

        Raises:
            TypeError: there is none.
            UsageError: they lead nowhere, or to themselves, or to what cannot be merged with what stands beside them.
        """
        for _ in range(DEEPEST):
            if not isinstance(schema, dict):
                raise TypeError
            if "$ref" not in schema:
                return schema
            found = self.find(schema["$ref"])
            rest = without(schema, "$ref")
            schema = merge(found, rest) if rest else found
        raise UsageError('a "$ref" of the schema leads to itself', "let it lead to a schema")

    def find(self, reference: str) -> Any:
        """The part that a "$ref" names (https://www.rfc-editor.org/rfc/rfc6901, behind a "#").

        Raises:
            UsageError: the document does not hold it.
        """
        if reference != "#" and not reference.startswith("#/"):
            raise UsageError(
                f'the schema has a "$ref" to {reference[:80]}',
                'refer to a part of the schema itself, as "#/$defs/name"',
            )
        found: Any = self._root
        for part in reference[2:].split("/") if len(reference) > 1 else ():
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(key)] if isinstance(found, list) else found[key]
            except (KeyError, IndexError):
                raise UsageError(
                    f'the schema has a "$ref" to {reference[:80]}, which it does not hold', "define it there"
                ) from None
        return found

    def merge_all_of(self, schema: Schema) -> Schema:
        """One schema of all those of an `allOf` and what stands beside it.

        Raises:
            TypeError: one of them is none.
            UsageError: they cannot be one.
        """
        self.count()
        merged: Schema = without(schema, "allOf")
        for one in schema["allOf"]:
            resolved = self.resolve(one)
            merged = merge(merged, self.merge_all_of(resolved) if "allOf" in resolved else resolved)
        return merged
