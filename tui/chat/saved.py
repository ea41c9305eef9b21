"""What can be done with the conversation that is shown, as one that is saved, and how another one is opened."""

from typing import Any

from textual.screen import Screen

from edgespec.errors import UsageError
from edgespec.text import one_line
from tui.chat.conversation import Conversation
from tui.chat.conversation_list import ConversationsScreen
from tui.chat.listing import ChatSummary
from tui.chat.model_of_chat import bring_model
from tui.chat.tabs import ChatTabs
from tui.common.ask import AskScreen
from tui.common.ask_line import LineScreen
from tui.services.app_services import AppServices


class SavedConversations:
    """Of all tabs. Who calls it says the EdgespecErrors that come.

    Args:
        tabs: Show the conversations.
        screen: Above which questions are asked.
        services: Of the app.
    """

    def __init__(self, tabs: ChatTabs, screen: Screen[Any], services: AppServices) -> None:
        self._tabs, self._screen, self._services = tabs, screen, services

    async def choose(self) -> str:
        """Opens another conversation, chosen from the list of all, with the model that answered it. What to say of that.

        One that is open already is gone to. Where an answer is under way, another tab is opened.

        Raises:
            EdgespecError: it cannot be read.
        """
        keeper = self._tabs.keeper
        if keeper.is_taking_over:
            raise UsageError(
                "the conversations of edgespec 0.1.0 are being taken over", "try again in a moment"
            )
        found = await self._screen.app.push_screen_wait(ConversationsScreen(keeper, self._tabs))
        if found is None or self._go_to(found.chat_id):
            return ""
        conversation = keeper.store.load(found.chat_id)
        if found.in_new_tab or self._tabs.shown.is_at_work:
            await self._tabs.open(conversation)
        else:
            self._tabs.open_here(conversation)
        return await bring_model(self._services, conversation)

    def _go_to(self, chat_id: str) -> bool:
        """Shows a conversation that is open; returns whether it is."""
        place = self._tabs.place_of(chat_id)
        if place is not None:
            self._tabs.show(self._tabs.panes[place])
        return place is not None

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
        self._tabs.keeper.store.rename(summary.id, wanted)
        self._tabs.rename(summary.id, wanted)
        return f"now called “{one_line(wanted)}”"

    async def pin(self) -> str:
        """Keeps it above the others in lists, or no longer; what to say of it.

        Raises:
            EdgespecError: nothing of it is saved, or the database cannot be written.
        """
        summary = self._summary()
        self._tabs.keeper.store.pin(summary.id, not summary.pinned)
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
            self._tabs.keeper.delete(conversation.id)
            self._tabs.forget(conversation.id)

    @property
    def _shown(self) -> Conversation:
        return self._tabs.shown.transcript.conversation

    def _summary(self) -> ChatSummary:
        summary = self._tabs.keeper.store.summary(self._shown.id)
        if summary is None:
            raise UsageError("nothing of this conversation is saved yet", "write a message first")
        return summary
