"""An answer in its parts as it grows: text, thoughts and calls of tools."""

from dataclasses import dataclass

from edgespec.chat.calls.form import CallForm
from edgespec.chat.calls.grammar import texts_of
from edgespec.chat.calls.reader import CallParts, CallReader
from edgespec.chat.marks import ThoughtMarks
from edgespec.chat.thoughts import Parts, make_reader
from edgespec.chat.tools import CallDelta, Tool


@dataclass(frozen=True, slots=True)
class AnswerParts:
    """What became sure with a piece of an answer."""

    text: str = ""
    thought: str = ""
    calls: tuple[CallDelta, ...] = ()

    def __add__(self, other: "AnswerParts") -> "AnswerParts":
        return AnswerParts(self.text + other.text, self.thought + other.thought, self.calls + other.calls)


class AnswerReader:
    """Reads one answer from its beginning.

    Args:
        marks: Of thoughts, as the template has them; None where it shows none.
        prompt: The text that the answer goes on from.
        form: How the model writes calls; None where none are looked for.
        tools: Those that it may call.
        unmarked: Whether JSON that the answer begins with may be a call, too.
    """

    def __init__(
        self,
        marks: ThoughtMarks | None,
        prompt: str,
        form: CallForm | None = None,
        tools: tuple[Tool, ...] = (),
        *,
        unmarked: bool = True,
    ) -> None:
        has_calls = form is not None and bool(tools)
        self._thoughts = make_reader(marks, prompt, has_calls=has_calls)
        self._calls = CallReader(form, tools, unmarked=unmarked) if form is not None and tools else None
        self._call_texts = texts_of(form) if form is not None and tools else frozenset()

    @property
    def in_thought(self) -> bool:
        """Whether the model thinks."""
        return self._thoughts.in_thought

    @property
    def marks(self) -> ThoughtMarks:
        """Those of the thought that is open, or that would be."""
        return self._thoughts.marks

    @property
    def call_n(self) -> int:
        """Calls that were read."""
        return self._calls.call_n if self._calls else 0

    def add(self, text: str, control: str = "") -> AnswerParts:
        """More of it came.

        Args:
            text: Cut anywhere.
            control: The name of a control token that came behind it.
        """
        parts = self._thoughts.add(text)
        if control:
            is_text = control in self._call_texts and not self.in_thought
            parts += self._thoughts.add(control, is_control=not is_text)
        return self._with_calls(parts)

    def finish(self) -> AnswerParts:
        """It is whole: what was held back."""
        parts = self._with_calls(self._thoughts.finish())
        rest = self._calls.finish() if self._calls else CallParts()
        return parts + AnswerParts(rest.text, "", rest.calls)

    def _with_calls(self, parts: Parts) -> AnswerParts:
        if self._calls is None:
            return AnswerParts(parts.answer, parts.thought)
        read = self._calls.add(parts.answer)
        return AnswerParts(read.text, parts.thought, read.calls)
