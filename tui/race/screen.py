"""The race: one prompt, plain and drafted one after the other, side by side as they came, and who won."""

from typing import ClassVar

from rich.console import Group
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import ScreenResume
from textual.widgets import Input, Static

from edgespec.bench.bars import render_bars
from edgespec.bench.result import BenchResult
from edgespec.bench.summary import arm_name
from edgespec.bench.verdict import verdict
from edgespec.decode.policy import Mode
from edgespec.text import one_line
from edgespec.worker.protocol import (
    PairOpened,
    Progressed,
    RaceAdvanced,
    RequestFailed,
    RunRace,
    TokensArrived,
    WorkerDied,
)
from tui.chat.stream_text import StreamText
from tui.common.base import ModeScreen
from tui.common.wording import joined, progress_line, rate_of
from tui.services.engine_client import EngineState
from tui.services.messages import WorkerReported

_MAX_TOKENS = 96
_TALL_ROWS = 34
"""From here on there is room for high bars below the texts."""
_EMPTY = (
    "Write a prompt above and press Enter: the same prompt is answered plain, drafted, and as auto decides."
)
_PROMPT = "Write a Python function that checks whether a string is a palindrome, then explain it."


class ArmPane(Vertical):
    """What one arm writes, and how fast."""

    def __init__(self, name: str) -> None:
        super().__init__(classes="arm")
        self.arm = name

    def compose(self) -> ComposeResult:
        """Name, text, figures."""
        yield Static(one_line(self.arm), classes="arm-title", markup=False)
        with VerticalScroll(can_focus=False):
            yield StreamText(tinted=True, is_growing=True)
        yield Static("waits", classes="arm-figures", markup=False)

    def on_mount(self) -> None:
        """Follows the text."""
        self.query_one(VerticalScroll).anchor()

    def add(self, tokens: TokensArrived) -> None:
        """More text."""
        self.query_one(StreamText).append(tokens.pieces)
        self.tell(f"{tokens.predicted_n} tokens · {rate_of(tokens):.1f} tok/s")

    def tell(self, text: str) -> None:
        """The line below the text."""
        self.query_one(".arm-figures", Static).update(one_line(text), layout=False)

    def empty(self) -> None:
        """For the next round."""
        self.query_one(StreamText).clear()
        self.tell("waits")


class RaceScreen(ModeScreen):
    """Runs on the chat's own engine, so nothing is loaded twice; its conversation is read again afterwards."""

    NAME = "race"
    STATUS = "race-verdict"
    AUTO_FOCUS = "#race-prompt"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="race.stop", tooltip="End the race; arms that came in count"),
        Binding(
            "ctrl+r", "again", "Another round", id="race.again", tooltip="Adds a round: the spread shrinks"
        ),
        Binding("ctrl+l", "clear", "Clear", id="race.clear", tooltip="Forget the rounds so far", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._result: BenchResult | None = None
        self._prompt = ""
        self._racing = False

    def compose(self) -> ComposeResult:
        """Prompt, arms, and the chart with the verdict."""
        yield self.make_top_bar()
        yield Input(_PROMPT, id="race-prompt", placeholder="The prompt that all arms answer", compact=True)
        yield Horizontal(id="arms")
        with VerticalScroll(id="race-outcome", can_focus=False):
            yield Static(_EMPTY, id="race-chart", markup=False)
        yield Static("", id="race-verdict", markup=False)
        yield self.make_footer()

    def on_mount(self) -> None:
        """Listens to the engine, and loads a pair when there is none."""
        self.room.subscribe(self)
        if self.room.state is EngineState.CLOSED:
            self.edgespec.open_engine()

    def on_unmount(self) -> None:
        """The engine may go on without this screen."""
        self.room.unsubscribe(self)

    def on_screen_resume(self, _event: ScreenResume) -> None:
        """Takes the prompt that the chat sent here."""
        if self.edgespec.race_prompt:
            self.query_one(Input).value = one_line(self.edgespec.race_prompt)
            self.edgespec.race_prompt = ""

    @on(Input.Submitted, "#race-prompt")
    def _submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self._result = None
            self._start(event.value.strip())

    def action_again(self) -> None:
        """One more round of the same prompt."""
        prompt = self._prompt or self.query_one(Input).value.strip()
        if prompt and not self._racing:
            self._start(prompt)

    def action_stop(self) -> None:
        """Ends the race."""
        if self._racing:
            self.room.stop()

    def action_clear(self) -> None:
        """Forgets all rounds."""
        if not self._racing:
            self._result, self._prompt = None, ""
            self.query(ArmPane).remove()
            self.query_one("#race-chart", Static).update(_EMPTY)
            self.tell("")

    def _start(self, prompt: str) -> None:
        pair = self.room.pair
        if self._racing or pair is None or not self.room.is_ready:
            self.tell(self._why_not())
            return
        modes = (Mode.OFF, Mode.MODEL, Mode.AUTO) if pair.draft else (Mode.OFF, Mode.NGRAM, Mode.AUTO)
        names = [arm_name(mode, pair.draft) for mode in modes]
        self._prompt, self._racing = prompt, True
        if [pane.arm for pane in self.query(ArmPane)] == names:
            for pane in self.query(ArmPane):
                pane.empty()
        else:
            self._result = None
            arms = self.query_one("#arms", Horizontal)
            arms.remove_children()
            arms.mount(*(ArmPane(name) for name in names))
        self.tell("")
        self.room.ask(RunRace(prompt, modes, _MAX_TOKENS, self._result))

    def _why_not(self) -> str:
        if self._racing:
            return "a race is on: Esc stops it"
        return {
            EngineState.BUSY: "an answer is under way in the chat: Esc there stops it",
            EngineState.LOADING: "the model is being loaded: press Enter again in a moment",
        }.get(self.room.state, "no model is loaded: F5 shows what is here")

    @on(WorkerReported)
    def _engine_reported(self, message: WorkerReported) -> None:
        match message.event:
            case TokensArrived() as tokens if self._racing and tokens.arm:
                self._pane(tokens.arm).add(tokens)
            case RaceAdvanced() as advanced:
                self._advanced(advanced)
            case RequestFailed() as failed if self._racing:
                self._racing = False
                self.tell("stopped" if failed.interrupted else joined(failed.message, failed.hint))
            case WorkerDied(cause) if self._racing:
                self._racing = False
                self.tell(f"the engine {cause}; Ctrl+F5 in the chat starts it again")
            case PairOpened():
                self.show_engine()
            case Progressed() as progressed if not self._racing:
                self.tell(progress_line(progressed))
            case _:
                pass

    def _pane(self, arm: str) -> ArmPane:
        return next(pane for pane in self.query(ArmPane) if pane.arm == arm)

    def _advanced(self, advanced: RaceAdvanced) -> None:
        self._result = result = advanced.result
        stats = advanced.stats
        accepted = "" if stats.acceptance is None else f" · {stats.acceptance:.0%} accepted"
        self._pane(advanced.arm).tell(f"{stats.tok_per_s:.1f} tok/s{accepted}")
        rounds = min(len(arm.samples) for arm in result.arms) if result.arms else 0
        self.query_one("#race-chart", Static).update(
            Group(
                render_bars(result, height=10 if self.size.height >= _TALL_ROWS else 3),
                Text(f"{rounds} round{'s' if rounds != 1 else ''} each", style="dim"),
            )
        )
        if advanced.is_last:
            self._racing = False
            self.tell(f"{verdict(result)} · Ctrl+R adds a round")
            self.edgespec.race_measured(result)
