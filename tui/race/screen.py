"""The race: one prompt, plain and drafted, a token each in turn, and who won."""

from typing import ClassVar

from rich.console import Group
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Input, Static

from edgespec.bench.bars import render_bars
from edgespec.bench.result import BenchResult
from edgespec.bench.summary import arm_name
from edgespec.bench.verdict import verdict
from edgespec.decode.policy import Mode
from edgespec.text import one_line
from edgespec.worker.protocol import (
    Progressed,
    RaceAdvanced,
    RequestFailed,
    RunRace,
    TokensArrived,
    WorkerDied,
)
from tui.common.mode_screen import ModeScreen
from tui.common.status_line import StatusLine
from tui.common.wording import joined, progress_line
from tui.race.arms import Arms
from tui.race.prompt import RacePrompt
from tui.services.app_services import AppServices
from tui.services.engine_client import EngineState
from tui.services.messages import WorkerReported

_MAX_TOKENS = 96
_TALL_ROWS = 34
"""From here on there is room for high bars below the texts."""
_EMPTY = (
    "Type a prompt above and press Enter. It is answered three times: plain, drafted, and as auto decides."
)


class RaceScreen(ModeScreen):
    """Runs on the chat's own engine, so nothing is loaded twice; every arm has a cache of its own, and the chat keeps its."""

    NAME = "race"
    AUTO_FOCUS = "#race-prompt"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="race.stop", tooltip="Stop the race; finished rounds count"),
        Binding(
            "ctrl+r", "again", "Another round", id="race.again", tooltip="Adds a round: the spread shrinks"
        ),
        Binding("ctrl+l", "clear", "Clear", id="race.clear", tooltip="Discard the rounds so far", show=False),
    ]

    def __init__(self, services: AppServices) -> None:
        super().__init__(services)
        self._engine = services.engine
        self._result: BenchResult | None = None
        self._prompt = ""
        self._racing = False

    def compose_body(self) -> ComposeResult:
        """Prompt, arms, and the chart with the verdict."""
        yield RacePrompt()
        yield Arms()
        with VerticalScroll(id="race-outcome", can_focus=False):
            yield Static(_EMPTY, id="race-chart", markup=False)
        yield StatusLine("race-verdict")

    def on_mount(self) -> None:
        """Listens to the engine, and loads a pair when there is none."""
        self._engine.subscribe(self, TokensArrived, RaceAdvanced, RequestFailed, WorkerDied, Progressed)
        if not self.lacks_engine("a race") and self._engine.state is EngineState.CLOSED:
            self.services.open_engine()

    def on_unmount(self) -> None:
        """The engine may go on without this screen."""
        self._engine.unsubscribe(self)

    def receive(self, value: str) -> None:
        """A prompt for the line above."""
        self.query_one(RacePrompt).take(one_line(value))

    @property
    def _arms(self) -> Arms:
        return self.query_one(Arms)

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
            self._engine.stop()

    def action_clear(self) -> None:
        """Forgets all rounds."""
        if not self._racing:
            self._result, self._prompt = None, ""
            self._arms.line_up(())
            self.query_one("#race-chart", Static).update(_EMPTY)
            self.tell("")

    def _start(self, prompt: str) -> None:
        pair = self._engine.pair
        if self.lacks_engine("a race"):
            return
        if self._racing or pair is None or not self._engine.is_ready:
            self.tell(self._why_not())
            return
        modes = (Mode.OFF, Mode.MODEL, Mode.AUTO) if pair.draft else (Mode.OFF, Mode.NGRAM, Mode.AUTO)
        self._prompt, self._racing = prompt, True
        if not self._arms.line_up([arm_name(mode, pair.draft) for mode in modes]):
            self._result = None
        self.tell("")
        self._engine.ask(RunRace(prompt, modes, _MAX_TOKENS, self._result))

    def _why_not(self) -> str:
        if self._racing:
            return "a race is on: Esc stops it"
        return {
            EngineState.BUSY: "an answer is under way in the chat: Esc there stops it",
            EngineState.LOADING: "the model is being loaded: press Enter again in a moment",
        }.get(self._engine.state, "no model is loaded: F5 lists the models")

    @on(WorkerReported)
    def _engine_reported(self, message: WorkerReported) -> None:
        match message.event:
            case TokensArrived() as tokens if self._racing and tokens.arm:
                self._arms.pane(tokens.arm).add(tokens)
            case RaceAdvanced() as advanced:
                self._advanced(advanced)
            case RequestFailed(is_beside=False) as failed if self._racing:
                text = "stopped" if failed.interrupted else joined(failed.message, failed.hint)
                self._end(text, error=not failed.interrupted)
            case WorkerDied(cause) if self._racing:
                self._end(f"the engine {cause}; Ctrl+F5 in the chat starts it again", error=True)
            case Progressed() as progressed if not self._racing:
                self.tell(progress_line(progressed))
            case _:
                pass

    def _end(self, text: str, *, error: bool = False) -> None:
        self._racing = False
        self.tell(text, error=error)

    def _advanced(self, advanced: RaceAdvanced) -> None:
        self._result = result = advanced.result
        stats = advanced.stats
        accepted = "" if stats.acceptance is None else f" · {stats.acceptance:.0%} accepted"
        self._arms.pane(advanced.arm).show_figures(f"{stats.tok_per_s:.1f} tok/s{accepted}")
        rounds = min(len(arm.samples) for arm in result.arms) if result.arms else 0
        self.query_one("#race-chart", Static).update(
            Group(
                render_bars(result, height=10 if self.size.height >= _TALL_ROWS else 3),
                Text(f"{rounds} round{'s' if rounds != 1 else ''} each", style="dim"),
            )
        )
        if advanced.is_last:
            self._end(f"{verdict(result)} · Ctrl+R adds a round")
