"""The conversation as it was before what is being answered now: it comes back where that comes to nothing."""

from dataclasses import replace

from tui.chat.conversation import Conversation
from tui.chat.editing import Editing
from tui.chat.keeper import ChatKeeper
from tui.chat.prompt_input import PromptInput
from tui.chat.transcript import Transcript


class Unanswered:
    """Of a pane.

    Args:
        keeper: Has saved the question.
        transcript: Shows it.
        prompt: Where it goes back.
        editing: It may have been another version of an earlier one.
    """

    def __init__(
        self, keeper: ChatKeeper, transcript: Transcript, prompt: PromptInput, editing: Editing
    ) -> None:
        self._keeper, self._transcript, self._prompt, self._editing = keeper, transcript, prompt, editing
        self._before: Conversation | None = None

    def begin(self) -> None:
        """Something is asked: all is still as it was."""
        self._before = self._transcript.conversation

    def forget(self) -> None:
        """What is there stays there."""
        self._before = None

    def restore(self) -> None:
        """A message that could not be answered goes back into the prompt, unless another is being written; what it, or another
        answer, was to replace comes back. The message is then no part of what is saved.
        """
        before, self._before = self._before, None
        messages = self._transcript.conversation.messages
        if before is None or not messages or messages[-1].role != "user":
            return
        common = self._transcript.conversation.shared_with(before)
        if common == len(messages):  # another answer to the same message
            self._transcript.show(before, common)
        elif not self._prompt.text:
            head = self._keeper.take_back(self._transcript.conversation, before.head)
            self._transcript.show(replace(before, head=head), common)
            if common < len(before.messages):
                self._editing.begin(common, messages[-1].written)
            else:
                self._prompt.put(messages[-1].written)
