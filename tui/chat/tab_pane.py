"""A pane of the chat as a tab: whether it is shown, what its tab says, and what becomes of it."""

import asyncio

from textual.message import Message

from tui.chat.conversation import Conversation
from tui.chat.keeper import ChatKeeper
from tui.chat.listing import ChatSummary
from tui.chat.pane_parts import PaneParts
from tui.chat.tab_mark import TabMark
from tui.services.app_services import AppServices


class TabPane(PaneParts):
    """One of several, of which one is shown.

    Args:
        services: Of the app.
        keeper: Of all conversations.
    """

    class Changed(Message):
        """What its tab shows has changed."""

    def __init__(self, services: AppServices, keeper: ChatKeeper) -> None:
        super().__init__(services, keeper)
        self._is_shown = asyncio.Event()
        self._asks = False
        """A tool wants to be run."""
        self._news = TabMark.NONE
        """What has happened while another pane was shown."""
        self.is_leaving = False
        """Its tab is closed as soon as what was asked there has ended."""
        self.is_abandoned = False
        """Its conversation was deleted: another one comes as soon as what was asked there has ended."""
        self.unopened: ChatSummary | None = None
        """The conversation that is opened as soon as the pane is shown."""
        self.title_given = ""
        """The title that the user has given the conversation."""

    @property
    def chat_id(self) -> str:
        """Of the conversation."""
        return self.unopened.id if self.unopened else self.transcript.conversation.id

    @property
    def title(self) -> str:
        """Of the conversation; empty where nothing has been said and none was given."""
        if self.unopened:
            return self.unopened.title
        return self.title_given or self.transcript.conversation.title

    @property
    def mark(self) -> TabMark:
        """What its tab says."""
        if self._asks:
            return TabMark.ASKS
        if self.is_busy:
            return TabMark.ANSWERING
        return TabMark.WAITS if self._waiting or self.sending.attaching.is_busy else self._news

    @property
    def is_at_work(self) -> bool:
        """Whether an answer is under way or is to come."""
        return self.is_busy or self._waiting or self.sending.attaching.is_busy

    def come(self) -> None:
        """It is shown from now on."""
        self.display = True
        self._news = TabMark.NONE
        self._is_shown.set()
        self.own_model.show()
        self.context.tell()
        self.prompt.focus()

    def go(self) -> None:
        """Another one is shown from now on."""
        self.keep_draft()
        self.own_model.hide()
        self._is_shown.clear()
        self.display = False

    def show(self, conversation: Conversation) -> None:
        """Another conversation, with what was written there and not sent; what went wrong in the one before is not said of it."""
        self.unopened, self.title_given, self.is_abandoned = None, "", False
        self.saving.begins()
        super().show(conversation)
        self.post_message(self.Changed())

    def _happened(self, mark: TabMark = TabMark.NONE) -> None:
        if mark and not self._is_shown.is_set():
            self._news = mark
        self.post_message(self.Changed())
