"""Processes of the workshop that follow a script, and what tests need around them."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from edgespec.bench.plain_speed import PlainSpeed
from edgespec.bench.statistics import Estimate
from edgespec.worker.jobs.expected import ExpectedStage
from edgespec.worker.jobs.measure import Comparison, MeasureJob, ModelFigures
from edgespec.worker.jobs.plan import PlanJob, Planned
from edgespec.worker.jobs.prune import PruneJob
from edgespec.worker.jobs.quantize import QuantizeJob
from edgespec.worker.jobs.request import WorkshopRequest
from edgespec.worker.jobs.written import Made
from edgespec.worker.protocol import (
    AnyEvent,
    Job,
    JobFinished,
    JobReported,
    Progressed,
    RequestFailed,
    RunJob,
)
from quant.measure.evaluate import Distance, Evaluation
from quant.prune.amount import Amount
from quant.prune.settings import PruneSettings
from tests.tui.conftest import AppBench, settle
from tui.app import EdgespecApp
from tui.services.launch import Launch
from tui.workshop.screen import WorkshopScreen
from tui.workshop.stages import StageLine

MIB = 1 << 20
DENSE, MADE = Path("/models/dense.gguf"), Path("dense-depth-79.gguf")
PLAN_LINES = (
    ("model", "dense"),
    ("removes", "8 of 30 blocks, 26.7% of the weights in the blocks"),
    ("parameters", "134.5M -> 106.2M"),
    ("size", "93.8 MiB -> 76.9 MiB, 5.94 bpw"),
    ("speed", "about 1.22x, predicted from the bytes a token reads"),
    ("takes", "about 4 min 10 s, of which 40 s measure the result"),
    ("writes", "dense-depth-79.gguf, new"),
    ("into", "/models, 40.0 GiB free"),
)
NOTES = (
    ("removed", "8 of 30 blocks (11, 12, 13, 14, 15, 16, 17, 18), 26.7% of the weights in the blocks"),
    ("held out", "KL divergence from the dense model 0.818 cut, 0.301 repaired"),
)
QUALITY = Evaluation(15.56, 1.4, 4, 1020, None, "The sky is blue.")
FAR = Evaluation(31.75, 2.8, 4, 1020, Distance(15.56, 0.7383, 0.0227, 3.2, 0.564), "Sky.")
COMPARED = Comparison(
    ModelFigures(
        "dense", 94 * MIB, 134_500_000, 5.74, QUALITY, PlainSpeed(Estimate(139.1, 6.1), Estimate(1.0, 0.0))
    ),
    ModelFigures(
        "new", 77 * MIB, 106_200_000, 5.94, FAR, PlainSpeed(Estimate(167.8, 4.1), Estimate(1.22, 0.02))
    ),
)
JOB = PruneJob("dense", DENSE, PruneSettings(Amount(ratio=0.25)), MADE)


STAGES = (
    ExpectedStage("loading the model", 1.0),
    ExpectedStage("writing answers", 160.0),
    ExpectedStage("making a copy in half precision", 2.0),
    ExpectedStage("reading the calibration text", 20.0),
    ExpectedStage("comparing windows of blocks", 25.0),
    ExpectedStage("writing", 2.0),
    ExpectedStage("quality of the dense model", 12.0, measures=True),
    ExpectedStage("quality of the new model", 20.0, measures=True),
    ExpectedStage("timing both, token by token", 8.0, measures=True),
)


class Script:
    """What the processes answer, and what they were asked."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.exists = False
        self.stages: tuple[ExpectedStage, ...] = ()
        self.plans_at_once = True
        self.refusal: RequestFailed | None = None
        self.making: list[AnyEvent] = [
            Progressed("reading the calibration text", 3, 8),
            Progressed("writing", 77 * MIB, 77 * MIB, "bytes"),
            JobFinished(Made(DENSE, MADE, NOTES)),
        ]
        self.measuring: list[AnyEvent] = [
            Progressed("quality of the dense model", 1, 4),
            JobReported(replace(COMPARED, made=replace(COMPARED.made, quality=None, speed=None))),
            JobFinished(COMPARED),
        ]

    def answer(self, request: RunJob) -> Iterable[AnyEvent]:
        self.jobs.append(request.job)
        match request.job:
            case PlanJob():
                if self.plans_at_once:
                    yield self.plan
            case PruneJob() | QuantizeJob():
                yield from self.making
            case MeasureJob():
                yield from self.measuring

    @property
    def plan(self) -> AnyEvent:
        """What a plan comes to."""
        return self.refusal or JobFinished(Planned(JOB, PLAN_LINES, self.exists, self.stages))

    @property
    def asked(self) -> WorkshopRequest:
        """The newest plan's."""
        return [job.request for job in self.jobs if isinstance(job, PlanJob)][-1]

    def count(self, kind: type) -> int:
        """Jobs of a kind so far."""
        return sum(isinstance(job, kind) for job in self.jobs)


def quick_script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Plans come at once, and no time goes by."""
    monkeypatch.setattr("tui.workshop.plan_pane.PLAN_DELAY_S", 0.001)
    monkeypatch.setattr("tui.workshop.stages.monotonic", lambda: 100.0)
    return Script()


def make(bench: AppBench, script: Script) -> EdgespecApp:
    return bench.make(Launch(screen="workshop"), job=script.answer)


@asynccontextmanager
async def workshop(app: EdgespecApp, size: tuple[int, int]) -> AsyncIterator[Pilot[int]]:
    """The app on its workshop screen, to which a model has been sent."""
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        app.go("workshop", with_="dense")
        yield pilot


def screen_of(app: EdgespecApp) -> WorkshopScreen:
    return next(screen for screen in app.all_screens() if isinstance(screen, WorkshopScreen))


def text_of(app: EdgespecApp, name: str) -> str:
    return str(screen_of(app).query_one(f"#workshop-{name}", Static).content)


def stage_texts(screen: WorkshopScreen) -> list[str]:
    """The stages that are shown, each with its mark and times."""
    return [
        " ".join(filter(None, (str(part.content).strip() for part in line.query(Static))))
        for line in screen.query(StageLine)
        if line.display
    ]


def running(screen: WorkshopScreen) -> list[str]:
    """The stages that run."""
    return [text for text in stage_texts(screen) if text.startswith("▸")]


async def until(pilot: Pilot[int], reached: Callable[[], object]) -> None:
    """Waits for timers and processes; gives up when they hang."""
    for _ in range(2000):
        await settle(pilot)
        if reached():
            return
        await pilot.pause(0.01)
    raise AssertionError("it was never reached")


async def planned(pilot: Pilot[int], app: EdgespecApp) -> WorkshopScreen:
    await settle(pilot)
    screen = screen_of(app)
    await until(pilot, lambda: screen.plan.planned is not None)
    return screen
