"""The left of the chat: what is asked below is answered by the engine, shown above, and kept."""

from collections.abc import Callable
from functools import partial

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from edgespec.chat.tools import ToolCall
from edgespec.decode.token import GenerationStats
from edgespec.errors import EdgespecError
from edgespec.paths import chats_dir
from edgespec.text import plain_text
from edgespec.worker.protocol import (
    Answered,
    PairOpened,
    Progressed,
    RequestFailed,
    TokensArrived,
    TokensCounted,
    WorkerDied,
)
from tui.chat.asking import Asking
from tui.chat.attachments import MessageWithFiles
from tui.chat.beginning import Beginning, BeginningListener
from tui.chat.confirm_call import ConfirmCall, Permission
from tui.chat.context_limit import ContextLimit, LimitListener
from tui.chat.context_meter import ContextMeter
from tui.chat.conversation import Conversation
from tui.chat.copy_bar import CopyBar
from tui.chat.editing import Editing
from tui.chat.newest import NewestMark
from tui.chat.prompt_input import PromptInput
from tui.chat.receipt import answer_receipt, live_line, race_gain
from tui.chat.sampling import ChatSampling, SamplingChange, describe_sampling
from tui.chat.saving import Saving
from tui.chat.sending import Sending, SendingListener
from tui.chat.slash_menu import SlashMenu
from tui.chat.status_words import end_words, failure_words, pair_words
from tui.chat.store import ChatStore
from tui.chat.tool_use import ToolUse
from tui.chat.transcript import Transcript
from tui.chat.unanswered import Unanswered
from tui.chat.waiting import WaitingMessage
from tui.common.setting_labels import with_labels
from tui.common.status_line import StatusLine
from tui.common.wording import progress_line
from tui.services.app_services import AppServices
from tui.services.engine_client import EngineState
from tui.services.messages import WorkerReported

_REPORTS = (TokensArrived, Answered, TokensCounted, PairOpened, Progressed, RequestFailed, WorkerDied)
_CALLS = "calls"
_CUT_SHORT = ("interrupted", "length", "context")
"""Ends of answers whose last call may lack its end."""


