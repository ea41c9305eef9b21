"""The side rail: speed against plain decoding, acceptance, draft length, processor and memory, as they go."""

from collections import deque
from typing import Final

import numpy as np
import psutil
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.timer import Timer
from textual.widgets import Static
from textual_plot import HiResMode

from edgespec.text import human_bytes, one_line
from edgespec.worker.protocol import PairOpened, TokensArrived
from tui.chat.context_meter import ContextMeter
from tui.chat.trace import Trace
from tui.common.plot import Plot
from tui.common.wording import drafting_of, rate_of
from tui.services.engine_client import EngineClient
from tui.services.messages import WorkerReported

_EMPTY: Final = """\
With the first answer come its charts: tokens a second against plain decoding, the share of drafted tokens that was \
accepted, the tokens gained by each pass of the target, and the load of the processor."""
_POINTS: Final = 60
_REFRESH_S: Final = 3.0
"""Charts cost the processor that the answer needs: every three seconds are enough to follow."""


class Rail(Vertical):
    """Takes the engine's figures as they come, and draws every three seconds while it is visible and something changed.

    Before the first figures it says what is loaded.
    """

    def __init__(self, engine: EngineClient) -> None:
        super().__init__(id="rail")
        self._engine = engine
        self._last: TokensArrived | None = None
        self._drawn: TokensArrived | None = None
        self._plain_tok_per_s = 0.0
        self._rates: deque[float] = deque(maxlen=_POINTS)
        self._acceptance: deque[float] = deque(maxlen=_POINTS)
        self._lengths: deque[float] = deque(maxlen=_POINTS)
        self._cpu: deque[float] = deque(maxlen=_POINTS)
        self._timer: Timer | None = None
        self.context = ContextMeter("rail-context", with_bar=True)
        """What the conversation takes of the context."""

    def compose(self) -> ComposeResult:
        """What is loaded; then, when there is something to draw, charts from top to bottom."""
        yield Static("", id="rail-pair", markup=False)
        yield Static(_EMPTY, id="rail-empty", markup=False)
        yield Static("tok/s", classes="rail-title", id="rail-rate-title", markup=False)
        yield Plot(id="rail-rate", allow_pan_and_zoom=False)
        for name, title, top in (
            ("acceptance", "acceptance", 1.0),
            ("length", "tokens per target pass", None),
            ("cpu", "processor", 100.0),
        ):
            yield Static(title, classes="rail-title", id=f"rail-{name}-title", markup=False)
            yield Trace(f"rail-{name}", top)
        yield self.context
        yield Static("", classes="rail-title", id="rail-memory", markup=False)

    def on_mount(self) -> None:
        """Draws the empty charts and waits for figures."""
        plot = self.query_one(Plot)
        plot.margin_left, plot.margin_bottom, plot.margin_top = 5, 0, 0
        psutil.cpu_percent()
        self._timer = self.set_interval(_REFRESH_S, self._sample)
        self._draw()
        self._engine.subscribe(self, TokensArrived, PairOpened)

    def on_unmount(self) -> None:
        """The engine may go on without this screen."""
        self._engine.unsubscribe(self)

    @on(WorkerReported)
    def _engine_reported(self, message: WorkerReported) -> None:
        match message.event:
            case TokensArrived(arm="") as tokens:
                self._feed(tokens)
            case PairOpened() as pair:
                self._show_pair(pair)
            case _:
                pass

    def _show_pair(self, pair: PairOpened) -> None:
        """Another pair: its own plain line, and charts from the beginning."""
        self._plain_tok_per_s = pair.plain_tok_per_s
        self._last = self._drawn = None
        for values in (self._rates, self._acceptance, self._lengths, self._cpu):
            values.clear()
        self.query_one("#rail-pair", Static).update(describe_pair(pair))
        self._tell_memory(pair.memory_bytes)
        self._draw()

    def _feed(self, tokens: TokensArrived) -> None:
        """Takes the newest figures; nothing is drawn yet."""
        if self._last is None or tokens.predicted_n < self._last.predicted_n:
            self._drawn = None
        self._last = tokens

    def _sample(self) -> None:
        if not self.display or not self.is_attached or self.screen is not self.app.screen:
            return
        now, before = self._last, self._drawn
        if now is None or now is before:
            return
        self._drawn, self._plain_tok_per_s = now, now.plain_tok_per_s
        tokens, seconds, passes, tested, accepted = (
            now.predicted_n - (before.predicted_n if before else 1),
            now.decode_s - (before.decode_s if before else 0.0),
            now.target_passes - (before.target_passes if before else 0),
            now.draft_n - (before.draft_n if before else 0),
            now.draft_n_accepted - (before.draft_n_accepted if before else 0),
        )
        if seconds <= 0 or tokens <= 0:
            return
        self._rates.append(tokens / seconds)
        if passes > 0:  # a server does not tell them
            self._lengths.append(tokens / passes)
        if passes > 0 or tested > 0:
            self._acceptance.append(accepted / tested if tested else 0.0)
        self._cpu.append(psutil.cpu_percent())
        self._tell_memory(now.memory_bytes)
        self._draw()

    def _draw(self) -> None:
        """The charts, each in the whole width; nothing before there is something to draw."""
        self.set_class(not self._rates, "-empty")
        plot = self.query_one(Plot)
        plot.clear()
        rates = np.asarray(self._rates, dtype=float)
        # A line needs two points: the first figure is a level one.
        rates = np.repeat(rates, 2) if len(rates) == 1 else rates
        if self._plain_tok_per_s:
            plot.plot(
                [0, max(len(rates) - 1, 1)],
                [self._plain_tok_per_s] * 2,
                line_style="yellow",
                hires_mode=HiResMode.BRAILLE,
            )
        if len(rates):
            plot.plot(np.arange(len(rates)), rates, line_style="green", hires_mode=HiResMode.BRAILLE)
        plot.set_xlimits(0, max(len(rates) - 1, 1))
        plot.set_ylimits(0, 1.15 * max([self._plain_tok_per_s, *self._rates, 1.0]))
        plot.set_xticks([])
        # Of the whole answer, as its receipt has it: the line below is of three seconds each.
        mean = rate_of(self._last) if self._last else 0.0
        now = f" {mean:.1f}" if mean else ""
        plain = f", plain {self._plain_tok_per_s:.1f}" if self._plain_tok_per_s else ""
        self.query_one("#rail-rate-title", Static).update(f"tok/s{now}{plain}", layout=False)
        for name, values, template in (
            ("acceptance", self._acceptance, "acceptance {:.0%}"),
            ("length", self._lengths, "tokens per target pass {:.2f}"),
            ("cpu", self._cpu, "processor {:.0f} %"),
        ):
            self.query_one(f"#rail-{name}", Trace).show(values)
            title = template.format(values[-1]) if values else template.split(" {")[0]
            self.query_one(f"#rail-{name}-title", Static).update(title, layout=False)

    def _tell_memory(self, n_bytes: int) -> None:
        free = psutil.virtual_memory().available
        used = f"{human_bytes(n_bytes)}, " if n_bytes else ""
        self.query_one("#rail-memory", Static).update(f"memory {used}{human_bytes(free)} free", layout=False)


def describe_pair(pair: PairOpened) -> str:
    """What is loaded, a line each."""
    draft = f"+ {pair.draft}" if pair.draft else ""
    plain = f"{pair.plain_tok_per_s:.1f} tok/s plain" if pair.plain_tok_per_s else ""
    context = f"{pair.n_ctx} tokens of context" if pair.n_ctx else ""
    lines = (pair.target, draft, drafting_of(pair), context, plain, pair.note)
    return "\n".join(one_line(line) for line in lines if line)
