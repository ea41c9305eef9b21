"""Arguments that are written one by one, read as they come and handed on as the JSON object that they are."""

import json
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

from edgespec.chat.calls.form import KEY, TaggedArguments
from edgespec.chat.calls.scanning import Feed, Reading
from edgespec.chat.tools import Tool

_QUOTED: Final = ("<![CDATA[", "]]>")
"""Around texts with angle brackets, in templates that are careful (https://www.w3.org/TR/xml/#sec-cdata-sect)."""
_SCALAR_ENDS: Final = ",)]}<\n"
_PYTHON: Final = {"True": "true", "False": "false", "None": "null"}


class TaggedReader:
    """Reads the arguments of one call.

    Args:
        feed: What came, from behind `marks.opening` on.
        marks: What stands around names and values.
        end: What ends the call; it stays.
        tool: The one that is called.
        put: Takes the JSON, in pieces; an empty one now and then.
    """

    def __init__(
        self, feed: Feed, marks: TaggedArguments, end: str, tool: Tool, put: Callable[[str], None]
    ) -> None:
        self._feed, self._marks, self._end = feed, marks, end
        self._tool, self._put = tool, put

    def read(self) -> Generator[None, None, None]:
        """All of them, up to what ends the call."""
        feed, marks = self._feed, self._marks
        mark = "{"
        while not (yield from feed.is_next(self._end)):
            if mark != "{" or marks.first != marks.opening:
                if not (yield from feed.is_next(marks.between)):
                    break
                yield from feed.match(marks.between)
            name = yield from self._read_key()
            self._put(f"{mark}{json.dumps(name, ensure_ascii=False)}: ")
            yield from self._read_value(name)
            mark = ", "
        self._put("{}" if mark == "{" else "}")

    def _read_key(self) -> Reading:
        feed, marks = self._feed, self._marks
        ends = tuple(dict.fromkeys(mark.lstrip()[:1] or mark for mark in (marks.text_mark, marks.value_mark)))
        name = ""
        while True:
            piece, end = yield from feed.until(ends)
            name += piece
            if end or feed.is_whole:
                return name.strip()
            yield

    def _read_value(self, name: str) -> Generator[None, None, None]:
        """A text, or JSON. Where both are marked alike the tool's schema tells which."""
        feed, marks = self._feed, self._marks
        if marks.text_mark == marks.value_mark:
            is_text = _kind_of(self._tool, name) == "string"
            yield from self._match_mark(marks.text_mark)
        else:
            is_text = yield from feed.is_next(marks.text_mark)
            yield from self._match_mark(marks.text_mark if is_text else marks.value_mark)
        ending = (marks.text_end if is_text else marks.value_end).replace(KEY, name)
        if is_text:
            yield from self._read_string(ending)
            if (yield from feed.begins_with(_QUOTED[1])):
                feed.take(len(_QUOTED[1]))
        elif ending:
            yield from self._read_json(ending)
        else:
            yield from self._read_scalar()
        if ending and (yield from feed.is_next(ending)):
            yield from feed.match(ending)

    def _match_mark(self, mark: str) -> Generator[None, None, None]:
        """The white space behind a mark belongs to the value, but for a line's end that the form has there."""
        yield from self._feed.match(mark.rstrip())
        if mark.endswith("\n") and (yield from self._feed.need()) and self._feed.text[0] == "\n":
            self._feed.take(1)

    def _read_string(self, ending: str) -> Generator[None, None, None]:
        """A text up to what ends it, as a JSON string."""
        feed = self._feed
        if (yield from feed.begins_with(_QUOTED[0])):
            feed.take(len(_QUOTED[0]))
            ending = _QUOTED[1]
        self._put('"')
        # An end may lack its line's end.
        ends = tuple(dict.fromkeys((ending, ending.strip())))
        while True:
            piece, end = yield from feed.until(ends)
            self._put(json.dumps(piece, ensure_ascii=False)[1:-1])
            if end or feed.is_whole:
                break
            yield
        self._put('"')

    def _read_json(self, ending: str) -> Generator[None, None, None]:
        """A value up to what ends it; what is no JSON becomes a string."""
        said = ""
        while True:
            piece, end = yield from self._feed.until((ending.strip(),))
            said += piece
            if end or self._feed.is_whole:
                break
            yield
        self._put(_as_json(said.strip()))

    def _read_scalar(self) -> Generator[None, None, None]:
        """A value that nothing ends."""
        feed = self._feed
        yield from feed.skip_space()
        if (yield from feed.need()) and feed.text[0] in '{["':
            kept: list[str] = []
            yield from feed.copy_value(kept.append)
            self._put(_as_json("".join(kept)))
            return
        count = 0
        while (yield from feed.need(count + 1)) and feed.text[count] not in _SCALAR_ENDS:
            count += 1
        self._put(_as_json(feed.take(count).strip()))


def _as_json(text: str) -> str:
    """A value as JSON: what is no JSON is a string."""
    text = _PYTHON.get(text, text)
    try:
        json.loads(text)
    except ValueError:
        return json.dumps(text, ensure_ascii=False)
    return text


def _kind_of(tool: Tool, name: str) -> object:
    """The type of an argument, as the tool's schema says it."""
    properties: Any = tool.parameters.get("properties", {})
    schema: Any = properties.get(name, {}) if isinstance(properties, Mapping) else {}
    if not isinstance(schema, Mapping):
        return None
    if "type" not in schema and all(isinstance(one, str) for one in schema.get("enum", [None])):
        return "string"
    return schema.get("type", "string")
