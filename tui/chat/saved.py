"""What can be done with the conversation that is shown, as one that is saved, and how another one is opened."""

from typing import Any

from textual.screen import Screen

from edgespec.errors import UsageError
from edgespec.text import one_line
from tui.chat.conversation import Conversation
from tui.chat.conversation_list import ConversationsScreen
from tui.chat.listing import ChatSummary
from tui.chat.model_of_chat import bring_model
from tui.chat.pane import ChatPane
from tui.common.ask import AskScreen
from tui.common.ask_line import LineScreen
from tui.services.app_services import AppServices


class SavedConversations:
    """Of a pane. Who calls it says the EdgespecErrors that come.

    Args:
        pane: Shows the conversation.
        screen: Above which questions are asked.
        services: Of the app.
    """

    def __init__(self, pane: ChatPane, screen: Screen[Any], services: AppServices) -> None:
        self._pane, self._screen, self._services = pane, screen, services

    async def choose(self) -> str:
        """Opens another conversation, chosen from the list of all, with the model that answered it. What to say of that.

        Raises:
            EdgespecError: it cannot be read.
        """
        keeper = self._pane.keeper
        if keeper.is_taking_over:
            raise UsageError(
                "the conversations of edgespec 0.1.0 are being taken over", "try again in a moment"
            )
        found = await self._screen.app.push_screen_wait(ConversationsScreen(keeper, self._forget))
        if found is not None and found != self._shown.id:
            conversation = keeper.store.load(found)
            self._pane.show(conversation)
            return await bring_model(self._services, conversation)
        return ""

    async def rename(self, title: str = "") -> str:
        """Gives it another title; asks for one where none is given. What to say of it.

        Raises:
            EdgespecError: nothing of it is saved, or the database cannot be written.
        """
        summary = self._summary()
        wanted: str | None = title.strip()
        if not wanted:
            line = LineScreen("Title of the conversation", summary.title)
            wanted = await self._screen.app.push_screen_wait(line)
        if wanted is None:
            return ""
        self._pane.store.rename(summary.id, wanted)
        return f"now called “{one_line(wanted)}”"

    async def pin(self) -> str:
        """Keeps it above the others in lists, or no longer; what to say of it.

        Raises:
            EdgespecError: nothing of it is saved, or the database cannot be written.
        """
        summary = self._summary()
        self._pane.store.pin(summary.id, not summary.pinned)
        return "no longer pinned" if summary.pinned else "pinned: it stands above the others in the list"

    async def delete(self) -> None:
        """Deletes it, after a question.

        Raises:
            EdgespecError: the database cannot be written.
        """
        conversation = self._shown
        if not conversation.messages:
            return
        question = "Delete this conversation and all that is kept of it?"
        if await self._screen.app.push_screen_wait(AskScreen(question, "Delete", "Keep")):
            self._pane.keeper.delete(conversation.id)
            self._forget(conversation.id)

    @property
    def _shown(self) -> Conversation:
        return self._pane.transcript.conversation

    def _summary(self) -> ChatSummary:
        summary = self._pane.store.summary(self._shown.id)
        if summary is None:
            raise UsageError("nothing of this conversation is saved yet", "write a message first")
        return summary

    def _forget(self, chat_id: str) -> None:
        """What was deleted is shown no longer."""
        if self._shown.id == chat_id:
            self._pane.show(Conversation.begin(self._shown.system))
