"""JSON schemas as GBNF.

`llama_cpp.llama_grammar` has a converter; its grammars are no grammars where a constant holds a quotation mark, take two
references that end alike for one, and leave out the bounds of numbers. Here values are written in one form, `{"a": 1, "b": [2, 3]}`:
then what stands between them is certain, and costs a constrained answer hardly any time.
"""

import json
import math
from typing import Any, Final, NoReturn

from edgespec.chat.schema.document import DEEPEST, Document
from edgespec.chat.schema.merging import Schema, merge, without
from edgespec.chat.schema.numbers import Bounds, decimals, whole_numbers
from edgespec.chat.schema.patterns import pattern_rule
from edgespec.chat.schema.writing import FORMATS, Rulebook, json_literal, literal
from edgespec.decode.grammar.gbnf import LONGEST_GRAMMAR
from edgespec.errors import UsageError

_REFUSED: Final = frozenset(
    {"not", "if", "then", "else", "patternProperties", "propertyNames", "dependentRequired", "contains"}
    | {"dependentSchemas", "dependencies", "unevaluatedProperties", "unevaluatedItems", "minContains"}
    | {"maxContains", "$dynamicRef", "$recursiveRef", "minProperties", "maxProperties"}
)
_TYPE_OF: Final = (
    ("object", ("properties", "required", "additionalProperties")),
    ("array", ("items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems")),
    ("string", ("pattern", "minLength", "maxLength")),
    ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
)
"""What a schema without a type is taken to speak of."""
_PLAIN: Final = ("boolean", "null")


def schema_to_gbnf(text: str) -> str:
    """A grammar of which every text is a value of a schema; not all values of it have to be among them.

    Args:
        text: The schema, as JSON.

    Raises:
        UsageError: it is no schema, or says what a grammar cannot say; the keyword is named.
    """
    if len(text) > LONGEST_GRAMMAR:
        raise UsageError(
            f"the schema has {len(text)} characters, and {LONGEST_GRAMMAR} are read", "use a smaller one"
        )
    try:
        schema = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as err:
        raise UsageError(f"the schema is no JSON: {err}", "give a JSON schema, as JSON text") from None
    rules = Rulebook()
    return rules.text(schema_rule(schema, rules))


def schema_rule(schema: object, rules: Rulebook) -> str:
    """The name of a rule for a schema, which is its own document.

    Raises:
        UsageError: as of `schema_to_gbnf`.
    """
    try:
        return _Converter(schema, rules).visit(schema, 0)
    except RecursionError:
        raise UsageError("the schema is nested too deeply", "use a flatter one, and shorter names") from None
    except (TypeError, AttributeError, ValueError, OverflowError):
        raise UsageError(
            "the schema is none: a keyword has a value of the wrong kind", "see json-schema.org"
        ) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


