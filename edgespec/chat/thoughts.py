"""Parts a growing answer from the thoughts in it, however its text is cut into pieces."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from edgespec.chat.marks import (
    HARMONY,
    HARMONY_ARGUMENTS,
    HARMONY_CALL,
    HARMONY_CALL_END,
    KNOWN_MARKS,
    ThoughtMarks,
)

_FUNCTION: Final = re.compile(r"to=functions\.([\w.-]+)")
_LONGEST_HEADER: Final = 200
"""Characters of the header of a message of gpt-oss; what is longer is none."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What became sure with a piece of text."""

    answer: str = ""
    thought: str = ""

    def __add__(self, other: "Parts") -> "Parts":
        return Parts(self.answer + other.answer, self.thought + other.thought)


class ThoughtReader(Protocol):
    """Reads one answer from its beginning."""

    marks: ThoughtMarks
    """Those of the thought that is open, or that would be."""

    @property
    def in_thought(self) -> bool:
        """Whether the model thinks."""

    def add(self, text: str, *, is_control: bool = False) -> Parts:
        """More of it came.

        Args:
            text: Cut anywhere.
            is_control: It is the text of a control token: part of a mark, or left out.
        """

    def finish(self) -> Parts:
        """It is whole: what was held back."""


def make_reader(marks: ThoughtMarks | None, prompt: str, *, has_calls: bool = False) -> ThoughtReader:
    """A reader for the answers of a model.

    Args:
        marks: Its template's own; None where the template shows none: then those that many models share.
        prompt: The text that the answer goes on from; it may have begun a thought.
        has_calls: Somebody reads calls of tools in the answer.
    """
    if marks == HARMONY:
        return HarmonyReader(has_calls=has_calls)
    kinds = (marks,) if marks else KNOWN_MARKS
    end = prompt.rstrip()
    begun = next((kind for kind in kinds if end.endswith(kind.opening.strip())), None)
    ended = next((kind for kind in kinds if end.endswith(kind.closing.strip())), None)
    return TagReader(kinds, begun, ended)


class _Held:
    """Text that may be the beginning of a mark, and which of it comes from control tokens."""

    def __init__(self) -> None:
        self.text = ""
        self._control = bytearray()

    def add(self, text: str, is_control: bool) -> None:
        self.text += text
        self._control += bytes([is_control]) * len(text)

    def is_control(self, place: int) -> bool:
        return place < len(self._control) and bool(self._control[place])

    def control_run(self) -> int:
        """How many characters of control tokens it begins with."""
        text = self._control.find(0)
        return len(self._control) if text < 0 else text

    def take(self, count: int) -> str:
        """The first characters, without those of control tokens."""
        taken = "".join(
            char for char, control in zip(self.text[:count], self._control, strict=False) if not control
        )
        self.drop(count)
        return taken

    def drop(self, count: int) -> None:
        self.text = self.text[count:]
        del self._control[:count]

    def find(self, marks: Sequence[str]) -> tuple[int, str]:
        """The first whole mark and its place; an empty one where there is none."""
        found = [(place, mark) for mark in marks if (place := self.text.find(mark)) >= 0]
        return min(found, default=(-1, ""))

    def sure(self, marks: Sequence[str]) -> int:
        """How many characters cannot belong to a mark that is still coming."""
        text = self.text
        longest = max(map(len, marks))
        for place in range(max(0, len(text) - longest + 1), len(text)):
            if any(mark.startswith(text[place:]) for mark in marks):
                return place
        return len(text)


