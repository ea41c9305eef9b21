"""Keeps what the chat says: saves it, and takes over what an earlier version has left without making the app wait."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from edgespec.errors import EdgespecError
from tui.chat.conversation import Conversation
from tui.chat.open_tabs import OpenTabs
from tui.chat.store import ChatStore
from tui.chat.takeover import TakenOver, has_old_files, take_over
from tui.common.wording import joined

_MOST_NAMED = 3
"""Files that were left out, of which each is said by itself."""
_WENT_ON = "this conversation went on in another window: what is written here is kept as one of its own"


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told what the keeper did."""

    saved: Callable[[Conversation, Conversation], None]
    """A conversation, and the same as it is saved: to be saved from next time."""
    told: Callable[[str, bool], None]
    """Something that the user should read, and whether it is an error."""


class ChatKeeper:
    """Owns the store. While files of an earlier version are being taken over, what is to be saved waits."""

    def __init__(self, store: ChatStore, listener: Listener) -> None:
        self.store = store
        self._listener: Listener | None = listener
        self._task: asyncio.Task[None] | None = None
        self._waiting: dict[str, Conversation] = {}
        self._told = ""
        """The last error, which is not said again with every message."""

    @property
    def is_taking_over(self) -> bool:
        """Whether some conversations may not be listed yet."""
        return self._task is not None

    def open(self, then: Callable[[], None]) -> None:
        """Takes over what there is, and calls back when the store has everything: at once where there is nothing."""
        if self._has_old_files():
            self._task = asyncio.create_task(self._take_over(then))
        else:
            then()

    async def close(self) -> None:
        """Waits until all is saved; nobody is told of it any more."""
        self._listener = None
        if self._task is not None:
            await self._task

    def save(self, conversation: Conversation) -> None:
        """Saves it now, or as soon as the store can."""
        if self._task is not None:
            self._waiting[conversation.id] = conversation
            return
        try:
            saved = self.store.save(conversation)
        except EdgespecError as error:
            self.tell_error(error)
            return
        self._told = ""
        self.tell_notes()
        if conversation.messages and saved.id != conversation.id:
            self._tell(_WENT_ON)
        if self._listener is not None:
            self._listener.saved(conversation, saved)

    def take_back(self, conversation: Conversation, head: str) -> str:
        """Removes the last message, which nothing has answered, from what is saved.

        Args:
            conversation: With that message.
            head: Id of the message that had been saved last before it.

        Returns:
            Id of the message that is saved last now.
        """
        if self._waiting.pop(conversation.id, None) is not None:
            self.save(conversation.taken_back())
            return head
        try:
            return self.store.take_back(conversation, head)
        except EdgespecError as error:
            self.tell_error(error)
            return conversation.head

    def delete(self, chat_id: str) -> None:
        """Removes what is saved of a conversation.

        Raises:
            EdgespecError: it cannot be removed.
        """
        self._waiting.pop(chat_id, None)
        self.store.delete(chat_id)

    def keep_draft(self, chat_id: str, text: str) -> None:
        """Keeps what is written in a conversation and not sent."""
        if self._task is None:
            try:
                self.store.keep_draft(chat_id, text)
            except EdgespecError as error:
                self.tell_error(error)

    def keep_tabs(self, tabs: OpenTabs) -> None:
        """Keeps which conversations are open."""
        try:
            self.store.keep_tabs(tabs)
        except EdgespecError as error:
            self.tell_error(error)

    def tell_error(self, error: EdgespecError) -> None:
        """Says what is wrong with the store, once until it has worked again."""
        self.tell_notes()
        text = joined(error.message, error.hint)
        if text != self._told:
            self._tell(text, is_error=True)
        self._told = text

    def tell_notes(self) -> None:
        """Says what has happened to the database."""
        for note in self.store.take_notes():
            self._tell(note, is_error=True)

    def _has_old_files(self) -> bool:
        try:
            return has_old_files(self.store)
        except EdgespecError as error:
            self.tell_error(error)
            return False

    async def _take_over(self, then: Callable[[], None]) -> None:
        try:
            self._tell_taken(await asyncio.to_thread(take_over, self.store))
        except EdgespecError as error:
            self.tell_error(error)
        finally:
            self._task = None
            waiting, self._waiting = self._waiting, {}
            for conversation in waiting.values():
                self.save(conversation)
        if self._listener is not None:
            then()

    def _tell_taken(self, taken: TakenOver) -> None:
        if taken.n:
            what = "one conversation" if taken.n == 1 else f"{taken.n} conversations"
            self._tell(f"{what} of edgespec 0.1.0 taken over; the files are kept in {taken.folder}")
        for text in taken.left_out[:_MOST_NAMED]:
            self._tell(text, is_error=True)
        if (others := len(taken.left_out) - _MOST_NAMED) > 0:
            self._tell(f"{others} more files were left out, too", is_error=True)

    def _tell(self, text: str, *, is_error: bool = False) -> None:
        if self._listener is not None:
            self._listener.told(text, is_error)
