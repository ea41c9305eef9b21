"""The conversation on the screen: what is asked, what the engine answers, what is kept of it."""

import math
from dataclasses import replace
from datetime import UTC, datetime

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import Resize
from textual.widgets import Static

from edgespec.bench.summary import arm_named
from edgespec.errors import EdgespecError
from edgespec.paths import chats_dir
from edgespec.text import plain_text
from edgespec.worker.protocol import (
    Answer,
    Answered,
    Noted,
    PairOpened,
    Progressed,
    RequestFailed,
    TokensArrived,
    WorkerDied,
)
from edgespec.worker.race import arm_name
from tui.chat.conversation import Conversation, Message, merge_pieces
from tui.chat.prompt_input import PromptInput
from tui.chat.rail import Rail
from tui.chat.store import ChatStore
from tui.chat.turn import AnswerTurn, UserTurn
from tui.common.mode_screen import ModeScreen
from tui.common.pace import Pace
from tui.common.status_line import StatusLine
from tui.common.wording import MODE_NAMES, answer_receipt, joined, live_line, progress_line
from tui.services.app_services import AppServices
from tui.services.engine_client import EngineState
from tui.services.messages import WorkerReported

RAIL_COLUMNS = 100
_LIVE_S = 1.0
_EMPTY = """\
Ask something below. Under each answer stands what it cost, and what speculation brought.

F1 shows all keys, / all commands, F5 the models that are here or can be fetched."""


