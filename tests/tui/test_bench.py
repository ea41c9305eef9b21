"""The bench screen: saved runs, a run under way, and the job itself on tiny models."""

import asyncio
import dataclasses
import json
import math
from collections.abc import Iterable
from pathlib import Path

import pytest
from textual.events import MouseScrollDown
from textual.message_pump import MessagePump
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, OptionList, ProgressBar, Static
from textual_plot import PlotWidget

from edgespec.bench.prompts import builtin_prompts, select
from edgespec.bench.result import BenchResult
from edgespec.bench.speculative import BenchSettings
from edgespec.bench.store import ResultStore
from edgespec.bench.throughput.shapes import Shape
from edgespec.paths import results_dir
from edgespec.session.settings import EngineSettings
from edgespec.worker.jobs.bench import BenchJob
from edgespec.worker.process import WorkerProcess
from edgespec.worker.protocol import (
    AnyEvent,
    JobFinished,
    JobReported,
    Pause,
    Progressed,
    RequestFailed,
    Resume,
    RunJob,
    Stop,
    WorkerDied,
)
from tests.bench.runs import arm, run, vanilla
from tests.bench.throughput.sweeps import curve, point, sweep
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.scripted import ScriptedWorker
from tui.app import EdgespecApp
from tui.bench.form import BenchFormScreen
from tui.bench.screen import BenchScreen
from tui.bench.throughput_chart import LogAxis, ThroughputChart
from tui.common.ask import AskScreen
from tui.services.job_runner import RunningJob
from tui.services.launch import Launch

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
SLOW = run(
    vanilla(),
    dataclasses.replace(arm("auto", {"chat-1": 1.0, "edit-1": 1.0}), speedup=1.0, speedup_sd=0.02),
    run_id="20260101-080000-aaaa",
)
FAST = run(
    vanilla(),
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


@pytest.fixture(autouse=True)
def painted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BenchScreen, "PAINT_S", 0.0)


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


async def test_without_runs_the_screen_says_how_to_make_one(bench: AppBench) -> None:
    app = bench.make(Launch(screen="bench"))
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        assert "n measures one here" in shown(app)


async def test_runs_are_listed_newest_first_and_shown(bench: AppBench) -> None:
    save(SLOW, FAST)
    (results_dir() / "20260104-080000-dddd.json").write_text("{")
    app = bench.make(Launch(screen="bench"))
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        table = app.screen.query_one(DataTable)
        assert [str(table.get_row_at(row)[0]).strip() for row in range(3)] == [
            "20260104-080000-dddd",
            FAST.run_id,
            SLOW.run_id,
        ]
        assert [str(cell) for cell in table.get_row_at(0)][1:4] == ["?", "?", "damaged"]
        assert [str(cell) for cell in table.get_row_at(1)][1:] == [
            "big-1.5b",
            "2 arms",
            "done",
            "auto 1.50x ± 0.03",
        ]
        assert "is damaged" in " ".join(shown(app).split())
        await pilot.press("down")
        await settle(pilot)
        assert "auto is 1.50x" in shown(app)
        assert "vanilla" in shown(app)


async def test_two_runs_are_compared(bench: AppBench) -> None:
    save(SLOW, FAST)
    app = bench.make(Launch(screen="bench"))
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        await pilot.press("=")
        await settle(pilot)
        assert "mark a speculative run" in status_of(app)
        await pilot.press("down")
        await settle(pilot)
        await pilot.press("m")
        await settle(pilot)
        assert "* 20260101" in str(app.screen.query_one(DataTable).get_row_at(1)[0])
        await pilot.press("up", "=")
        await settle(pilot)
        assert "SPEED-UP" in shown(app)
        assert "1.50x" in shown(app)
        await pilot.press("enter")
        await settle(pilot)
        assert "auto is 1.50x" in shown(app)
        await pilot.press("down", "m")
        await settle(pilot)
        assert "* " not in str(app.screen.query_one(DataTable).get_row_at(1)[0])


