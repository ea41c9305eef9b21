"""The left of the chat: what is asked below is answered by the engine, shown above, and kept."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical

from edgespec.chat.structure import Structure
from edgespec.chat.tools import ToolCall
from edgespec.decode.token import GenerationStats
from edgespec.errors import EdgespecError
from edgespec.paths import chats_dir
from edgespec.text import plain_text
from edgespec.worker.protocol import (
    Answer,
    Answered,
    PairOpened,
    Progressed,
    RequestFailed,
    TokensArrived,
    WorkerDied,
)
from tui.chat.confirm_call import ConfirmCall, Permission
from tui.chat.conversation import Conversation
from tui.chat.copy_bar import CopyBar
from tui.chat.keeper import ChatKeeper, Listener
from tui.chat.newest import NewestMark
from tui.chat.prompt_input import PromptInput
from tui.chat.receipt import answer_receipt, live_line, race_gain
from tui.chat.slash_menu import SlashMenu
from tui.chat.store import ChatStore
from tui.chat.tool_use import ToolUse
from tui.chat.transcript import Transcript
from tui.common.ask import AskScreen
from tui.common.setting_labels import with_labels
from tui.common.status_line import StatusLine
from tui.common.wording import drafting_of, joined, progress_line
from tui.services.app_services import AppServices
from tui.services.engine_client import EngineState
from tui.services.messages import WorkerReported

_REPORTS = (TokensArrived, Answered, PairOpened, Progressed, RequestFailed, WorkerDied)
_CALLS = "calls"
_CUT_SHORT = ("interrupted", "length", "context")
"""Ends of answers whose last call may lack its end."""
_ENDS = {
    "context": "the context is full: the answer was cut short",
    "interrupted": "stopped",
    "length": "the answer reached its longest length; /settings changes it",
}
"""Why an answer ended -> what is said of it, where that is worth a word."""


class ChatPane(Vertical):
    """Transcript, status line and prompt. It asks the engine, and hears what it says."""

    def __init__(self, services: AppServices) -> None:
        super().__init__(id="conversation")
        self._services = services
        self._engine = services.engine
        self.store = ChatStore(chats_dir())
        self.keeper = ChatKeeper(self.store, Listener(self._saved, self._tell_of_store))
        # Kept, not looked for: with every turn Textual would remember one more answer to the same question.
        self.transcript = Transcript()
        """The conversation."""
        self._menu = SlashMenu(lambda: self._engine.pair)
        self.prompt = PromptInput(self._menu)
        """Where messages are written."""
        self.copy_bar = CopyBar(self.transcript)
        """Where something to copy is picked."""
        self._newest = NewestMark(self.transcript)
        self._status = StatusLine("status")
        self.thinking = services.launch.thinking
        """How the model is to think, from the next answer on."""
        self.structure: Structure | None = None
        """What answers must look like, from the next one on."""
        self.tool_use = ToolUse(services.tools, self._ask_to_call)
        """The tools that answers call."""
        self._waiting = False
        """A message is there to be answered as soon as the engine is ready."""
        self._head_before = ""
        """Id of the message that was saved last before the newest question."""
        self._shortened = ""
        """Id of the conversation whose oldest turns may be left out."""
        self._left_out = 0
        """Messages at its beginning that are."""

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield from (self.transcript, self._newest, self._status, self._menu, self.copy_bar, self.prompt)

    def on_mount(self) -> None:
        """Takes what was asked for on the command line, and what was asked in earlier conversations."""
        self.transcript.tinted = self._services.settings.tint_drafted
        self.transcript.wrap_code(self._services.settings.wrap_code)
        self.transcript.conversation = self.begin_conversation()
        self._engine.subscribe(self, *_REPORTS)
        self.keeper.open(self._recall)

    async def on_unmount(self) -> None:
        """The engine may go on without this screen; what was said is saved."""
        self._engine.unsubscribe(self)
        await self.keeper.close()

    def _recall(self) -> None:
        """What was asked in earlier conversations, and the newest of them, where that was asked for."""
        try:
            for question in self.store.recent_questions():
                self.prompt.remember(question)
            resumes = self._services.launch.resume_last and not self.transcript.conversation.messages
            newest = self.store.newest() if resumes else None
        except EdgespecError as error:
            self.keeper.tell_error(error)
            return
        self.keeper.tell_notes()
        if newest is not None:
            self.transcript.show(newest)

    @property
    def is_waiting(self) -> bool:
        """Whether a message is there to be answered as soon as a model is."""
        return self._waiting

    def begin_conversation(self) -> Conversation:
        """An empty one, with the system prompt of the command line or of the app."""
        asked = self._services.launch.system
        return Conversation.begin(self._services.settings.system_prompt if asked is None else asked)

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

    # What is asked.

    def ask(self, text: str) -> None:
        """Adds a message and has it answered, at once or when the engine is ready."""
        self._head_before = self.transcript.conversation.head
        self.tool_use.begin()
        self.transcript.add_question(text)
        self._save()
        self.answer()

    def answer(self) -> None:
        """Has the conversation answered as it stands, unless the app is being left."""
        if not self.transcript.is_attached:
            return
        if self._engine.state in (EngineState.CLOSED, EngineState.DEAD):
            self._services.open_engine()
        self._waiting = not self._engine.is_ready
        if self._waiting:
            self._tell("the answer starts when the model is loaded")
            return
        self.transcript.begin_answer()
        self._tell("reading the prompt")
        launch = self._services.launch
        limit = launch.max_tokens or self._services.settings.max_tokens
        conversation = self.transcript.conversation
        may_drop = conversation.id == self._shortened
        messages = conversation.prompt(self._left_out if may_drop else 0)
        self._engine.ask(
            Answer(
                messages,
                limit,
                launch.sampling,
                drop_oldest=may_drop,
                thinking=self.thinking,
                toolbox=self.tool_use.toolbox,
                structure=self.structure,
            )
        )

    def stop(self) -> None:
        """Ends the answer, or what is being loaded for it; what came is kept."""
        self._waiting = False
        if self.transcript.is_calling:
            self.workers.cancel_group(self, _CALLS)
        else:
            self._engine.stop()

    # What the engine says.

    @on(WorkerReported)
    async def _engine_reported(self, message: WorkerReported) -> None:
        match message.event:
            case TokensArrived(arm="") as tokens if self.transcript.is_answering:
                self.tool_use.add(tokens.calls)
                await self.transcript.add(tokens)
            case Answered() as answered:
                await self._end_answer(stopped=answered.stats.stopped == "interrupted", answered=answered)
                self._restore_unanswered()
                self._tell_end(answered.stats)
                for note in answered.notes:
                    self.notify(plain_text(with_labels(note)), markup=False)
            case PairOpened() if self._waiting:
                self.answer()
            case PairOpened():
                self.tell_pair()
            case Progressed() as progressed:
                self._tell(progress_line(progressed))
            case RequestFailed() as failed:
                await self._end_answer(stopped=True)
                self._restore_unanswered()
                text = "stopped" if failed.interrupted else joined(failed.message, failed.hint)
                self._tell(text, error=not failed.interrupted)
                if failed.context_full and self.prompt.text:
                    self._offer_to_drop(self._ask_again)
            case WorkerDied(cause):
                await self._end_answer(stopped=True)
                self._waiting = False
                what = f"the engine {cause}; the conversation is kept. /restart or Ctrl+F5 starts it again"
                self._tell(what, error=True)
            case _:
                pass

    @on(Transcript.Advanced)
    def _answer_advanced(self, message: Transcript.Advanced) -> None:
        if self.transcript.is_answering:
            self._tell(live_line(message.tokens))

    async def _end_answer(self, *, stopped: bool, answered: Answered | None = None) -> None:
        pair = self._engine.pair
        receipt = answer_receipt(answered, pair, race_gain(pair, self._engine.races)) if answered else None
        stats = answered.stats if answered else None
        target = pair.target if pair else ""
        calls = self.tool_use.take(whole=stats is not None and stats.stopped not in _CUT_SHORT)
        if await self.transcript.end_answer(
            target, stopped=stopped, receipt=receipt, stats=stats, calls=calls
        ):
            self._save()
        if calls:
            self._run_calls(calls)

    # Tools.

    @work(exclusive=True, group=_CALLS)
    async def _run_calls(self, calls: tuple[ToolCall, ...]) -> None:
        """Runs what an answer has called, one by one, and has it go on."""
        try:
            await self.tool_use.run_all(calls, self.transcript, self._tell)
        finally:
            self._save()
        self.answer()

    async def _ask_to_call(self, call: ToolCall, server: str) -> Permission:
        return await self.app.push_screen_wait(ConfirmCall(call, server))

    def _restore_unanswered(self) -> None:
        """A message that could not be answered goes back into the prompt, unless another is being written there.

        It is then no part of what is saved.
        """
        messages = self.transcript.conversation.messages
        if self._waiting or (messages and messages[-1].role == "user"):
            self._waiting = False
            if not self.prompt.text:
                asked = self.transcript.conversation
                self.prompt.put(self.transcript.take_back_question())
                head = self.keeper.take_back(asked, self._head_before)
                self.transcript.conversation = replace(self.transcript.conversation, head=head)

    def _tell_end(self, stats: GenerationStats) -> None:
        self._left_out += stats.dropped_n
        dropped = f"the {self._left_out} oldest messages were left out" if stats.dropped_n else ""
        self._tell(" · ".join(part for part in (_ENDS.get(stats.stopped, ""), dropped) if part))
        questions = [one for one in self.transcript.conversation.messages if one.role == "user"]
        if stats.stopped == "context" and len(questions) > 1:
            self._offer_to_drop(self._answer_again)

    # The end of the context.

    def _offer_to_drop(self, go_on: Callable[[], None]) -> None:
        """Asks whether the oldest turns may be left out from now on, where that has not been said of this conversation."""
        conversation, pair = self.transcript.conversation, self._engine.pair
        if not conversation.messages or conversation.id == self._shortened or not self.screen.is_current:
            return

        def take(yes: bool | None) -> None:
            if yes:
                self._shortened, self._left_out = conversation.id, 0
                go_on()

        size = f" of {pair.n_ctx} tokens" if pair and pair.n_ctx else ""
        question = (
            f"The context{size} is full. Go on with the oldest turns left out? "
            "They stay on the screen and are kept."
        )
        self.app.push_screen(AskScreen(question, "Continue", "Not now"), take)

    def _ask_again(self) -> None:
        text = self.prompt.message
        self.prompt.put("")
        self.ask(text)

    def _answer_again(self) -> None:
        self.transcript.drop_answer()
        self.answer()

    def tell_pair(self) -> None:
        """What is loaded, in the status line."""
        pair = self._engine.pair
        if pair is None:
            self._tell("")
            return
        nothing = "" if pair.server else ", no draft model on disk"
        draft = f" with {pair.draft}" if pair.draft else nothing
        note = f" · {with_labels(pair.note)}" if pair.note else ""
        size = f"{pair.n_ctx} tokens of context" if pair.n_ctx else "context unknown"
        tools = f" · {len(self._services.tools.tools)} tools" if self._services.tools.is_on else ""
        schema = " · answers by a schema" if self.structure else ""
        self._tell(f"{pair.target}{draft} · {drafting_of(pair)} · {size}{tools}{schema}{note}")

    def _tell(self, text: str, *, error: bool = False) -> None:
        self._status.tell(text, error=error)

    def _save(self) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.transcript.conversation = replace(
            self.transcript.conversation, updated_at=now, sampling=self._services.launch.sampling
        )
        self.keeper.save(self.transcript.conversation)

    def _saved(self, asked: Conversation, saved: Conversation) -> None:
        """Goes on from what was saved; where that waited, the conversation may have gone further."""
        if self._shortened == asked.id:
            self._shortened = saved.id
        if self.transcript.conversation is asked:
            self.transcript.conversation = saved
        elif self.transcript.conversation.id == saved.id:
            self.transcript.conversation = replace(self.transcript.conversation, head=saved.head)

    def _tell_of_store(self, text: str, is_error: bool) -> None:
        self.notify(
            plain_text(text),
            title="Conversations",
            severity="error" if is_error else "information",
            markup=False,
            timeout=10,
        )
