"""Messages that are written anew, and the versions that come of it: nothing changes before one is sent, and nothing goes then."""

from collections.abc import Callable

from tui.chat.conversation import Conversation
from tui.chat.prompt_input import PromptInput
from tui.chat.transcript import Transcript


class Editing:
    """Which message is being written anew, and what stood in the prompt before.

    Args:
        transcript: Has the conversation.
        prompt: Where it is written.
        tell: Says something in the status line; nothing leads back to what is loaded.
        kept: Is given a conversation that goes another way now.
    """

    def __init__(
        self,
        transcript: Transcript,
        prompt: PromptInput,
        tell: Callable[[str], None],
        kept: Callable[[Conversation], None],
    ) -> None:
        self._transcript, self._prompt, self._tell, self._kept = transcript, prompt, tell, kept
        self.index: int | None = None
        """Where the message stands that what is being written replaces; None while nothing is."""
        self._unsent = ""

    def begin(self, index: int, text: str) -> None:
        """Lets the message at `index` be written anew; until that is sent, all stays as it is.

        Args:
            index: Of a question, or of where a new one is to stand.
            text: What the prompt begins with.
        """
        if self.index is None:
            self._unsent = self._prompt.message
        self.index = index
        self._prompt.put(text)
        self._prompt.focus()
        self._transcript.mark_replaced(index)
        self._tell("Enter sends it as another version, and what was said stays; Esc leaves all as it is")

    def leave(self) -> bool:
        """Leaves things as they were; returns whether a message was being written anew."""
        if self.index is None:
            return False
        self.index = None
        self._transcript.mark_replaced(None)
        self._prompt.put(self._unsent)
        self._tell("")
        return True

    def take(self) -> None:
        """What is written is sent: the conversation goes another way from there."""
        if self.index is not None:
            self._transcript.leave(self._transcript.conversation.before(self.index))
            self._transcript.mark_replaced(None)
            self.index = None

    def step(self, index: int, step: int) -> None:
        """Shows the version of a message before or after the one that is shown, and what was said from there on."""
        self.show(index, self._transcript.conversation.place(index).number + step)

    def show(self, index: int, number: int) -> None:
        """Shows a version of a message, from 1, and what was said from there on."""
        self.leave()
        conversation = self._transcript.conversation
        place = conversation.place(index)
        if not 1 <= number <= place.count:
            self._tell(f"there is no version {number}: there are {place.count} of this message")
            return
        other = conversation.with_version(index, number)
        self._transcript.show(other, index)
        self._transcript.pointed = index
        self._kept(other)
        self._tell(f"version {number} of {place.count}")
