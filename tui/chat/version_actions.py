"""What can be done with messages that were said: write them anew, step through their versions, go another way."""

from collections.abc import Callable

from textual import work

from edgespec.errors import UsageError
from tui.chat.answer_actions import AnswerActions
from tui.chat.choices import message_choices
from tui.chat.transcript import Transcript
from tui.common.ask import ChooseScreen

_STEPS = {"next": 1, "previous": -1}
_NO_VERSIONS = "there is one version of everything: Ctrl+R and Ctrl+Up make others"


class VersionActions(AnswerActions):
    """A screen with a pane in which a conversation stands."""

    @property
    def transcript(self) -> Transcript:
        """The conversation."""
        return self.pane.transcript

    def action_edit_last(self) -> None:
        """Takes the last message back into the prompt, or the one before it; until another is sent, all stays."""
        if self._is_busy():
            return
        end = (
            len(self.transcript.conversation.messages)
            if self.pane.editing.index is None
            else self.pane.editing.index
        )
        index = self.transcript.conversation.question_before(end)
        if index is not None:
            self.pane.editing.begin(index, self.transcript.conversation.messages[index].written)

    @work
    async def action_branch(self) -> None:
        """Chooses a message from which the conversation goes another way."""
        messages = self.transcript.conversation.messages
        if self._is_busy():
            return
        title, empty = "Go another way from", "Nothing has been said yet."
        found = await self.app.push_screen_wait(ChooseScreen(title, message_choices(messages), empty))
        if found is not None:
            index = int(found)
            is_question = messages[index].role == "user"
            self.pane.editing.begin(
                index if is_question else index + 1, messages[index].written if is_question else ""
            )

    def action_point(self, step: int) -> None:
        """Goes to another turn of which there are several versions."""
        if self.transcript.point(step) is None:
            self.tell(_NO_VERSIONS)

    def action_version(self, step: int) -> None:
        """Steps through the versions of the turn that is marked, or the newest that has several."""
        self._with_versions(lambda index: self.pane.editing.step(index, step))

    def action_version_before(self, index: int) -> None:
        """The version before, of the turn whose arrow was clicked."""
        if not self._is_busy():
            self.pane.editing.step(index, -1)

    def action_version_after(self, index: int) -> None:
        """The next version of the turn whose arrow was clicked."""
        if not self._is_busy():
            self.pane.editing.step(index, 1)

    def show_version(self, word: str) -> None:
        """What is typed after /version.

        Raises:
            UsageError: it is none of the words, and no number.
        """
        if word in _STEPS:
            self.action_version(_STEPS[word])
        elif word.isdecimal():
            self._with_versions(lambda index: self.pane.editing.show(index, int(word)))
        else:
            raise UsageError(f"/version {word} is not a version", "it takes next, previous or a number")

    def _with_versions(self, show: Callable[[int], None]) -> None:
        if self._is_busy():
            return
        index = self.transcript.point()
        if index is None:
            self.tell(_NO_VERSIONS)
        else:
            show(index)
