"""Tool calls as a grammar: names that there are, and arguments of their schemas, in the model's own notation."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from edgespec.chat.calls.form import KEY, NUMBER, WILD, CallForm, TaggedArguments
from edgespec.chat.schema.convert import schema_rule
from edgespec.chat.schema.writing import Mark, Rulebook, literal, spell
from edgespec.chat.tools import Tool, Toolbox
from edgespec.errors import UsageError

_ID: Final = "[a-zA-Z0-9]{1,9}"
_PREFIX: Final = "call-"
_ROOT: Final = "calls"
_SPACE: Final = r"[ \t\r\n]{0,4}"


def calls_gbnf(
    form: CallForm, toolbox: Toolbox, spell_mark: Callable[[str], Mark], end_texts: tuple[str, ...] = ()
) -> tuple[str, str]:
    """A grammar of an answer with calls, and the name of its root.

    With `required` it is calls and nothing else. With `auto` it is any text, in which whatever begins as a call has to be one.

    Args:
        form: How the model writes calls.
        toolbox: Which there are, and whether one has to be called.
        spell_mark: A text as characters and control tokens.
        end_texts: Names of tokens that end an answer, which a grammar does not write.

    Raises:
        UsageError: the tool that has to be called is not there.
    """
    return _Calls(form, toolbox, spell_mark, end_texts).write()


class _Calls:
    def __init__(
        self, form: CallForm, toolbox: Toolbox, spell_mark: Callable[[str], Mark], end_texts: tuple[str, ...]
    ) -> None:
        self._form, self._toolbox, self._spell_mark = form, toolbox, spell_mark
        self._end_texts = end_texts
        self._rules = Rulebook(_PREFIX)

    def write(self) -> tuple[str, str]:
        form, rules = self._form, self._rules
        only = self._toolbox.only
        tools = [tool for tool in self._toolbox.tools if not only or tool.name == only]
        if not tools:
            raise UsageError(f"there is no tool {only} to call", "name one of the request's own tools")
        whole = form.opening + form.start
        lead = len(whole) - len(whole.lstrip())
        call = rules.add(" | ".join(self._call(tool) for tool in tools))
        end = self._said(self._without_ends(form.end))
        more = ""
        if self._toolbox.parallel and not form.single:
            more = f"({self._said(form.separator + form.start)} {call} {end})*"
        closing = self._said(self._without_ends(form.closing))
        behind = f"{call} {end} {more} {closing} {_SPACE}"
        if self._toolbox.choice == "required":
            return rules.text(f"{self._said(whole[lead:])} {behind}", _ROOT), _ROOT
        trigger = form.trigger or whole[lead:]
        rest = rules.add(f"{self._said(whole[lead + len(trigger) :])} {behind}")
        mark = self._spell_mark(trigger)
        start = (
            rules.scan({mark: rest}, may_end=True) if form.trigger else self._from_the_beginning(mark, rest)
        )
        return rules.text(start, _ROOT), _ROOT

    def _from_the_beginning(self, mark: Mark, rest: str) -> str:
        """A text that has to be a call where it begins as one."""
        free = self._rules.add(".*")
        following = rest
        for symbol in reversed(mark):
            following = self._rules.add(
                f'"" | {spell((symbol,))} {following} | [^{_in_class(symbol)}] {free}'
            )
        return following

    def _without_ends(self, text: str) -> str:
        """A text up to a token that ends the answer."""
        places = [place for end in self._end_texts if end and (place := text.find(end)) >= 0]
        return text[: min(places)] if places else text

    def _said(self, text: str) -> str:
        parts = re.split(f"([{WILD}{NUMBER}])", text)
        said = {WILD: _ID, NUMBER: "[0-9]{1,3}"}
        return " ".join(said.get(part) or spell(self._spell_mark(part)) for part in parts if part) or '""'

    def _call(self, tool: Tool) -> str:
        """From its name to the end of its arguments."""
        form = self._form
        name = literal(json.dumps(tool.name, ensure_ascii=False)[1:-1] if form.keys else tool.name)
        schema: Mapping[str, Any] = {"type": "object", **tool.parameters}
        if form.arguments is None:
            return f"{name} {self._said(form.middle)} {self._json(schema, 'object')}"
        return f"{name} {self._said(form.middle)} {self._tagged(form.arguments, schema)}"

    def _json(self, schema: Any, otherwise: str) -> str:
        """The rule of a schema; where it cannot become one, any object or value: the call is right then, if not its arguments."""
        try:
            return schema_rule(schema, self._rules)
        except UsageError:
            return self._rules.primitive(otherwise)

    def _tagged(self, marks: TaggedArguments, schema: Mapping[str, Any]) -> str:
        """Arguments in the order of the schema; those that are not required may be left out."""
        properties: Mapping[str, Any] = schema.get("properties") or {}
        required = schema.get("required") or []
        definitions = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
        rest = '""'
        # From the last one to the first; the first that is written has another text before it.
        first = self._said(marks.opening)
        for name in reversed(list(properties)):
            given = properties[name]
            one = given if isinstance(given, bool) else {**definitions, **given}
            value = self._rules.add(f"{literal(name)} {self._value(marks, name, one)}")
            behind = f"{self._said(marks.between)} {value} {rest}"
            begun = f"{self._said(marks.first)} {value} {rest}"
            if name not in required:
                behind, begun = f"{behind} | {rest}", f"{begun} | {first}"
            rest, first = self._rules.add(behind), self._rules.add(begun)
        return first

    def _value(self, marks: TaggedArguments, name: str, schema: Any) -> str:
        is_text = isinstance(schema, dict) and (
            schema.get("type") == "string" or _are_texts(schema.get("enum"))
        )
        if not is_text:
            ending = self._said(marks.value_end.replace(KEY, name))
            return f"{self._said(marks.value_mark)} {self._json(schema, 'value')} {ending}"
        ending = marks.text_end.replace(KEY, name)
        if _are_texts(schema.get("enum")):
            choices = " | ".join(literal(choice) for choice in schema["enum"])
            return f"{self._said(marks.text_mark)} ({choices}) {self._said(ending)}"
        nothing = self._rules.add('""')
        return f"{self._said(marks.text_mark)} {self._rules.scan({self._spell_mark(ending): nothing})}"


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and all(isinstance(value, str) for value in values)


def _in_class(symbol: str) -> str:
    return f"\\U{ord(symbol):08X}" if len(symbol) == 1 else ""


def texts_of(form: CallForm) -> frozenset[str]:
    """The tags of a form, as control tokens may be named."""
    return frozenset(tag for text in form.texts for tag in re.findall(r"<[^<>\s]+>|\[[A-Z_]+\]", text))
