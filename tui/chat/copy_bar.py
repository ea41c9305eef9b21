"""Copying by key: an answer or one of its blocks of code is picked with the arrows."""

from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static

from tui.chat.answer_markdown import CodeBlock
from tui.chat.transcript import Transcript
from tui.chat.turn import AnswerTurn

_STEP = 8
"""Columns that a long line is moved by."""
_PICKED = "-picked"


class CopyBar(Static, can_focus=True):
    """In the place of the prompt while it has the focus. What is picked is marked in the conversation.

    Args:
        transcript: What is picked from.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "pick(-1)", "Before", id="copy.before", tooltip="Pick the block or answer before"),
        Binding("down,j", "pick(1)", "After", id="copy.after", tooltip="Pick the block or answer after"),
        Binding("left,h", "sideways(-1)", "Left", id="copy.left", tooltip="Scroll long lines of code left"),
        Binding(
            "right,l", "sideways(1)", "Right", id="copy.right", tooltip="Scroll long lines of code right"
        ),
        Binding("enter,y,c", "copy", "Copy", id="copy.copy", tooltip="Copy what is picked"),
        Binding("escape,q,ctrl+c", "leave", "Back", id="copy.leave", tooltip="Copy nothing"),
    ]

    @dataclass
    class Left(Message):
        """Something was picked, or nothing."""

        text: str

    def __init__(self, transcript: Transcript) -> None:
        super().__init__("", id="copy-bar", markup=False)
        self._transcript = transcript
        self._picked: AnswerTurn | CodeBlock | None = None
        self.display = False

    def open(self) -> bool:
        """Picks the newest answer and takes the focus; returns whether there is one."""
        answers = [one for one in self._choices() if isinstance(one, AnswerTurn)]
        if answers:
            self.display = True
            self.focus()
            self._pick(answers[-1])
        return bool(answers)

    def on_blur(self) -> None:
        """Whoever turns to something else copies nothing."""
        if self.display:
            self._close("")

    def action_pick(self, direction: int) -> None:
        """Goes to the answer or the block before or after."""
        choices = self._choices()
        place = choices.index(self._picked) + direction if self._picked in choices else len(choices) - 1
        if 0 <= place < len(choices):
            self._pick(choices[place])

    def action_sideways(self, direction: int) -> None:
        """Moves long lines of the block, or of all blocks of the answer."""
        picked = self._picked
        blocks = [picked] if isinstance(picked, CodeBlock) else picked.query(CodeBlock) if picked else []
        for block in blocks:
            block.scroll_relative(x=direction * _STEP, animate=False)

    def action_copy(self) -> None:
        """Copies what is picked."""
        picked = self._picked
        self._close(picked.code if isinstance(picked, CodeBlock) else picked.content if picked else "")

    def action_leave(self) -> None:
        """Copies nothing."""
        self._close("")

    def _choices(self) -> list[AnswerTurn | CodeBlock]:
        """Each answer, and the blocks of code in it."""
        found: list[AnswerTurn | CodeBlock] = []
        for answer in self._transcript.query(AnswerTurn):
            found += [answer, *answer.query(CodeBlock)]
        return found

    def _pick(self, choice: AnswerTurn | CodeBlock) -> None:
        if self._picked is not None:
            self._picked.remove_class(_PICKED)
        self._picked = choice
        choice.add_class(_PICKED)
        self._transcript.scroll_to_widget(choice, animate=False)
        what = "this block of code" if isinstance(choice, CodeBlock) else "this answer"
        self.update(f"Enter copies {what} · ↑ ↓ another one · ← → long lines · Esc back")

    def _close(self, text: str) -> None:
        if self._picked is not None:
            self._picked.remove_class(_PICKED)
        self._picked, self.display = None, False
        self.post_message(self.Left(text))
