"""The conversations that are open, of which one is shown: all of them ask one engine, each when its turn has come."""

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical

from edgespec.errors import EdgespecError
from edgespec.paths import chats_dir
from edgespec.text import plain_text
from edgespec.worker.protocol import (
    Answered,
    AnyEvent,
    PairOpened,
    Progressed,
    RaceAdvanced,
    RequestFailed,
    TokensArrived,
    TokensCounted,
    WorkerDied,
)
from tui.chat.conversation import Conversation
from tui.chat.engine_queue import EngineQueue
from tui.chat.keeper import ChatKeeper, Listener
from tui.chat.listing import ChatSummary
from tui.chat.model_of_chat import bring_model
from tui.chat.open_tabs import OpenTabs
from tui.chat.pane import ChatPane
from tui.chat.store import ChatStore
from tui.chat.tab_row import TabLabel, TabRow
from tui.services.app_services import AppServices
from tui.services.engine_client import EngineState
from tui.services.messages import EngineChanged, WorkerReported

_REPORTS = (
    *(TokensArrived, Answered, TokensCounted, PairOpened, Progressed, RequestFailed, WorkerDied),
    RaceAdvanced,
)


class ChatTabs(Vertical):
    """Panes, each with a conversation of its own, what is written there, and what waits there.

    Args:
        services: Of the app.
    """

    def __init__(self, services: AppServices) -> None:
        super().__init__(id="tabs")
        self._services, self._engine = services, services.engine
        self.keeper = ChatKeeper(ChatStore(chats_dir()), Listener(self._saved, self._tell_of_store))
        """Of all conversations."""
        self._queue = EngineQueue(services.engine)
        self.panes = [self._make()]
        """In their order; there is always one."""
        self.shown = self.panes[0]
        """The one that is seen."""
        self._row = TabRow()
        self._kept = OpenTabs()
        """As they were kept last."""

    def _make(self) -> ChatPane:
        return ChatPane(self._services, self.keeper, self._queue)

    def compose(self) -> ComposeResult:
        """The row, and the panes in one place."""
        yield from (self._row, *self.panes)

    def on_mount(self) -> None:
        """Takes what was asked for on the command line, and what was asked in earlier conversations."""
        self._engine.subscribe(self, *_REPORTS)
        self.shown.come()
        self.keeper.open(self._recall)

    async def on_unmount(self) -> None:
        """The engine may go on without this screen; what was said is saved."""
        self._engine.unsubscribe(self)
        await self.keeper.close()

    @property
    def is_answering(self) -> bool:
        """Whether an answer is under way in any of them."""
        return any(pane.is_busy for pane in self.panes)

    def place_of(self, chat_id: str) -> int | None:
        """Where a conversation is open."""
        return next((place for place, pane in enumerate(self.panes) if pane.chat_id == chat_id), None)

    # Which there are.

    async def open(self, conversation: Conversation | None = None) -> None:
        """Another one behind the one that is shown, with this conversation or an empty one."""
        pane = self._make()
        pane.display = False
        await self.mount(pane, after=self.shown)
        self.panes.insert(self.panes.index(self.shown) + 1, pane)
        pane.beginning.recall()
        self.show(pane)
        if conversation is not None:
            self.open_here(conversation)
        else:
            pane.tell_pair()

    def open_here(self, conversation: Conversation) -> None:
        """Shows a conversation in the place of the one that is shown."""
        self.shown.show(conversation)
        summary = self.keeper.store.summary(conversation.id)
        if summary is not None and summary.title != conversation.title:
            self.shown.title_given = summary.title

    def show(self, pane: ChatPane) -> None:
        """Goes to one of them."""
        if pane is not self.shown:
            self.shown.go()
            self.shown = pane
            pane.come()
        if pane.unopened is not None:
            self._open_late(pane, pane.unopened.id)
        self._look()

    def step(self, step: int) -> None:
        """Goes to the next one, or the one before, in a circle."""
        self.show(self.panes[(self.panes.index(self.shown) + step) % len(self.panes)])

    def close(self, pane: ChatPane) -> None:
        """Takes one away that is not the only one, as soon as what was asked there has ended."""
        pane.is_leaving = True
        if pane.is_waiting:
            pane.take_back()
        if pane.is_at_work:
            pane.stop()
        else:
            self._remove(pane)

    def _remove(self, pane: ChatPane) -> None:
        if pane not in self.panes or len(self.panes) == 1:
            return
        place = self.panes.index(pane)
        self.panes.remove(pane)
        if pane is self.shown:
            self.show(self.panes[min(place, len(self.panes) - 1)])
        # What was written there and is kept with no conversation.
        if not pane.transcript.conversation.messages and (text := pane.prompt.message.strip()):
            self.shown.prompt.remember(text)
            self.shown.tell("what was written there is kept: Up brings it back")
            pane.prompt.put("")
        pane.remove()
        self._look()

    def forget(self, chat_id: str) -> None:
        """A conversation was deleted: it is open no longer."""
        for pane in [one for one in self.panes if one.chat_id == chat_id]:
            pane.abandon()
            if pane is not self.shown:
                self._remove(pane)
        self._changed()

    def rename(self, chat_id: str, title: str) -> None:
        """A conversation has another title."""
        for pane in self.panes:
            if pane.chat_id == chat_id:
                pane.title_given = title
        self._look()

    # What is said of them.

    @on(ChatPane.Changed)
    def _changed(self) -> None:
        for pane in [one for one in self.panes if one.is_leaving and not one.is_at_work]:
            self._remove(pane)
        for pane in [one for one in self.panes if one.is_abandoned and not one.is_at_work]:
            pane.show(Conversation.begin(pane.transcript.conversation.system))
        self._look()

    def _look(self) -> None:
        """Says which there are, and keeps that for the next start."""
        self._row.show([TabLabel(one.title, one.mark, one is self.shown) for one in self.panes])
        said = tuple(
            one.chat_id for one in self.panes if one.unopened or one.transcript.conversation.messages
        )
        now = OpenTabs(said, self.shown.chat_id if self.shown.chat_id in said else "")
        if now != self._kept and not self.keeper.is_taking_over:
            self._kept = now
            self.keeper.keep_tabs(now)

    # What is kept.

    def _recall(self) -> None:
        for pane in self.panes:
            pane.beginning.recall()
        if self._services.launch.resume_last and not self.shown.transcript.conversation.messages:
            try:
                self._resume()
            except EdgespecError as error:
                self.keeper.tell_error(error)
        if not self.shown.transcript.conversation.messages:
            self.shown.sending.drafts.bring_first()
        self.keeper.tell_notes()

    def _resume(self) -> None:
        """Opens the newest conversation, and those that were open beside it: each is read when it is shown."""
        store = self.keeper.store
        newest = store.newest()
        if newest is None:
            return
        kept = store.open_tabs()
        kept = kept if newest.id in kept.ids else OpenTabs((newest.id,), newest.id)
        front = kept.shown if kept.shown in kept.ids else newest.id
        self.open_here(newest if front == newest.id else store.load(front))
        place = kept.ids.index(front)
        self.run_worker(self._reopen(kept.ids[:place], kept.ids[place + 1 :]))
        if self._services.launch.target is None:
            self.run_worker(self._bring_model(self.shown))

    async def _reopen(self, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        front = self.shown
        for chat_ids, is_before in ((before, True), (after[::-1], False)):
            for chat_id in chat_ids:
                summary = self.keeper.store.summary(chat_id)
                if summary is not None:
                    await self._reopen_one(summary, front, is_before=is_before)
        self._look()

    async def _reopen_one(self, summary: ChatSummary, front: ChatPane, *, is_before: bool) -> None:
        pane = self._make()
        pane.display, pane.unopened = False, summary
        await (self.mount(pane, before=front) if is_before else self.mount(pane, after=front))
        self.panes.insert(self.panes.index(front) + (0 if is_before else 1), pane)
        pane.beginning.recall()

    def _open_late(self, pane: ChatPane, chat_id: str) -> None:
        try:
            conversation = self.keeper.store.load(chat_id)
        except EdgespecError as error:
            pane.unopened = None
            self.keeper.tell_error(error)
            return
        self.open_here(conversation)
        pane.own_model.forget()

    async def _bring_model(self, pane: ChatPane) -> None:
        if said := await bring_model(self._services, pane.transcript.conversation):
            pane.tell(said)

    def _saved(self, asked: Conversation, saved: Conversation) -> None:
        for pane in self.panes:
            pane.saving.take_saved(asked, saved)

    def _tell_of_store(self, text: str, is_error: bool) -> None:
        self.notify(
            plain_text(text),
            title="Conversations",
            severity="error" if is_error else "information",
            markup=False,
            timeout=10,
        )

    # What the engine says.

    @on(EngineChanged)
    async def _engine_changed(self) -> None:
        """A measurement may take the machine for itself in the middle of an answer: nothing comes of what was asked."""
        if self._engine.state in (EngineState.CLOSED, EngineState.LOADING):
            for pane in [one for one in self.panes if one is self._queue.holder]:
                await pane.hear(RequestFailed("the models were unloaded", "ask again to load them"))

    @on(WorkerReported)
    async def _engine_reported(self, message: WorkerReported) -> None:
        event, holder = message.event, self._queue.holder
        for pane in self._concerned(event):
            await pane.hear(event)
        is_gone = holder is not None and not any(pane is holder for pane in self.panes)
        if holder is not None and is_gone and isinstance(event, Answered | RequestFailed | WorkerDied):
            self._queue.leave(holder)
        self._queue.call_next()

    def _concerned(self, event: AnyEvent) -> list[ChatPane]:
        """Whom it is said to: whose request the engine works on, or all, or whoever sees it."""
        holder = self._queue.holder
        holders = [pane for pane in self.panes if pane is holder]
        match event:
            case TokensArrived(arm="") | TokensCounted() | Answered():
                return holders
            case RequestFailed(is_beside=False) if holder is not None:
                return holders
            case RequestFailed():
                return [pane for pane in self.panes if pane is self.shown or pane.is_hit_by(event)]
            case PairOpened() | WorkerDied():
                return list(self.panes)
            case Progressed():
                return [self.shown]
            case _:
                return []