async def test_runs_with_hostile_names_are_shown_as_text(bench: AppBench) -> None:
    save(dataclasses.replace(FAST, target="[red]a\x1b[31mb[/red]"))
    app = bench.make(Launch(screen="bench"))
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        target = str(app.screen.query_one(DataTable).get_row_at(0)[1])
        assert target.startswith("[red]a")
        assert "\x1b" not in target
        assert "[red]a" in shown(app)


async def test_a_sweep_is_drawn_as_curves_one_shape_at_a_time(bench: AppBench) -> None:
    save(SWEEP)
    app = bench.make(Launch(screen="bench"))
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        chart = app.screen.query_one(ThroughputChart)
        assert chart.display
        assert "12 tokens in, 128 out" in str(chart.query_one(Static).content)
        await pilot.press("x")
        await settle(pilot)
        assert "82 tokens in, 512 out" in str(chart.query_one(Static).content)
        assert "depth has 1.33x the throughput of dense" in shown(app)
        row = [str(cell) for cell in app.screen.query_one(DataTable).get_row_at(0)]
        assert row[2:4] == ["2 curves", "done"]
        assert row[4].startswith("depth has 1.33x")
        await pilot.press("m")
        await settle(pilot)
        assert "only speculative runs" in status_of(app)


@pytest.mark.parametrize("ending", [".md", ".csv", ".json", ".svg", ".png"])
async def test_a_run_is_exported_and_never_over_a_file(ending: str, bench: AppBench, tmp_path: Path) -> None:
    save(FAST)
    app = bench.make(Launch(screen="bench"))
    place = [".md", ".csv", ".json", ".svg", ".png"].index(ending)
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        for _ in range(2):
            await pilot.press("e")
            await settle(pilot)
            app.screen.query_one(OptionList).focus()
            await pilot.press("home", *["down"] * place, "enter")
            await settle(pilot)
        written = tmp_path / f"edgespec-{FAST.run_id}{ending}"
        assert written.stat().st_size > 100
        if ending == ".json":
            assert json.loads(written.read_text())["run_id"] == FAST.run_id
        assert [one.severity for one in app._notifications] == ["error"]


async def test_the_wheel_over_the_curves_scrolls_the_page_and_no_key_goes_there(bench: AppBench) -> None:
    save(SWEEP)
    app = bench.make(Launch(screen="bench"))
    async with app.run_test(size=SMALL) as pilot:
        await ready(pilot)
        page, plot = app.screen.query_one("#run"), app.screen.query_one(PlotWidget)
        assert not plot.can_focus
        await pilot._post_mouse_events([MouseScrollDown], plot, button=0)
        await settle(pilot)
        assert page.scroll_y > 0


async def test_a_run_is_deleted_after_a_question(bench: AppBench) -> None:
    save(SLOW, FAST)
    app = bench.make(Launch(screen="bench"))
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        await pilot.press("d")
        await settle(pilot)
        assert isinstance(app.screen, AskScreen)
        await pilot.press("n")
        await ready(pilot)
        assert len(ResultStore(results_dir()).entries()) == 2
        await pilot.press("d")
        await settle(pilot)
        await pilot.press("y")
        await ready(pilot)
        assert [entry.run_id for entry in ResultStore(results_dir()).entries()] == [SLOW.run_id]
        assert app.screen.query_one(DataTable).row_count == 1
        assert "auto makes no difference" in shown(app)
        await pilot.press("d")
        await settle(pilot)
        await pilot.press("y")
        await ready(pilot)
        assert "n measures one here" in shown(app)


async def test_the_footer_shows_what_can_be_done(bench: AppBench) -> None:
    app = bench.make(Launch(screen="bench"), job=scripted)
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        assert keys_of(app) == {"n"}
        save(SLOW, SWEEP)
        app.runs_changed()
        await ready(pilot)
        await pilot.press("home")
        await settle(pilot)
        assert keys_of(app) == {"n", "m", "=", "e", "d", "x"}
        await pilot.press("down")
        await settle(pilot)
        assert keys_of(app) == {"n", "m", "=", "e", "d"}
        screen_of(app).start(JOB)
        await ready(pilot)
        assert keys_of(app) == {"space", "escape", "e"}


