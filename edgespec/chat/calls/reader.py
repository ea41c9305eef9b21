"""Reads tool calls out of a growing answer: text before them flows, a name comes whole, its arguments in pieces."""

import json
import secrets
import string
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from edgespec.chat.calls.form import KEY, CallForm, TaggedArguments
from edgespec.chat.calls.scanning import Feed, NoCallError, Reading
from edgespec.chat.tools import CallDelta, Tool

ID_N: Final = 9
"""Letters and digits of an id: as many as Mistral's templates want."""
_SHORTEST_ID: Final = 5
_QUOTED: Final = ("<![CDATA[", "]]>")
"""Around texts with angle brackets, in templates that are careful (https://www.w3.org/TR/xml/#sec-cdata-sect)."""
_SCALAR_ENDS: Final = ",)]}<\n"
_PYTHON: Final = {"True": "true", "False": "false", "None": "null"}


def new_call_id() -> str:
    """An id like no other."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(ID_N))


@dataclass(frozen=True, slots=True)
class CallParts:
    """What became sure with a piece of an answer."""

    text: str = ""
    calls: tuple[CallDelta, ...] = ()

    def __add__(self, other: "CallParts") -> "CallParts":
        return CallParts(self.text + other.text, self.calls + other.calls)


class CallReader:
    """Reads one answer from its beginning.

    Args:
        form: How the model writes calls.
        tools: Those that it may call; what looks like a call of another one is text.
        make_id: Of a call without an id of its own.
    """

    def __init__(
        self, form: CallForm, tools: tuple[Tool, ...], make_id: Callable[[], str] = new_call_id
    ) -> None:
        self._form, self._make_id = form, make_id
        self._tools = {tool.name: tool for tool in tools}
        self._feed = Feed()
        self._raw = ""
        """What the call at hand was written as, as long as it may still be text."""
        self._text: list[str] = []
        self._deltas: list[CallDelta] = []
        self._held: list[CallDelta] | None = None
        """Of a call that is not sure yet."""
        self.call_n = 0
        self._is_begun = False
        self._reading = self._read_answer()
        next(self._reading)

    def add(self, text: str) -> CallParts:
        """More of it came."""
        self._feed.text += text
        self._raw += text
        return self._go_on()

    def finish(self) -> CallParts:
        """It is whole: what was held back."""
        self._feed.is_whole = True
        return self._go_on()

    def _go_on(self) -> CallParts:
        with suppress(StopIteration):
            next(self._reading)
        parts = CallParts("".join(self._text), tuple(self._deltas))
        self._text, self._deltas = [], []
        return parts

    def _read_answer(self) -> Generator[None, None, None]:
        yield
        triggers = tuple(mark for mark in (self._form.trigger, *self._form.aliases) if mark)
        while True:
            if not self._form.trigger and not self._is_begun:
                yield from self._read_bare()
            if not triggers:
                yield from self._read_rest()
                return
            text, found = yield from self._feed.until(triggers)
            self._say(text)
            if found:
                yield from self._read_section(found)
            elif self._feed.is_whole:
                return

    def _read_bare(self) -> Generator[None, None, None]:
        """An answer that may be a call from its first character on."""
        self._raw = self._feed.text
        yield from self._feed.skip_space()
        if (yield from self._feed.need()) and self._feed.text[0] == "{":
            yield from self._read_section("")
        else:
            self._feed.text = self._raw
            self._is_begun = True

    def _read_rest(self) -> Generator[None, None, None]:
        while True:
            self._say(self._feed.take(len(self._feed.text)))
            if self._feed.is_whole:
                return
            yield

    def _say(self, text: str) -> None:
        if text:
            self._text.append(text)
            self._is_begun = self._is_begun or bool(text.strip())

    def _read_section(self, found: str) -> Generator[None, None, None]:
        """Calls, or what only looks like some: then its first character is text."""
        feed, form = self._feed, self._form
        self._raw = feed.text
        before = self.call_n
        try:
            if found in form.aliases:
                yield from feed.match(found)
            yield from feed.match(form.opening)
            while True:
                yield from self._read_call()
                if form.single or not (yield from feed.is_next(form.separator + form.start)):
                    break
                yield from feed.match(form.separator)
            if form.closing and (yield from feed.is_next(form.closing)):
                yield from feed.match(form.closing)
            self._is_begun = True
        except NoCallError:
            self._held = None
            if self.call_n == before:
                feed.text = self._raw
                self._say(feed.take(max(1, len(found))))
            self._is_begun = True

    def _read_call(self) -> Generator[None, None, None]:
        form, feed = self._form, self._feed
        if form.keys:
            yield from self._read_object(form.keys)
        else:
            wild = yield from feed.match(form.start)
            name = yield from feed.word()
            call_id = (yield from feed.match(form.middle)) or wild
            if form.arguments is None:
                if not (yield from feed.is_next("{")):
                    raise NoCallError
                self._begin(name, call_id)
                yield from self._copy_value(self._argue)
            else:
                yield from feed.match(form.arguments.opening)
                self._begin(name, call_id)
                yield from self._read_tagged(form.arguments, self._tools[name])
        self.call_n += 1
        end = form.end.partition("}")[2] if form.keys else form.end
        if end and (yield from feed.is_next(end)):
            yield from feed.match(end)

    def _begin(self, name: str, call_id: str = "") -> None:
        """A call is sure."""
        if name not in self._tools:
            raise NoCallError
        call_id = call_id if len(call_id) >= _SHORTEST_ID else self._make_id()
        self._deltas.append(CallDelta(self.call_n, call_id, name))

    def _argue(self, text: str) -> None:
        if text:
            self._deltas.append(CallDelta(self.call_n, arguments=text))

    # A call that is a JSON object.

    def _read_object(self, keys: tuple[str, str]) -> Generator[None, None, None]:
        """In any order of its keys; arguments before the name are kept until it comes."""
        feed = self._feed
        yield from feed.match(self._form.start[: self._form.start.rindex("{") + 1])
        name, call_id, early, is_sure = "", "", "", False
        while not (yield from feed.is_next("}")):
            key = _text_of((yield from feed.json_string()))
            yield from feed.match(":")
            if key == keys[0]:
                yield from feed.skip_space()
                name = _text_of((yield from feed.json_string()))
                if early:
                    self._begin(name, call_id)
                    self._argue(early)
                    is_sure = True
            elif key == keys[1] or not keys[0]:
                if name or not keys[0]:
                    self._begin(name or key, call_id)
                    is_sure = True
                    yield from self._copy_arguments(self._argue)
                else:
                    kept: list[str] = []
                    yield from self._copy_arguments(kept.append)
                    early = "".join(kept)
            else:
                value: list[str] = []
                yield from self._copy_value(value.append)
                call_id = call_id or _text_of("".join(value))
            if not (yield from feed.is_next(",")):
                break
            feed.take(1)
        if (yield from feed.is_next("}")):
            feed.take(1)
        if not is_sure:
            if not name:
                raise NoCallError
            self._begin(name, call_id)
            self._argue("{}")

    def _copy_arguments(self, put: Callable[[str], None]) -> Generator[None, None, None]:
        """An object; some models write it as text in a string."""
        yield from self._feed.skip_space()
        if (yield from self._feed.need()) and self._feed.text[0] == '"':
            put(_text_of((yield from self._feed.json_string())))
        else:
            yield from self._copy_value(put)

    def _copy_value(self, put: Callable[[str], None]) -> Generator[None, None, None]:
        """A JSON value, in pieces as they come; one that ends early is left as it is."""
        feed = self._feed
        yield from feed.skip_space()
        depth, in_string, is_escaped, count = 0, False, False, 0
        while True:
            if count == len(feed.text):
                put(feed.take(count))
                count = 0
                if not (yield from feed.need()):
                    return
            char = feed.text[count]
            if in_string:
                in_string = is_escaped or char != '"'
                is_escaped = char == "\\" and not is_escaped
                is_done = depth == 0 and not in_string
            elif depth == 0 and (char in ",}]" or char.isspace()):
                put(feed.take(count))
                return
            else:
                in_string = char == '"'
                depth += (char in "{[") - (char in "}]")
                is_done = depth == 0 and char in "}]"
            count += 1
            if is_done:
                put(feed.take(count))
                return

    # A call whose arguments are written one by one.

    def _read_tagged(self, marks: TaggedArguments, tool: Tool) -> Generator[None, None, None]:
        """What follows `marks.opening`."""
        feed = self._feed
        mark = "{"
        while not (yield from feed.is_next(self._form.end)):
            if mark != "{" or marks.first != marks.opening:
                if not (yield from feed.is_next(marks.between)):
                    break
                yield from feed.match(marks.between)
            name = yield from self._read_key(marks)
            self._argue(f"{mark}{json.dumps(name, ensure_ascii=False)}: ")
            yield from self._read_value(marks, name, tool)
            mark = ", "
        self._argue("{}" if mark == "{" else "}")

    def _read_key(self, marks: TaggedArguments) -> Reading:
        feed = self._feed
        ends = tuple(dict.fromkeys(mark.lstrip()[:1] or mark for mark in (marks.text_mark, marks.value_mark)))
        name = ""
        while True:
            piece, end = yield from feed.until(ends)
            name += piece
            if end or feed.is_whole:
                return name.strip()
            yield

    def _read_value(self, marks: TaggedArguments, name: str, tool: Tool) -> Generator[None, None, None]:
        """A text, or JSON. Where both are marked alike the tool's schema tells which."""
        feed = self._feed
        if marks.text_mark == marks.value_mark:
            is_text = _kind_of(tool, name) == "string"
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
        self._argue('"')
        # An end may lack its line's end.
        ends = tuple(dict.fromkeys((ending, ending.strip())))
        while True:
            piece, end = yield from feed.until(ends)
            self._argue(json.dumps(piece, ensure_ascii=False)[1:-1])
            if end or feed.is_whole:
                break
            yield
        self._argue('"')

    def _read_json(self, ending: str) -> Generator[None, None, None]:
        """A value up to what ends it; what is no JSON becomes a string."""
        said = ""
        while True:
            piece, end = yield from self._feed.until((ending.strip(),))
            said += piece
            if end or self._feed.is_whole:
                break
            yield
        self._argue(_as_json(said.strip()))

    def _read_scalar(self) -> Generator[None, None, None]:
        """A value that nothing ends."""
        feed = self._feed
        yield from feed.skip_space()
        if (yield from feed.need()) and feed.text[0] in '{["':
            kept: list[str] = []
            yield from self._copy_value(kept.append)
            self._argue(_as_json("".join(kept)))
            return
        count = 0
        while (yield from feed.need(count + 1)) and feed.text[count] not in _SCALAR_ENDS:
            count += 1
        self._argue(_as_json(feed.take(count).strip()))


def _text_of(value: str) -> str:
    """A JSON string as the text that it is; any other value as it is written."""
    try:
        read = json.loads(value)
    except ValueError:
        return value
    return read if isinstance(read, str) else value


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
