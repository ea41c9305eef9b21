"""A pane of the chat: what is asked below is answered by the engine, shown above, and kept."""

from collections.abc import Callable

from textual import on, work

from edgespec.chat.tools import ToolCall
from edgespec.decode.token import GenerationStats
from edgespec.errors import EdgespecError
from edgespec.text import plain_text
from edgespec.worker.protocol import (
    Answered,
    AnyEvent,
    PairOpened,
    Progressed,
    RequestFailed,
    TokensArrived,
    TokensCounted,
    WorkerDied,
)
from tui.chat.attachments import MessageWithFiles
from tui.chat.confirm_call import ConfirmCall, Permission
from tui.chat.conversation import Conversation
from tui.chat.engine_queue import EngineQueue
from tui.chat.keeper import ChatKeeper
from tui.chat.model_of_chat import bring_model
from tui.chat.receipt import answer_receipt, live_line, race_gain
from tui.chat.status_words import end_words, failure_words, waiting_words
from tui.chat.tab_mark import TabMark
from tui.chat.tab_pane import TabPane
from tui.chat.transcript import Transcript
from tui.common.setting_labels import with_labels
from tui.common.wording import progress_line
from tui.services.app_services import AppServices
from tui.services.engine_client import EngineState

_CALLS = "calls"
_CUT_SHORT = ("interrupted", "length", "context")
"""Ends of answers whose last call may lack its end."""