def keys_of(app: EdgespecApp) -> set[str]:
    """Keys of the screen's own bindings that can be used now."""
    active = app.screen.active_bindings.values()
    keys = {one.binding.key for one in active if (one.binding.id or "").startswith("bench.")}
    return {"=" if key == "equals_sign" else key for key in keys}


def scripted(request: RunJob) -> Iterable[AnyEvent]:
    assert isinstance(request.job, BenchJob)
    yield Progressed("chat: chat-1", 4, 12)
    yield JobReported(dataclasses.replace(SLOW, complete=False))


async def test_a_benchmark_shows_its_figures_as_they_come_pauses_and_ends(bench: AppBench) -> None:
    app = bench.make(Launch(screen="bench", bench_job=JOB), job=scripted)
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        worker = bench.workers[-1]
        assert app.screen.query_one(ProgressBar).display
        assert "chat: chat-1 · 4 of 12" in status_of(app)
        assert "not finished" in shown(app)
        assert not app.screen.query_one(DataTable).display
        await pilot.press("space")
        await settle(pilot)
        assert worker.requests[-1] == Pause()
        assert "paused" in status_of(app)
        await pilot.press("space")
        assert worker.requests[-1] == Resume()
        await pilot.press("escape", "escape", "space")
        assert worker.requests[-1] == Stop()
        assert worker.requests.count(Stop()) == 1
        assert "stopping" in status_of(app)
        save(FAST)
        worker.say(JobFinished(FAST))
        await ready(pilot)
        assert not app.screen.query_one(ProgressBar).display
        assert status_of(app) == "done"
        assert app.screen.query_one(DataTable).row_count == 1


async def test_the_cursor_goes_to_the_run_that_was_measured(bench: AppBench) -> None:
    save(SLOW, FAST)
    ours = dataclasses.replace(FAST, run_id="20260103-080000-dddd", target="new-model", complete=False)
    app = bench.make(Launch(screen="bench"))
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        await pilot.press("down")
        await settle(pilot)
        screen_of(app).start(JOB)
        await ready(pilot)
        await pilot.press("escape")
        save(ours)
        bench.workers[-1].say(JobFinished(ours))
        await ready(pilot)
        table = app.screen.query_one(DataTable)
        assert (table.display, table.has_focus, table.cursor_row, table.row_count) == (True, True, 0, 3)
        assert "new-model" in shown(app)
        assert str(table.get_row_at(0)[3]) == "not finished"
        assert status_of(app) == f"stopped; what was finished is kept as {ours.run_id}"


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (RequestFailed("stopped", interrupted=True), "stopped; no prompt was finished, nothing is kept"),
        (WorkerDied("was killed"), "the engine was killed; no prompt was finished, nothing is kept"),
        (JobFinished(dataclasses.replace(SLOW, arms=(), complete=False)), "stopped; no prompt was finished"),
    ],
    ids=["stopped", "died", "empty"],
)
async def test_a_benchmark_that_ends_early_says_what_is_kept(
    event: AnyEvent, told: str, bench: AppBench
) -> None:
    app = bench.make(Launch(screen="bench", bench_job=JOB), job=lambda _request: [event])
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        assert status_of(app).startswith(told)
        assert "new" in {one.binding.action for one in app.screen.active_bindings.values()}


async def test_a_run_under_way_is_painted_twice_a_second_at_most(
    bench: AppBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BenchScreen, "PAINT_S", 1000.0)
    app = bench.make(Launch(screen="bench", bench_job=JOB), job=scripted)
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        bench.workers[-1].say(Progressed("chat: chat-1", 5, 12))
        bench.workers[-1].say(Progressed("chat: chat-1", 6, 12))
        await ready(pilot)
        assert "4 of 12" in status_of(app)
        assert "first prompt" in shown(app)
        save(dataclasses.replace(SLOW, complete=False))
        bench.workers[-1].die()
        await ready(pilot)
        assert SLOW.run_id in shown(app)
        assert SLOW.run_id in status_of(app)