class TalkScreen(ModeScreen):
    """Owns the conversation and what stands of it on the screen; the engine room owns the models."""

    NAME = "chat"

    def __init__(self, services: AppServices) -> None:
        super().__init__(services)
        self.store = ChatStore(chats_dir())
        self.conversation = Conversation.begin()
        self.tinted = False
        self._turn: AnswerTurn | None = None
        self._waiting = False
        """A message is there to be answered as soon as the engine is ready."""
        self._live_s = 0.0
        self._pace = Pace()
        self._arrived: list[TokensArrived] = []
        """What the screen does not show yet."""

    def compose_body(self) -> ComposeResult:
        """Conversation and prompt at the left, charts at the right."""
        with Horizontal():
            with Vertical(id="talk"):
                with VerticalScroll(id="turns", can_focus=False):
                    yield Static(_EMPTY, id="empty", markup=False)
                yield StatusLine("status")
                yield PromptInput()
            yield Rail()

    def on_mount(self) -> None:
        """Takes what was asked for on the command line."""
        app = self.services
        self.tinted = app.settings.tint_drafted
        self.conversation = Conversation.begin(self.default_system())
        self.services.engine.subscribe(
            self, TokensArrived, Answered, PairOpened, Noted, Progressed, RequestFailed, WorkerDied
        )
        self.prompt_input.focus()
        self.show_rail()
        saved = self.store.load_all()
        for chat in reversed(saved):
            for message in chat.messages:
                if message.role == "user":
                    self.prompt_input.remember(message.content)
        if app.launch.resume_last and saved:
            self.show_conversation(saved[0])
        if app.launch.screen == "chat":
            app.open_engine()

    def on_unmount(self) -> None:
        """The engine may go on without this screen."""
        self.services.engine.unsubscribe(self)

    @property
    def prompt_input(self) -> PromptInput:
        """Where messages are written."""
        return self.query_one(PromptInput)

    @property
    def rail(self) -> Rail:
        """The charts."""
        return self.query_one(Rail)

    @property
    def turns(self) -> VerticalScroll:
        """The conversation's widgets."""
        return self.query_one("#turns", VerticalScroll)

    def default_system(self) -> str:
        """The system prompt of a new conversation."""
        asked = self.services.launch.system
        return self.services.settings.system_prompt if asked is None else asked

    def ask(self, text: str) -> None:
        """Adds a message and has it answered, at once or when the engine is ready."""
        self.conversation = self.conversation.add(Message("user", text))
        self._add_turn(UserTurn(text))
        self._save()
        self.answer()

    def answer(self) -> None:
        """Has the conversation answered as it stands."""
        if self.services.engine.state in (EngineState.CLOSED, EngineState.DEAD):
            self.services.open_engine()
        if not self.services.engine.is_ready:
            self._waiting = True
            self.tell("the answer comes as soon as the model is loaded")
            return
        self._waiting = False
        self._turn = AnswerTurn(tinted=self.tinted)
        self._add_turn(self._turn)
        self.tell("reading the prompt")
        launch = self.services.launch
        limit = launch.max_tokens or self.services.settings.max_tokens
        self.services.engine.ask(Answer(self.conversation.prompt(), limit, launch.sampling))

    def on_resize(self, _event: Resize) -> None:
        """Small terminals have no room for charts."""
        self.show_rail()

    def show_rail(self) -> None:
        """Shows the charts where they are wanted and have room."""
        self.rail.display = self.services.settings.show_rail and self.size.width >= RAIL_COLUMNS

    # What the engine says.

    @on(WorkerReported)
    async def _engine_reported(self, message: WorkerReported) -> None:
        match message.event:
            case TokensArrived(arm="") as tokens:
                await self._tokens_arrived(tokens)
            case Answered() as answered:
                await self._answered(answered)
            case PairOpened() as pair:
                self._pair_opened(pair)
            case Noted(text):
                self.tell(text)
            case Progressed() as progressed:
                self.tell(progress_line(progressed))
            case RequestFailed() as failed:
                await self._failed(failed)
            case WorkerDied(cause):
                await self._died(cause)
            case _:
                return

    async def _tokens_arrived(self, tokens: TokensArrived) -> None:
        if self._turn is None:
            return
        self.rail.feed(tokens)
        self._arrived.append(tokens)
        wait_s = self._pace.wait_s()
        if not wait_s:
            await self._paint_arrived()
        elif len(self._arrived) == 1:
            self.set_timer(wait_s, self._paint_arrived)

    async def _paint_arrived(self) -> None:
        """Puts on the screen what came since the last time."""
        arrived, self._arrived = self._arrived, []
        if self._turn is None or not arrived:
            return
        self._pace.painted()
        tokens = arrived[-1]
        await self._turn.add(tuple(piece for one in arrived for piece in one.pieces))
        if tokens.decode_s - self._live_s >= _LIVE_S or tokens.decode_s < self._live_s:
            self._live_s = tokens.decode_s
            self.tell(live_line(tokens))

    async def _answered(self, answered: Answered) -> None:
        stats = answered.stats
        self._live_s = 0.0
        await self._paint_arrived()
        await self._end_turn(stopped=stats.stopped == "interrupted", answered=answered)
        self._restore_unanswered()
        self.tell("stopped" if stats.stopped == "interrupted" else self._limit_note(stats.stopped))

    def _limit_note(self, stopped: str) -> str:
        return "the answer reached its longest length; /settings changes it" if stopped == "length" else ""

    async def _end_turn(self, *, stopped: bool, answered: Answered | None = None) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        if not turn.content:
            await turn.remove()
            return
        receipt = answer_receipt(answered, self._measured_gain()) if answered else None
        message = Message("assistant", turn.content, merge_pieces(turn.pieces), receipt, stopped)
        pair = self.services.engine.pair
        target = pair.target if pair else self.conversation.target
        self.conversation = replace(self.conversation.add(message), target=target)
        await turn.finish(message)
        self._save()

    def _measured_gain(self) -> float | None:
        """What the arm of the present mode brought in the last race of this target."""
        pair = self.services.engine.pair
        raced = self.services.engine.races.get(pair.target) if pair else None
        if pair is None or raced is None:
            return None
        arm = arm_named(raced, arm_name(pair.mode, pair.draft))
        return arm.speedup if arm is not None and math.isfinite(arm.speedup) else None

    def _pair_opened(self, pair: PairOpened) -> None:
        self.rail.show_pair(pair)
        if self._waiting:
            self.answer()
        else:
            self._tell_state()

    def _tell_state(self) -> None:
        pair = self.services.engine.pair
        if pair is None:
            self.tell("")
            return
        draft = f" with {pair.draft}" if pair.draft else ", no draft model on disk"
        note = f" · {pair.note}" if pair.note else ""
        self.tell(f"{pair.target}{draft} · {MODE_NAMES[pair.mode]} · {pair.n_ctx} tokens of context{note}")

    async def _failed(self, failed: RequestFailed) -> None:
        await self._paint_arrived()
        await self._end_turn(stopped=True)
        self._restore_unanswered()
        if failed.interrupted:
            self.tell("stopped")
        else:
            self.tell(joined(failed.message, failed.hint), error=True)

    async def _died(self, cause: str) -> None:
        await self._paint_arrived()
        await self._end_turn(stopped=True)
        self._waiting = False
        self.tell(
            f"the engine {cause}; the conversation is kept. /restart or Ctrl+F5 starts it again", error=True
        )

    def _restore_unanswered(self) -> None:
        """A message that could not be answered goes back into the prompt, unless another is being written."""
        messages = self.conversation.messages
        if self._waiting or (messages and messages[-1].role == "user"):
            self._waiting = False
            before, question = self.conversation.without_last_question()
            if question and not self.prompt_input.text:
                self.show_conversation(before)
                self.prompt_input.put(question)

    # What stands on the screen.

    def _add_turn(self, turn: UserTurn | AnswerTurn) -> None:
        self.query_one("#empty").display = False
        self.turns.mount(turn)
        self.turns.anchor()

    @work(exclusive=True, group="conversation")
    async def show_conversation(self, conversation: Conversation) -> None:
        """Puts another conversation on the screen."""
        self.conversation = conversation
        await self.turns.query(".turn").remove()
        self.query_one("#empty").display = not conversation.messages
        for message in conversation.messages:
            shown = (
                UserTurn(message.content)
                if message.role == "user"
                else AnswerTurn(message, tinted=self.tinted)
            )
            await self.turns.mount(shown)
        self.turns.anchor()

    def _save(self) -> None:
        self.conversation = replace(
            self.conversation, updated_at=datetime.now(UTC).isoformat(timespec="seconds")
        )
        try:
            self.store.save(self.conversation)
        except EdgespecError as error:
            self.notify(plain_text(error.message), severity="error", title="Not saved", markup=False)