class _Converter:
    def __init__(self, document: object, rules: Rulebook) -> None:
        self._document, self._rules = Document(document), rules
        self._references: dict[str, str] = {}

    def visit(self, schema: Any, depth: int) -> str:
        """The name of a rule for a schema."""
        self._document.count()
        if depth > DEEPEST:
            raise UsageError(f"the schema is nested deeper than {DEEPEST}", "use a flatter one")
        if schema is True:
            return self._rules.primitive("value")
        if not isinstance(schema, dict):
            raise UsageError(
                f"the schema {json.dumps(schema)[:40]} allows nothing, or is none", "give an object"
            )
        schema = without(schema)
        for name in schema:
            if name in _REFUSED:
                _refuse(name)
        if "$ref" in schema:
            return self._refer(schema, depth)
        if "allOf" in schema:
            return self.visit(self._document.merge_all_of(schema), depth + 1)
        for name in ("anyOf", "oneOf"):
            if name in schema:
                rest = without(schema, name)
                return self._union(
                    [merge(rest, self._document.resolve(one)) if rest else one for one in schema[name]], depth
                )
        if isinstance(schema.get("type"), list):
            return self._union([{**schema, "type": one} for one in schema["type"]], depth)
        return self._rules.add(self._body(schema, depth))

    def _body(self, schema: Schema, depth: int) -> str:
        if "const" in schema or "enum" in schema:
            return self._constants(schema)
        kind = schema.get("type") or next(
            (kind for kind, words in _TYPE_OF if any(w in schema for w in words)), None
        )
        if kind is None:
            return self._rules.primitive(schema["format"] if schema.get("format") in FORMATS else "value")
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind == "string":
            return self._string(schema)
        if kind in ("integer", "number"):
            return self._number(schema, whole=kind == "integer")
        if kind in _PLAIN:
            return self._rules.primitive(kind)
        raise UsageError(f'the schema has a "type" {json.dumps(kind)[:40]}', "see json-schema.org")

    def _refer(self, schema: Schema, depth: int) -> str:
        if len(schema) > 1:
            return self.visit(
                merge(self._document.resolve({"$ref": schema["$ref"]}), without(schema, "$ref")), depth + 1
            )
        reference = schema["$ref"]
        if reference not in self._references:
            name = self._references[reference] = self._rules.reserve()
            self._rules.fill(name, self.visit(self._document.find(reference), depth + 1))
        return self._references[reference]

    def _union(self, schemas: list[Any], depth: int) -> str:
        if not schemas:
            raise UsageError(
                "the schema allows nothing: a list of its alternatives is empty", "give one at least"
            )
        return self._rules.add(" | ".join(dict.fromkeys(self.visit(one, depth + 1) for one in schemas)))

    def _constants(self, schema: Schema) -> str:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        if "const" in schema and "enum" in schema:
            values = [value for value in values if value in schema["enum"]]
        kind = schema.get("type")
        found = [json_literal(value) for value in values if kind is None or _is_of(value, kind)]
        if not found:
            raise UsageError(
                'the schema allows none of the values of its "enum" or "const"', "give one at least"
            )
        return " | ".join(dict.fromkeys(found))

    def _object(self, schema: Schema, depth: int) -> str:
        properties: dict[str, Any] = dict(schema.get("properties", {}))
        required = list(schema.get("required", []))
        properties |= {name: True for name in required if name not in properties}
        more = schema.get("additionalProperties", not properties)
        # From the last property to the first: `rest` comes behind another one, `first` where there is none yet.
        rest, first = '""', '""'
        if more is not False:
            extra = f'{self._other_key(properties)} ": " {self.visit(more, depth + 1)}'
            rest = self._rules.add(f'(", " {extra})*')
            first = self._rules.add(f"({extra} {rest})?")
        for name in reversed(properties):
            pair = self._rules.add(
                f"{literal(json.dumps(name, ensure_ascii=False) + ': ')} {self.visit(properties[name], depth + 1)}"
            )
            behind, begun = f'", " {pair} {rest}', f"{pair} {rest}"
            if name not in required:
                behind, begun = f"{behind} | {rest}", f"{begun} | {first}"
            rest, first = self._rules.add(behind), self._rules.add(begun)
        return f'"{{" {first} "}}"'

    def _other_key(self, names: dict[str, Any]) -> str:
        """A key that is none of some names, written without escapes."""
        if not names:
            return self._rules.primitive("string")
        return f'"\\"" {self._other_text(sorted(names), 0)}'

    def _other_text(self, names: list[str], place: int) -> str:
        """The rest of a key, and its quotation mark, where the names may still be meant."""
        plain = r'[^"\\\x00-\x1F\x7F]'
        nexts = dict.fromkeys(name[place] for name in names if len(name) > place)
        plain_nexts = "".join(f"\\U{ord(char):08X}" for char in nexts)
        parts = [f'[^"\\\\\\x00-\\x1F\\x7F{plain_nexts}] {plain}* "\\""']
        if all(len(name) != place for name in names):
            parts.append('"\\""')
        for char in nexts:
            if char.isprintable() and char not in '"\\':
                among = [name for name in names if name[place : place + 1] == char]
                parts.append(f"{literal(char)} {self._other_text(among, place + 1)}")
        return self._rules.add(" | ".join(parts))

    def _array(self, schema: Schema, depth: int) -> str:
        if schema.get("uniqueItems"):
            _refuse("uniqueItems")
        items = schema.get("items", True)
        prefix = schema.get("prefixItems", items if isinstance(items, list) else [])
        if isinstance(items, list):
            items = schema.get("additionalItems", False)
        elif prefix and "items" not in schema:
            items = False
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        fixed = [self.visit(one, depth + 1) for one in prefix[:most]]
        left = None if most is None else most - len(fixed)
        if items is False or left == 0:
            if least > len(fixed):
                raise UsageError(f'the schema has "minItems" {least} and fewer items', "allow more items")
            return f'"[" {_joined(fixed)} "]"'
        item = self.visit(items, depth + 1)
        least = max(0, least - len(fixed))
        if left is not None and left < least:
            raise UsageError(f'the schema has "minItems" above "maxItems" {most}', "give them in order")
        one_more = f'", " {item}'
        if fixed:
            return f'"[" {_joined(fixed)} {_times(one_more, least, left)} "]"'
        behind = _times(one_more, max(least - 1, 0), None if left is None else left - 1)
        return f'"[" {item} {behind} "]"' if least else f'"[" ({item} {behind})? "]"'

    def _string(self, schema: Schema) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        if "pattern" in schema:
            if least or most is not None:
                _refuse("minLength" if least else "maxLength", 'beside "pattern"')
            self._rules.primitive("char")
            return pattern_rule(schema["pattern"])
        if schema.get("format") in FORMATS:
            return self._rules.primitive(schema["format"])
        if most is not None and most < least:
            raise UsageError(
                f'the schema has "minLength" {least} above "maxLength" {most}', "give them in order"
            )
        char = self._rules.primitive("char")
        return (
            f'"\\"" {_times(char, least, most)} "\\""'
            if least or most is not None
            else self._rules.primitive("string")
        )

    def _number(self, schema: Schema, *, whole: bool) -> str:
        if schema.get("multipleOf", 1) != 1:
            _refuse("multipleOf")
        whole = whole or "multipleOf" in schema
        bounds = _bounds(schema)
        if bounds == Bounds():
            return self._rules.primitive("integer" if whole else "number")
        found = whole_numbers(bounds.least_whole, bounds.most_whole) if whole else decimals(bounds)
        if not found:
            raise UsageError("no number lies between the bounds of the schema", "give wider ones")
        return found


def _bounds(schema: Schema) -> Bounds:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if isinstance(above, bool) or isinstance(below, bool):  # as in draft 4
        return Bounds(low, high, above is True, below is True)
    low_excluded = above is not None and (low is None or above >= low)
    high_excluded = below is not None and (high is None or below <= high)
    return Bounds(
        above if low_excluded else low, below if high_excluded else high, low_excluded, high_excluded
    )


def _is_of(value: object, kind: str) -> bool:
    if isinstance(value, bool) or value is None:
        return kind == ("null" if value is None else "boolean")
    if isinstance(value, float):
        return kind == "number" or (kind == "integer" and math.isfinite(value) and value == int(value))
    kinds = {str: ("string",), dict: ("object",), list: ("array",), int: ("integer", "number")}
    return kind in kinds[type(value)]


def _joined(items: list[str]) -> str:
    return ' ", " '.join(items) if items else '""'


def _times(item: str, least: int, most: int | None) -> str:
    return f"({item}){{{least},{'' if most is None else most}}}"


def _refuse(keyword: str, where: str = "") -> NoReturn:
    said = f" {where}" if where else ""
    raise UsageError(
        f'"{keyword}"{said} of the schema cannot become a grammar',
        "leave it out, and check the answer yourself",
    )