async def test_a_hidden_run_is_painted_when_its_screen_is_shown(bench: AppBench) -> None:
    app = bench.make(Launch(screen="bench", bench_job=JOB), job=scripted)
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        screen = screen_of(app)
        await pilot.press("f6")
        await settle(pilot)
        bench.workers[-1].say(Progressed("edit: edit-1", 8, 12))
        await settle(pilot)
        assert "4 of 12" in str(screen.query_one("#bench-status", Static).content)
        await pilot.press("f4")
        await settle(pilot)
        assert "8 of 12" in status_of(app)


async def test_one_benchmark_runs_at_a_time(bench: AppBench) -> None:
    app = bench.make(Launch(screen="bench"), job=scripted)
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        screen_of(app).start(JOB)
        screen_of(app).start(JOB)
        await ready(pilot)
        assert [request for worker in bench.workers for request in worker.requests] == [RunJob(JOB)]


async def test_a_benchmark_that_fails_says_why(bench: AppBench) -> None:
    app = bench.make(
        Launch(screen="bench", bench_job=JOB),
        job=lambda _request: [RequestFailed("there is no model 'big'", "see edgespec models")],
    )
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        assert status_of(app) == "there is no model 'big'"
        assert [one.message for one in app._notifications] == ["there is no model 'big'\nsee edgespec models"]


async def test_the_form_makes_the_job(bench: AppBench) -> None:
    app = bench.make(Launch(screen="bench"))
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        await pilot.press("n")
        await settle(pilot)
        assert isinstance(app.screen, BenchFormScreen)
        app.screen.query_one("#bench-repeat", Input).value = "none"
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert "Repeats is 'none'" in str(app.screen.query_one("#bench-form-note", Static).content)
        app.screen.query_one("#bench-repeat", Input).value = "2"
        app.screen.query_one("#bench-prompts", Input).value = "nowhere.jsonl"
        await pilot.press("enter")
        await ready(pilot)
        assert "nowhere.jsonl" in str(app.screen.query_one("#bench-form-note", Static).content)
        app.screen.query_one("#bench-prompts", Input).value = ""
        app.screen.query_one("#bench-limit", Input).value = ""
        app.screen.query_one("#bench-drafts", Input).value = "a, b"
        app.screen.query_one("#bench-categories", Input).value = "code"
        app.screen.query_one("#bench-fixed", Input).value = "1,99"
        await pilot.press("ctrl+s")
        await settle(pilot)
        said = str(app.screen.query_one("#bench-form-note", Static).content)
        assert said.startswith("Fixed lengths '99' is not a draft length")
        app.screen.query_one("#bench-fixed", Input).value = "1, 2"
        app.screen.query_one("#bench-think", Input).value = "maybe"
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert "Thinking is 'maybe'" in str(app.screen.query_one("#bench-form-note", Static).content)
        app.screen.query_one("#bench-think", Input).value = "Off"
        await pilot.press("ctrl+s")
        await ready(pilot)
        request = bench.workers[-1].requests[0]
        assert isinstance(request, RunJob)
        assert isinstance(request.job, BenchJob)
        assert request.job.drafts == ("a", "b")
        assert request.job.settings.repeat == 2
        assert request.job.settings.fixed == (1, 2)
        assert request.job.settings.think == "off"
        assert request.job.prompts == select(builtin_prompts(), ("code",), None)
        assert len(request.job.prompts) > 1


@SIZES
async def test_a_finished_run_looks_as_it_did(
    size: tuple[int, int], bench: AppBench, picture: Picture
) -> None:
    save(SLOW, FAST)
    app = bench.make(Launch(screen="bench"))
    async with app.run_test(size=size) as pilot:
        await ready(pilot)
        await picture(pilot)


@SIZES
async def test_a_sweep_looks_as_it_did(size: tuple[int, int], bench: AppBench, picture: Picture) -> None:
    save(SWEEP)
    app = bench.make(Launch(screen="bench"))
    async with app.run_test(size=size) as pilot:
        await ready(pilot)
        await picture(pilot)