class ChatPane(Vertical):
    """Transcript, status line and prompt. It asks the engine, and hears what it says."""

    def __init__(self, services: AppServices) -> None:
        super().__init__(id="conversation")
        self._services = services
        self._engine = services.engine
        # Kept, not looked for: with every turn Textual would remember one more answer to the same question.
        self.transcript = Transcript()
        """The conversation."""
        self.sampling = ChatSampling(services)
        """How answers are sampled."""
        self.store = ChatStore(chats_dir())
        self._saving = Saving(self.store, self.transcript, self.sampling, self._engine, self._tell_of_store)
        self.keeper = self._saving.keeper
        self._menu = SlashMenu(lambda: self._engine.pair)
        self.prompt = PromptInput(self._menu, lambda: self.sending.drafts.take_back())
        """Where messages are written."""
        self.editing = Editing(self.transcript, self.prompt, self._tell_or_idle, self._keep_version)
        """Messages that are written anew, and versions."""
        self.copy_bar = CopyBar(self.transcript)
        """Where something to copy is picked."""
        self._newest = NewestMark(self.transcript)
        self.sending = Sending(
            services,
            self.transcript,
            self.prompt,
            self.keeper,
            SendingListener(
                self._ask,
                lambda: self.is_busy or self._waiting,
                self._tell,
                partial(self._tell, error=True),
                self.run_worker,
            ),
        )
        """Messages on their way to the model."""
        self._status = StatusLine("status")
        self._tool_use = ToolUse(services.tools, self._ask_to_call, services.tell_error)
        self.asking = Asking(services, self.transcript, self.sampling, self._tool_use)
        """What answers are to be like."""
        self._room = self.asking.room
        self._unanswered = Unanswered(self.keeper, self.transcript, self.prompt, self.editing)
        self._waiting = False
        """A message is there to be answered as soon as the engine is ready."""
        self._goes_on = False
        """What is answered, or waits, is an answer that goes on."""
        self.meter = ContextMeter("context")
        """What the conversation takes of the context."""
        self.context = ContextLimit(
            services, self.transcript, LimitListener(self.post_message, partial(self._tell, error=True))
        )
        """How full the context is."""
        self.beginning = Beginning(
            services,
            self.transcript,
            self.prompt,
            self.keeper,
            BeginningListener(self._show_unsent, self._tell, self.run_worker),
        )
        """What a chat begins with."""
        self._is_back = False
        """The pair from before is being loaded again: why stays in the status line."""

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield from (self.transcript, self._newest)
        with Horizontal(id="status-row"):
            yield from (self._status, self.meter)
        yield from (self.sending.waiting, self._menu, self.copy_bar, self.prompt)

    def on_mount(self) -> None:
        """Takes what was asked for on the command line, and what was asked in earlier conversations."""
        self.transcript.tinted = self._services.settings.tint_drafted
        self.transcript.wrap_code(self._services.settings.wrap_code)
        self.transcript.conversation = self.beginning.empty()
        self._engine.subscribe(self, *_REPORTS)
        self.keeper.open(self.beginning.recall)

    async def on_unmount(self) -> None:
        """The engine may go on without this screen; what was said is saved."""
        self._engine.unsubscribe(self)
        self.sending.keep(self.prompt.message.strip())
        await self.keeper.close()

    @property
    def is_waiting(self) -> bool:
        """Whether a message is there to be answered as soon as a model is."""
        return self._waiting

    def show(self, conversation: Conversation) -> None:
        """Another conversation, with what was written there and not sent; what went wrong in the one before is not said of it."""
        self.editing.leave()
        self._waiting = False
        self._unanswered.forget()
        self.transcript.show(conversation)
        self._show_unsent()
        self.tell_pair()
        self.prompt.focus()

    def _show_unsent(self) -> None:
        """Of the conversation that is shown now: what was written and not sent, and how full the context is."""
        self.sending.drafts.bring()
        self.context.tell()

    @property
    def is_busy(self) -> bool:
        """Whether an answer is under way, or what it needs first."""
        return self.transcript.is_answering or self._room.is_being_made

    @on(SlashMenu.Taken)
    def _completion_taken(self, message: SlashMenu.Taken) -> None:
        self.prompt.take(message.completion)

    @on(CopyBar.Left)
    def _copy_bar_left(self, message: CopyBar.Left) -> None:
        self.prompt.focus()
        if message.text:
            self.app.copy_to_clipboard(message.text)

    @on(NewestMark.Clicked)
    def _newest_wanted(self) -> None:
        self.transcript.show_newest()

    @on(WaitingMessage.Clicked)
    def _waiting_clicked(self, message: WaitingMessage.Clicked) -> None:
        self.sending.click(message)

    # What is asked.

    def _ask(self, message: MessageWithFiles) -> None:
        self._unanswered.begin()
        self.editing.take()
        self._tool_use.begin()
        self.transcript.add_question(message.text, message.attachments)
        self._saving.save()
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
        """Has the conversation answered as it stands, unless the app is being left.

        Args:
            goes_on: Its last answer, which was cut, goes on.
        """
        if not self.transcript.is_live:
            return
        self._goes_on = goes_on
        if self._engine.state in (EngineState.CLOSED, EngineState.DEAD):
            self._services.open_engine()
        self._waiting = not self._engine.is_ready
        if self._waiting:
            self._tell("the answer starts when the model is loaded")
            return
        if not goes_on and (n := self.asking.ask_summary()):
            self._tell(f"the model summarizes the {n} oldest messages, to make room: Esc stops it")
            return
        self._tell("reading the prompt")
        self.asking.ask(goes_on=goes_on)

    def stop(self) -> None:
        """Ends the answer, or what is being loaded for it; what came is kept. Else leaves an edit."""
        if not self.is_busy and not self._waiting and self.editing.leave():
            return
        self._waiting = False
        if self.transcript.is_calling:
            self.workers.cancel_group(self, _CALLS)
        else:
            self._engine.stop()

    # What the engine says.

    @on(WorkerReported)
    async def _engine_reported(self, message: WorkerReported) -> None:
        match message.event:
            case TokensArrived(arm="") as tokens:
                await self._hear(tokens)
            case Answered() as answered if self._room.is_being_made:
                self._end_summary(answered.stats)
            case Answered() as answered:
                await self._take_answer(answered)
            case TokensCounted() as counted:
                self.sending.attaching.counted(counted)
            case PairOpened() as pair:
                self._take_pair(pair)
            case Progressed() as progressed if not self._is_back:
                self._tell(progress_line(progressed))
            case RequestFailed() as failed:
                await self._take_failure(failed)
            case WorkerDied(cause):
                await self._end_answer(stopped=True)
                self._waiting = False
                self._unanswered.forget()
                self.sending.attaching.fail(EdgespecError("the engine has ended"))
                what = f"the engine {cause}; the conversation is kept. /restart or Ctrl+F5 starts it again"
                self._tell(what, error=True)
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
        calls = await self._end_answer(stopped=stopped == "interrupted", answered=answered)
        self._restore_unanswered()
        self._tell_end(answered.stats)
        for note in answered.notes:
            self.notify(plain_text(with_labels(note)), markup=False)
        if stopped != "context" and not calls:
            self.sending.send_next()

    def _take_pair(self, pair: PairOpened) -> None:
        """Another pair is loaded: what waited for one goes on."""
        if self.sending.attaching.is_busy:
            self.sending.attaching.count()
        elif self._waiting:
            self.context.tell()
            self.answer(goes_on=self._goes_on)
        elif self._is_back:
            self._is_back = False
        else:
            self.tell_pair()
            self.context.tell()
            self.beginning.suggest(pair)

    async def _take_failure(self, failed: RequestFailed) -> None:
        """Nothing comes of what was asked: the answer, the count of a message's files, or what was wanted beside them."""
        if failed.is_beside:
            self._tell_failure(failed)
        elif self.sending.attaching.is_busy:
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
            self._tell(live_line(message.tokens))
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
            self._saving.save()
            self.context.tell()
        if calls:
            self._run_calls(calls)
        return bool(calls)

    # Tools.

    @work(exclusive=True, group=_CALLS)
    async def _run_calls(self, calls: tuple[ToolCall, ...]) -> None:
        """Runs what an answer has called, one by one, and has it go on."""
        goes_on = await self._tool_use.run_all(calls, self.transcript, self._tell)
        self._saving.save()
        if goes_on:
            self.answer()
        else:
            self._tell("stopped")
            self.sending.send_next()

    async def _ask_to_call(self, call: ToolCall, server: str) -> Permission:
        return await self.app.push_screen_wait(ConfirmCall(call, server))

    def _tell_failure(self, failed: RequestFailed) -> None:
        self._is_back = self._engine.goes_back
        self._tell(failure_words(failed, goes_back=self._is_back), error=not failed.interrupted)

    def _restore_unanswered(self) -> None:
        self._waiting = False
        self._unanswered.restore()

    def _tell_end(self, stats: GenerationStats) -> None:
        self._tell(end_words(stats, self.transcript.conversation.seen().left_out_n))
        questions = [one for one in self.transcript.conversation.messages if one.role == "user"]
        if stats.stopped == "context" and len(questions) > 1:
            self._make_room_for(self.regenerate)

    # The end of the context.

    def _make_room_for(self, go_on: Callable[[], None]) -> None:
        """Where the conversation does not fit, and the user wants something left out, it goes on without that."""

        def make_room() -> None:
            self._room.is_full = True
            go_on()

        self.context.meet(make_room)

    def _end_summary(self, stats: GenerationStats) -> None:
        if self._room.finish() and stats.stopped != "interrupted":
            self.answer()
        else:
            self._room.forget()
            self._restore_unanswered()
            self._tell("stopped")

    def _ask_again(self) -> None:
        text, files = self.prompt.message, self.prompt.files
        self.prompt.put("")
        self.sending.ask(text, files)

    def tell_pair(self) -> None:
        """What is loaded, in the status line."""
        pair = self._engine.pair
        if pair is None:
            self._tell("")
            return
        has_schema = self.asking.structure is not None
        words = pair_words(pair, tools_n=len(self._services.tools.tools), has_schema=has_schema)
        self._tell(words, whole=True)

    def _tell_or_idle(self, text: str) -> None:
        if text:
            self._tell(text, whole=True)
        else:
            self.tell_pair()

    def _keep_version(self, conversation: Conversation) -> None:
        self.keeper.save(conversation)
        self.context.tell()

    def _tell(self, text: str, *, error: bool = False, whole: bool = False) -> None:
        self._status.tell(text, error=error, whole=whole)

    def set_sampling(self, change: SamplingChange) -> None:
        """Samples otherwise from the next answer on: in this conversation, or wherever its model answers."""
        self.transcript.conversation = self.sampling.take(change, self.transcript.conversation)
        self.keeper.save(self.transcript.conversation)
        settled = describe_sampling(self.sampling.settled(self.transcript.conversation))
        self._tell(f"sampling from the next answer: {settled}", whole=True)

    def _tell_of_store(self, text: str, is_error: bool) -> None:
        self.notify(
            plain_text(text),
            title="Conversations",
            severity="error" if is_error else "information",
            markup=False,
            timeout=10,
        )