class TagReader:
    """Thoughts between an opening and a closing mark.

    Marks of plain text count where an answer begins, and right after a thought: an answer may speak of them. Those that
    are control tokens count everywhere.

    Args:
        kinds: The marks to look for.
        begun: Of these, whose opening ended the prompt.
        ended: Likewise, whose closing mark ended it.
    """

    def __init__(
        self,
        kinds: Sequence[ThoughtMarks],
        begun: ThoughtMarks | None = None,
        ended: ThoughtMarks | None = None,
    ) -> None:
        self._openings = {kind.opening.strip(): kind for kind in kinds}
        self.marks = begun or ended or kinds[0]
        self.in_thought = begun is not None
        self._held = _Held()
        self._has_thought = self._has_answer = self._wrote_answer = False
        self._trims = self.in_thought
        """White space that comes next belongs to the marks."""
        self._bridge = ""
        """What may stand after a closing mark and is no text."""
        self._stray = self.marks.closing if ended else ""
        """A closing mark that may come again and is no text: some models end a thought that was ended for them."""

    def add(self, text: str, *, is_control: bool = False) -> Parts:
        """More of it came."""
        self._held.add(text, is_control)
        parts = Parts()
        while True:
            before = (len(self._held.text), self.in_thought, self._has_answer)
            parts += self._read_thought() if self.in_thought else self._read_answer()
            if before == (len(self._held.text), self.in_thought, self._has_answer):
                return parts

    def finish(self) -> Parts:
        """It is whole: what was held back."""
        rest = self._held.take(len(self._held.text))
        return Parts(thought=rest.rstrip()) if self.in_thought else Parts(answer=self._trimmed(rest))

    def _read_thought(self) -> Parts:
        closing = self.marks.closing
        place, found = self._held.find([closing])
        if found:
            thought = self._trimmed(self._held.take(place)).rstrip()
            self._held.drop(len(closing))
            self.in_thought, self._has_thought, self._has_answer = False, True, False
            self._trims, self._bridge = not self._wrote_answer, self.marks.bridge
            self._stray = closing
            return Parts(thought=thought)
        sure = self._held.sure([closing])
        # White space at the end may stand before the closing mark.
        return Parts(thought=self._trimmed(self._held.take(len(self._held.text[:sure].rstrip()))))

    def _read_answer(self) -> Parts:
        if self._has_answer:
            return self._read_on()
        text = self._held.text
        start = text.lstrip()
        if self._bridge and start:
            if start.startswith(self._bridge):
                self._held.drop(len(text) - len(start) + len(self._bridge))
                self._bridge = ""
                return Parts()
            if self._bridge.startswith(start):
                return Parts()
        opened = next((mark for mark in self._openings if start.startswith(mark)), None)
        if opened is not None:
            return self._open(len(text) - len(start), opened)
        if self._stray and start.startswith(self._stray):
            self._held.drop(len(text) - len(start) + len(self._stray))
            self._trims, self._bridge = not self._wrote_answer, self.marks.bridge
            return Parts()
        if not start or any(mark.startswith(start) for mark in (*self._openings, self._stray)):
            return Parts()
        if control := self._held.control_run():
            self._held.drop(control)
            return Parts()
        self._has_answer, self._bridge, self._stray = True, "", ""
        self._wrote_answer = True
        return Parts()

    def _read_on(self) -> Parts:
        """An answer that has begun: only a control token can begin another thought."""
        marks = list(self._openings)
        place, found = self._held.find(marks)
        if found and self._held.is_control(place):
            answer = self._trimmed(self._held.take(place))
            return Parts(answer=answer) + self._open(0, found)
        sure = self._held.sure(marks)
        if not self._held.is_control(sure):
            sure = len(self._held.text)
        return Parts(answer=self._trimmed(self._held.take(sure)))

    def _open(self, place: int, mark: str) -> Parts:
        self._held.drop(place + len(mark))
        self.marks, self.in_thought, self._trims = self._openings[mark], True, True
        return Parts(thought="\n\n" if self._has_thought else "")

    def _trimmed(self, text: str) -> str:
        if not self._trims:
            return text
        text = text.lstrip()
        self._trims = not text
        return text


class HarmonyReader:
    """The messages of gpt-oss: those of the channel `analysis` are thoughts, all others are the answer.

    Args:
        has_calls: Messages to functions are part of the answer with their headers, in one form.
    """

    marks = HARMONY
    _MARKS: Final = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>")

    def __init__(self, *, has_calls: bool = False) -> None:
        self.in_thought = False
        self._held = _Held()
        self._has_calls = has_calls
        self._to = ""
        """The function that the message under way calls."""
        self._header: str | None = None
        """Of the message that begins; None inside of one."""
        self._begun: set[bool] = set()
        """Whether the messages that came were thoughts."""
        self._gap = ""

    def add(self, text: str, *, is_control: bool = False) -> Parts:
        """More of it came."""
        self._held.add(text, is_control)
        parts = Parts()
        while True:
            place, mark = self._held.find(self._MARKS)
            if not mark:
                return parts + self._put(self._held.take(self._held.sure(self._MARKS)))
            parts += self._put(self._held.take(place))
            self._held.drop(len(mark))
            parts += self._turn(mark)

    def finish(self) -> Parts:
        """It is whole: what was held back."""
        return self._put(self._held.take(len(self._held.text)))

    def _turn(self, mark: str) -> Parts:
        # `<|start|>assistant to=functions.f<|channel|>commentary json`: whom it is for may stand before the channel too.
        if self._has_calls and (found := _FUNCTION.search(self._header or "")):
            self._to = found[1]
        if mark == "<|start|>":
            self._header = self._header or ""
        elif mark == "<|channel|>":
            # `<|start|>assistant<|channel|>analysis`: the channel's name is what counts.
            self._header = ""
        elif mark == "<|message|>":
            self.in_thought = (self._header or "").startswith("analysis") and not self._to
            self._gap = "\n\n" if self.in_thought in self._begun else ""
            self._header = None
            if self._to:
                self._gap = ""
                return Parts(f"{HARMONY_CALL}{self._to}{HARMONY_ARGUMENTS}")
        else:
            called, self._to = self._to, ""
            self.in_thought, self._header = False, None
            if called:
                return Parts(HARMONY_CALL_END)
        return Parts()

    def _put(self, text: str) -> Parts:
        if self._header is not None:
            self._header += text
            if len(self._header) <= _LONGEST_HEADER:
                return Parts()
            text, self._header = self._header, None
        if not text:
            return Parts()
        text, self._gap = self._gap + text, ""
        self._begun.add(self.in_thought)
        return Parts(thought=text) if self.in_thought else Parts(answer=text)