@SIZES
async def test_a_comparison_looks_as_it_did(size: tuple[int, int], bench: AppBench, picture: Picture) -> None:
    save(SLOW, FAST)
    app = bench.make(Launch(screen="bench"))
    async with app.run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("down", "m")
        await settle(pilot)
        await pilot.press("up", "=")
        await settle(pilot)
        await picture(pilot)


@SIZES
async def test_a_run_under_way_looks_as_it_did(
    size: tuple[int, int], bench: AppBench, picture: Picture
) -> None:
    app = bench.make(Launch(screen="bench", bench_job=JOB), job=scripted)
    async with app.run_test(size=size) as pilot:
        await ready(pilot)
        await picture(pilot)


@SIZES
async def test_the_form_looks_as_it_did(size: tuple[int, int], bench: AppBench, picture: Picture) -> None:
    app = bench.make(Launch(screen="bench"))
    async with app.run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("n")
        await settle(pilot)
        await picture(pilot)


def test_a_logarithmic_axis_has_round_numbers() -> None:
    axis = LogAxis(8)
    ticks = axis.get_ticks(0.2, 1.8)
    assert axis.get_labels_for_ticks(ticks) == ["2", "3", "5", "7", "10", "20", "30", "50"]
    near = axis.get_ticks(math.log10(4.0), math.log10(4.1))
    assert axis.get_labels_for_ticks(near) == ["4", "4.02", "4.04", "4.06", "4.08", "4.1"]
    wide = axis.get_ticks(0.0, 4.0)
    assert axis.get_labels_for_ticks(wide) == ["1", "10", "100", "1000", "10000"]


def test_the_time_left_is_reckoned_over_all_prompts_and_without_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("tui.services.job_runner.monotonic", lambda: now[0])
    running = RunningJob(JOB, MessagePump(), ScriptedWorker())

    def left(label: str, done: float, total: float, later_s: float) -> float | None:
        now[0] += later_s
        return running.eta_s(Progressed(label, done, total))

    assert left("measuring big", 0, 3, 60) is None
    assert left("chat: chat-1", 0, 12, 60) is None
    assert left("chat: chat-1", 4, 12, 20) == 40
    assert left("code: code-1", 4, 12, 0) == 40
    running.toggle_pause()
    now[0] += 1000
    running.toggle_pause()
    assert left("code: code-1", 8, 12, 20) == 20
    assert left("code: code-1", 12, 12, 20) is None
    assert left("big.gguf", 500, 1000, 0) is None
    assert left("big.gguf", 600, 1000, 10) == 40


async def collect(worker: WorkerProcess, *, stop: bool) -> list[AnyEvent]:
    """What the worker says; after the first figures it is paused, and then stopped or let go on."""
    events: list[AnyEvent] = []
    async for event in worker.events():
        if isinstance(event, JobReported) and not any(isinstance(one, JobReported) for one in events):
            worker.send(Pause())
            await asyncio.sleep(0.1)
            worker.send(Stop() if stop else Resume())
        events.append(event)
        if isinstance(event, JobFinished | RequestFailed):
            break
    await worker.close()
    return events


@pytest.mark.parametrize("stop", [False, True], ids=["whole", "stopped"])
async def test_the_job_measures_and_keeps_what_was_finished(
    stop: bool, tiny_model: Path, tiny_draft: Path
) -> None:
    prompts = select(builtin_prompts(), ("chat", "code"), 1)
    repeats = 200 if stop else 1
    job = BenchJob(
        str(tiny_model),
        (str(tiny_draft),),
        prompts,
        BenchSettings(8, repeats),
        EngineSettings(n_ctx=2048, n_threads=1),
    )
    worker = WorkerProcess()
    worker.send(RunJob(job))
    events = await asyncio.wait_for(collect(worker, stop=stop), 120)
    last = events[-1]
    assert isinstance(last, JobFinished), last
    assert isinstance(last.result, BenchResult)
    assert last.result.complete != stop
    assert [one.name for one in last.result.arms] == ["vanilla", "tiny-draft", "ngram", "auto"]
    saved = [entry.result for entry in ResultStore(results_dir()).entries()]
    assert [one.run_id for one in saved if one is not None] == [last.result.run_id]
    assert any(isinstance(one, Progressed) for one in events)