class ChatPane(TabPane):
    """It asks the engine when its turn has come, and is told what the engine says of that.

    Args:
        services: Of the app.
        keeper: Of all conversations.
        queue: Of all panes.
    """

    def __init__(self, services: AppServices, keeper: ChatKeeper, queue: EngineQueue) -> None:
        super().__init__(services, keeper)
        self._queue = queue
        self.needs_other_model = False
        """What waits is to be answered by the model that is being looked for."""
        self._goes_on = False
        """What is answered, or waits, is an answer that goes on."""
        self._is_back = False
        """The pair from before is being loaded again: why stays in the status line."""

    def show(self, conversation: Conversation) -> None:
        """Another conversation, with what was written there and not sent; what went wrong in the one before is not said of it."""
        self._leave()
        super().show(conversation)

    # What is asked.

    def _ask(self, message: MessageWithFiles) -> None:
        self._unanswered.begin()
        self.editing.take()
        self._tool_use.begin()
        self.transcript.add_question(message.text, message.attachments)
        self.saving.save()
        self.answer()

    def go_on(self) -> bool:
        """Has the last answer go on where it was cut; returns whether there is one."""
        last = self.transcript.conversation.last_answer()
        if last is None or not last.is_cut or last is not self.transcript.conversation.messages[-1]:
            return False
        self.editing.leave()
        self.answer(goes_on=True)
        return True

    def regenerate(self) -> None:
        """Has the last message answered again; the answer that is there stays as a version."""
        self.editing.leave()
        self._unanswered.begin()
        self.transcript.drop_answer()
        self.answer()

    def answer(self, *, goes_on: bool = False) -> None:
        """Has the conversation answered as it stands, when its turn has come, unless the app is being left.

        Args:
            goes_on: Its last answer, which was cut, goes on.
        """
        if not self.transcript.is_live:
            return
        self._goes_on = goes_on
        if self._engine.state in (EngineState.CLOSED, EngineState.DEAD):
            self._services.open_engine()
        self._waiting = not self._enter()
        self.post_message(self.Changed())
        if self._waiting:
            return
        if not goes_on and (n := self.asking.ask_summary()):
            self.tell(f"the model summarizes the {n} oldest messages, to make room: Esc stops it")
            return
        self.tell("reading the prompt")
        self.asking.ask(goes_on=goes_on)

    def _enter(self) -> bool:
        """Whether the engine may be asked now; else this pane's turn comes, with the model that is wanted here."""
        if not self.needs_other_model and self.own_model.is_elsewhere(self.transcript.conversation):
            self.needs_other_model = True
            self._queue.leave(self)
            self.run_worker(self._bring_model())
            return False
        if not self._queue.enter(self):
            self.tell(waiting_words(self._engine.state, is_before=self._queue.holder is not None))
            return False
        self.needs_other_model = False
        self.own_model.adopt()
        return True

    async def _bring_model(self) -> None:
        if said := await bring_model(self._services, self.transcript.conversation):
            self.notify(plain_text(said), markup=False)
        self.own_model.adopt()
        self.take_turn()
        self._queue.call_next()

    def take_turn(self) -> None:
        """The engine is free: what waited is asked now."""
        if self.sending.attaching.is_busy:
            self.sending.attaching.count()
        elif self._waiting:
            self.answer(goes_on=self._goes_on)
        else:
            self.take_back()

    def _leave(self) -> None:
        self._queue.leave(self)
        self.needs_other_model = False
        self.call_later(self._queue.call_next)

    def stop(self) -> None:
        """Ends the answer, or what is being loaded for it; what came is kept. Else leaves an edit."""
        if not self.is_at_work and self.editing.leave():
            return
        is_elses = self._queue.holder not in (None, self)
        if self.transcript.is_calling:
            self.workers.cancel_group(self, _CALLS)
        elif self._waiting and (is_elses or self._engine.state is EngineState.BUSY):
            self.take_back()
        elif self.sending.attaching.is_busy:
            self.sending.attaching.fail(EdgespecError("stopped"))
            self._happened()
        elif is_elses:
            self.tell("another tab is being answered: Esc there stops it")
        else:
            self._waiting = False
            self._engine.stop()

    def take_back(self) -> None:
        """What waits is not asked."""
        self._leave()
        self._restore_unanswered()
        self.tell_pair()
        self._happened()

    def abandon(self) -> None:
        """Its conversation is deleted: nothing of it is kept any more."""
        self.is_abandoned = True
        self.saving.ends()
        self._unanswered.forget()
        self.workers.cancel_group(self, _CALLS)
        self._waiting = False
        if self._queue.holder is self:
            self._engine.stop()
        else:
            self._leave()

    # What the engine says.

    async def hear(self, event: AnyEvent) -> None:
        """What the engine says to what was asked here, or to all."""
        match event:
            case TokensArrived() as tokens:
                await self._hear(tokens)
            case Answered() as answered if self._room.is_being_made:
                self._leave()
                self._end_summary(answered.stats)
            case Answered() as answered:
                await self._take_answer(answered)
            case TokensCounted() as counted:
                self.sending.attaching.counted(counted)
            case PairOpened() as pair:
                self._take_pair(pair)
            case Progressed() as progressed if not self._is_back:
                self.tell(progress_line(progressed), whole=False)
            case RequestFailed() as failed:
                await self._take_failure(failed)
            case WorkerDied(cause):
                mark = TabMark.FAILED if self.is_at_work else TabMark.NONE
                self._leave()
                await self._end_answer(stopped=True)
                self._waiting = False
                self._unanswered.forget()
                self.sending.attaching.fail(EdgespecError("the engine has ended"))
                what = f"the engine {cause}; the conversation is kept. /restart or Ctrl+F5 starts it again"
                self.tell(what, error=True)
                self._happened(mark)
            case _:
                pass

    async def _hear(self, tokens: TokensArrived) -> None:
        """More of the summary, or of the answer."""
        if self._room.is_being_made:
            self._room.hear(tokens.text)
        elif self.transcript.is_answering:
            self._tool_use.add(tokens.calls)
            await self.transcript.add(tokens)

    async def _take_answer(self, answered: Answered) -> None:
        stopped = answered.stats.stopped
        self._leave()
        calls = await self._end_answer(stopped=stopped == "interrupted", answered=answered)
        self._restore_unanswered()
        self._tell_end(answered.stats)
        for note in answered.notes:
            self.notify(plain_text(with_labels(note)), markup=False)
        self._happened(TabMark.ANSWERED)
        if stopped != "context" and not calls:
            self._send_next()

    def _send_next(self) -> None:
        if not (self.is_leaving or self.is_abandoned):
            self.sending.send_next()

    def _take_pair(self, pair: PairOpened) -> None:
        """Another pair is loaded; what waits for it has its turn."""
        if self._waiting or self.sending.attaching.is_busy:
            self.context.tell()
        elif self._is_back:
            self._is_back = False
        else:
            self.tell_pair()
            self.context.tell()
            self.beginning.suggest(pair)

    def is_hit_by(self, failed: RequestFailed) -> bool:
        """Whether nothing comes of what was asked here, or waits here."""
        if failed.is_beside:
            return self.needs_other_model
        is_next = self in self._queue.waiting and self._engine.pair is None
        return self._queue.holder is self or is_next

    async def _take_failure(self, failed: RequestFailed) -> None:
        """Nothing comes of what was asked: the answer, the count of a message's files, or what was wanted beside them."""
        if not self.is_hit_by(failed):
            self._tell_failure(failed)
            return
        self._leave()
        self.own_model.adopt()
        self._happened(TabMark.NONE if failed.interrupted else TabMark.FAILED)
        if self.sending.attaching.is_busy:
            self.sending.attaching.fail(EdgespecError(failed.message, failed.hint))
        else:
            await self._end_answer(stopped=True)
            self._restore_unanswered()
            self._tell_failure(failed)
            if failed.context_full and self.prompt.text:
                self._make_room_for(self._ask_again)

    @on(Transcript.Advanced)
    def _answer_advanced(self, message: Transcript.Advanced) -> None:
        if self.transcript.is_answering:
            self.tell(live_line(message.tokens, self._status.content_size.width), whole=False)
            if message.tokens.prompt_n:
                self.context.tell(message.tokens.prompt_n + message.tokens.predicted_n)

    async def _end_answer(self, *, stopped: bool, answered: Answered | None = None) -> bool:
        """Returns whether tools are called."""
        pair = self._engine.pair
        receipt = answer_receipt(answered, pair, race_gain(pair, self._engine.races)) if answered else None
        stats = answered.stats if answered else None
        target = pair.target if pair else ""
        self._room.forget()
        calls = self._tool_use.take(whole=stats is not None and stats.stopped not in _CUT_SHORT)
        if await self.transcript.end_answer(
            target, stopped=stopped, receipt=receipt, stats=stats, calls=calls
        ):
            self.saving.save()
            self.context.tell()
        if calls:
            self._run_calls(calls)
        return bool(calls)

    # Tools.

    @work(exclusive=True, group=_CALLS)
    async def _run_calls(self, calls: tuple[ToolCall, ...]) -> None:
        """Runs what an answer has called, one by one, and has it go on."""
        goes_on = await self._tool_use.run_all(calls, self.transcript, self.tell)
        self.saving.save()
        if goes_on:
            self.answer()
        else:
            self.tell("stopped")
            self._send_next()
        self._happened()

    async def _ask_to_call(self, call: ToolCall, server: str) -> Permission:
        """Whether a tool may be run. Nobody is asked while another conversation is shown: what is typed there would be the answer."""
        if not self._is_shown.is_set():
            self._asks = True
            self._happened()
        try:
            await self._is_shown.wait()
        finally:
            self._asks = False
        return await self.app.push_screen_wait(ConfirmCall(call, server))

    def _tell_failure(self, failed: RequestFailed) -> None:
        self._is_back = self._engine.goes_back
        self.tell(failure_words(failed, goes_back=self._is_back), error=not failed.interrupted)

    def _restore_unanswered(self) -> None:
        self._waiting = False
        self._unanswered.restore()

    def _tell_end(self, stats: GenerationStats) -> None:
        self.tell(end_words(stats, self.transcript.conversation.seen().left_out_n))
        questions = [one for one in self.transcript.conversation.messages if one.role == "user"]
        if stats.stopped == "context" and len(questions) > 1:
            self._make_room_for(self.regenerate)

    # The end of the context.

    def _make_room_for(self, go_on: Callable[[], None]) -> None:
        """Where the conversation does not fit, and the user wants something left out, it goes on without that."""

        def make_room() -> None:
            self._room.is_full = True
            go_on()

        if self._is_shown.is_set() or self._services.settings.context_end != "ask":
            self.context.meet(make_room)

    def _end_summary(self, stats: GenerationStats) -> None:
        if self._room.finish() and stats.stopped != "interrupted":
            self.answer()
        else:
            self._room.forget()
            self._restore_unanswered()
            self.tell("stopped")

    def _ask_again(self) -> None:
        text, files = self.prompt.message, self.prompt.files
        self.prompt.put("")
        self.sending.ask(text, files)
