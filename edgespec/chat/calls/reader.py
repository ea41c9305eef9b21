"""Reads tool calls out of a growing answer: text before them flows, a name comes whole, its arguments in pieces."""

import json
import secrets
import string
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from edgespec.chat.calls.form import CallForm
from edgespec.chat.calls.scanning import Feed, NoCallError
from edgespec.chat.calls.tagged import TaggedReader
from edgespec.chat.calls.unmarked import FENCE, may_begin_call, read_call
from edgespec.chat.tools import CallDelta, Tool

ID_N: Final = 9
"""Letters and digits of an id: as many as Mistral's templates want."""
_SHORTEST_ID: Final = 5


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
        unmarked: Whether JSON that the answer begins with may be a call, too.
    """

    def __init__(self, form: CallForm, tools: tuple[Tool, ...], *, unmarked: bool = True) -> None:
        self._form, self._unmarked = form, unmarked
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
        if self._form.trigger and self._unmarked:
            yield from self._read_unmarked()
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

    def _read_unmarked(self) -> Generator[None, None, None]:
        """Calls that the answer begins with and that lack the form's marks; each comes whole."""
        feed, is_fenced = self._feed, False
        while not (self._form.single and self.call_n):
            while (found := read_call(feed.text, self._tools)) is None:
                if feed.is_whole or not may_begin_call(feed.text, self._tools):
                    return
                yield
            call, end = found
            written = feed.take(end)
            is_fenced = is_fenced or written.lstrip().startswith(FENCE)
            self._begin(call.name)
            self._argue(call.arguments)
            self.call_n += 1
            self._is_begun = True
            if is_fenced and (yield from feed.is_next(FENCE)):
                yield from feed.match(FENCE)
                is_fenced = False
            yield from feed.skip_space()

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
            yield from feed.skip_space()
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
                yield from feed.copy_value(self._argue)
            else:
                yield from feed.match(form.arguments.opening)
                self._begin(name, call_id)
                yield from TaggedReader(feed, form.arguments, form.end, self._tools[name], self._argue).read()
        self.call_n += 1
        end = form.end.partition("}")[2] if form.keys else form.end
        if end and (yield from feed.is_next(end)):
            yield from feed.match(end)

    def _begin(self, name: str, call_id: str = "") -> None:
        """A call is sure."""
        if name not in self._tools:
            raise NoCallError
        call_id = call_id if len(call_id) >= _SHORTEST_ID else new_call_id()
        self._deltas.append(CallDelta(self.call_n, call_id, name))

    def _argue(self, text: str) -> None:
        if text:
            self._deltas.append(CallDelta(self.call_n, arguments=text))

    # A call that is a JSON object.

    def _read_object(self, keys: tuple[str, str]) -> Generator[None, None, None]:
        """In any order of its keys; arguments before the name are kept until it comes. Its braces may be doubled."""
        feed = self._feed
        yield from feed.match(self._form.start[: self._form.start.rindex("{") + 1])
        if is_doubled := (yield from feed.is_next("{")):
            feed.take(1)
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
                yield from feed.copy_value(value.append)
                call_id = call_id or _text_of("".join(value))
            if not (yield from feed.is_next(",")):
                break
            feed.take(1)
        for _ in range(1 + is_doubled):
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
            yield from self._feed.copy_value(put)


def _text_of(value: str) -> str:
    """A JSON string as the text that it is; any other value as it is written."""
    try:
        read = json.loads(value)
    except ValueError:
        return value
    return read if isinstance(read, str) else value
