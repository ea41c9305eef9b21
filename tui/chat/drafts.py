"""What was written in a conversation and not sent, or waits for its turn: kept beside it, and brought back with it."""

from collections.abc import Callable

from edgespec.errors import EdgespecError
from tui.chat.keeper import ChatKeeper
from tui.chat.prompt_input import PromptInput
from tui.chat.waiting import BETWEEN, WaitingMessage, WaitingMessages


class Drafts:
    """Of a pane.

    Args:
        keeper: Keeps them.
        prompt: Where they are written.
        waiting: What was sent and waits.
        chat_id: Of the conversation that is shown.
    """

    def __init__(
        self, keeper: ChatKeeper, prompt: PromptInput, waiting: WaitingMessages, chat_id: Callable[[], str]
    ) -> None:
        self._keeper, self._prompt, self._waiting, self._chat_id = keeper, prompt, waiting, chat_id
        self._kept = ""
        self._kept_for = ""
        """The conversation that it is kept with."""
        self._not_brought = ""
        """Was kept, and is not in the prompt, where something else stood."""

    def keep(self, written: str = "") -> None:
        """Keeps what waits, and what is being written, for the case that the app ends."""
        draft = BETWEEN.join(filter(None, (self._not_brought, *self._waiting.texts, written)))
        if draft != self._kept:
            self._kept, self._kept_for = draft, self._chat_id()
            self._keeper.keep_draft(self._chat_id(), draft)

    def bring(self) -> None:
        """Puts what was not sent in the conversation that is shown now into the prompt, where that is empty."""
        self._waiting.clear()
        self._not_brought = ""
        chat_id = self._chat_id()
        try:
            if self._kept and self._kept_for != chat_id and self._prompt.text:
                self._keeper.store.drop_first_draft(self._kept_for)  # it goes along
            self._kept, self._kept_for = self._keeper.store.draft(chat_id), chat_id
        except EdgespecError as error:
            self._keeper.tell_error(error)
            return
        if self._prompt.text:
            self._not_brought = self._kept
        elif self._kept:
            self._prompt.put(self._kept)

    def bring_first(self) -> None:
        """Puts what was written at an earlier start, in a conversation that never began, into the prompt, where that is empty."""
        if self._prompt.text:
            return
        try:
            self._kept, self._kept_for = (
                self._keeper.store.take_first_drafts(self._chat_id()),
                self._chat_id(),
            )
        except EdgespecError as error:
            self._keeper.tell_error(error)
            return
        if self._kept:
            self._prompt.put(self._kept)

    def take_back(self, line: WaitingMessage | None = None) -> str:
        """One of those that wait, the newest unless it is named, which waits no longer; empty where none waits."""
        text = self._waiting.take(line) if line else self._waiting.take_newest()
        self.keep()
        return text
