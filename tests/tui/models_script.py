"""The models screen for tests: a short catalogue, what the screen shows, and fetches that follow a script."""

from collections.abc import Iterable
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Static

from edgespec.catalog.entries import Catalog, ModelEntry, PairEntry, WheelSource
from edgespec.catalog.sources import hub_cache
from edgespec.worker.jobs.pull import PullJob
from edgespec.worker.jobs.speeds import Speeds, SpeedsJob
from edgespec.worker.protocol import (
    AnyEvent,
    JobFinished,
    Progressed,
    RunJob,
)
from tests.tui.conftest import AppBench, settle
from tests.tui.scripted import ScriptedWorker
from tui.app import EdgespecApp
from tui.models.screen import ModelsScreen
from tui.services.launch import Launch

MIB = 1 << 20


FREE_BYTES = 4096 * MIB
SPEEDS = {"small": 123.4, "medium": 9.96, "large": 0.7}


ENTRIES = (
    ModelEntry(
        "small",
        repo="owner/small",
        file="small.gguf",
        revision="ab" * 20,
        licence="apache-2.0",
        description="A small model that runs everywhere",
        wheels=WheelSource("small-parts", "1.0", "small/part{n}.bin", 4),
    ),
    ModelEntry(
        "medium",
        repo="owner/medium",
        file="medium.gguf",
        size_bytes=900 * MIB,
        licence="mit",
        description="Not here, and fits",
    ),
    ModelEntry(
        "large",
        repo="owner/large",
        file="large.gguf",
        size_bytes=40_000 * MIB,
        licence="llama3.1",
        gated=True,
        description="Not here, and too large",
    ),
)


CATALOG = Catalog(
    {entry.name: entry for entry in ENTRIES}, {"pair": PairEntry("pair", "large", ("medium",))}, "small"
)


def screen_of(app: EdgespecApp) -> ModelsScreen:
    screen = app.screen
    assert isinstance(screen, ModelsScreen)
    return screen


def status_of(app: EdgespecApp) -> str:
    return str(screen_of(app).query_one("#models-status", Static).content)


def facts_of(app: EdgespecApp) -> str:
    return str(screen_of(app).query_one("#models-facts", Static).content)


def table_of(app: EdgespecApp) -> list[list[str]]:
    table = screen_of(app).table
    return [[str(cell) for cell in table.get_row_at(place)] for place in range(table.row_count)]


async def quiet(pilot: Pilot[int]) -> None:
    """Until no thread looks through folders and headers any more."""
    await settle(pilot)
    while any(
        worker.is_running and worker.group in ("models", "details", "download-end")
        for worker in pilot.app.workers
    ):
        await pilot.pause(0.02)
    await settle(pilot)


async def highlight(pilot: Pilot[int], name: str) -> None:
    app = pilot.app
    assert isinstance(app, EdgespecApp)
    screen = screen_of(app)
    assert screen.table.models is not None
    names = [row[1] for row in table_of(app)]
    screen.table.move_cursor(row=names.index(name))
    await quiet(pilot)


async def fetch_medium(pilot: Pilot[int]) -> None:
    """Waits for the list, and asks for a model that is not here."""
    await quiet(pilot)
    await highlight(pilot, "medium")
    await pilot.press("p")
    await quiet(pilot)


def make(bench: AppBench, **options: object) -> EdgespecApp:
    return bench.make(Launch(screen="models"), **{"job": predicted, **options})


def downloads_of(bench: AppBench) -> list[ScriptedWorker]:
    return [worker for worker in bench.workers if any(_fetches(r) for r in worker.requests)]


def _fetches(request: object) -> bool:
    return isinstance(request, RunJob) and isinstance(request.job, PullJob)


def opened_or_fetched(bench: AppBench) -> list[object]:
    """What was asked of processes, predictions apart."""
    asked = [request for worker in bench.workers for request in worker.requests]
    return [r for r in asked if not (isinstance(r, RunJob) and isinstance(r.job, SpeedsJob))]


def predicted(request: RunJob) -> Iterable[AnyEvent]:
    """Speeds for the list of models, at once."""
    if isinstance(request.job, SpeedsJob):
        yield JobFinished(Speeds({spec: SPEEDS[spec] for spec in request.job.specs if spec in SPEEDS}))


def half_way(request: RunJob) -> Iterable[AnyEvent]:
    yield from predicted(request)
    if isinstance(job := request.job, PullJob):
        yield Progressed(f"fetching {job.spec} from the hub", 450 * MIB, 900 * MIB, "bytes")


def leave_partial(name: str, n_bytes: int) -> Path:
    """What a fetch from the hub that broke off leaves."""
    path = hub_cache.repo_folder(f"owner/{name}") / "blobs" / f"abc.{name}.gguf.edgespec.incomplete"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * n_bytes)
    return path
