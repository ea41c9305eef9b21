"""The benchmarks' screen for tests: runs that were saved, a benchmark that follows a script, and what is shown."""

import dataclasses
from collections.abc import Iterable

from textual.pilot import Pilot
from textual.widgets import Static

from edgespec.bench.speculative import BenchSettings
from edgespec.bench.store import ResultStore
from edgespec.bench.throughput.shapes import Shape
from edgespec.paths import results_dir
from edgespec.session.settings import EngineSettings
from edgespec.worker.jobs.bench import BenchJob
from edgespec.worker.protocol import (
    AnyEvent,
    JobReported,
    Progressed,
    RunJob,
)
from tests.bench.runs import arm, plain_arm, run
from tests.bench.throughput.sweeps import curve, point, sweep
from tests.tui.conftest import settle
from tui.app import EdgespecApp
from tui.bench.screen import BenchScreen

SLOW = run(
    plain_arm(),
    dataclasses.replace(arm("auto", {"chat-1": 1.0, "edit-1": 1.0}), speedup=1.0, speedup_sd=0.02),
    run_id="20260101-080000-aaaa",
)


FAST = run(
    plain_arm(),
    dataclasses.replace(arm("auto", {"chat-1": 1.5, "edit-1": 1.5}), speedup=1.5, speedup_sd=0.03),
    run_id="20260102-080000-bbbb",
)


SHAPES = ((Shape(12, 128), 4.0), (Shape(82, 512), 20.0))


SWEEP = sweep(
    *(
        point(name, shape, batch, base * factor * (1 + 0.3 * place))
        for shape, base in SHAPES
        for name, factor in (("dense", 1.0), ("depth", 0.75))
        for place, batch in enumerate((1, 2, 4, 8))
    ),
    curves=(curve("dense"), curve("depth")),
    run_id="20260103-080000-cccc",
)


JOB = BenchJob("big", ("auto",), (), BenchSettings(), EngineSettings())


def save(*results: object) -> None:
    for result in results:
        ResultStore(results_dir()).save(result)  # type: ignore[arg-type]


def screen_of(app: EdgespecApp) -> BenchScreen:
    screen = app.screen
    assert isinstance(screen, BenchScreen)
    return screen


def shown(app: EdgespecApp) -> str:
    """What the run pane shows, as text."""
    from rich.console import Console

    console = Console(width=100, no_color=True)
    with console.capture() as captured:
        console.print(screen_of(app).query_one("#run-view", Static).content)
    return captured.get()


def status_of(app: EdgespecApp) -> str:
    return str(screen_of(app).query_one("#bench-status", Static).content)


async def ready(pilot: Pilot[int]) -> None:
    await settle(pilot)
    reading = [worker for worker in pilot.app.workers if worker.group in ("runs", "bench-form")]
    if reading:  # an empty list stands for every worker, those that wait for a dialog included
        await pilot.app.workers.wait_for_complete(reading)
    await settle(pilot)


def keys_of(app: EdgespecApp) -> set[str]:
    """Keys of the screen's own bindings that can be used now."""
    active = app.screen.active_bindings.values()
    keys = {one.binding.key for one in active if (one.binding.id or "").startswith("bench.")}
    return {"=" if key == "equals_sign" else key for key in keys}


def scripted(request: RunJob) -> Iterable[AnyEvent]:
    assert isinstance(request.job, BenchJob)
    yield Progressed("chat: chat-1", 4, 12)
    yield JobReported(dataclasses.replace(SLOW, complete=False))
