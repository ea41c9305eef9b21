"""Benchmarks that are measured in the app: the form, the job, and what is painted of it meanwhile."""

import asyncio
import dataclasses
from pathlib import Path

import pytest
from textual.message_pump import MessagePump
from textual.widgets import DataTable, Input, ProgressBar, Static

from edgespec.bench.prompts import builtin_prompts, select
from edgespec.bench.result import BenchResult
from edgespec.bench.speculative import BenchSettings
from edgespec.bench.store import ResultStore
from edgespec.decode.policy import Mode
from edgespec.paths import results_dir
from edgespec.session.settings import EngineSettings
from edgespec.worker.jobs.bench import BenchJob
from edgespec.worker.process import WorkerProcess
from edgespec.worker.protocol import (
    AnyEvent,
    JobFinished,
    JobReported,
    PairOpened,
    Pause,
    Progressed,
    RequestFailed,
    Resume,
    RunJob,
    Stop,
    WorkerDied,
)
from tests.tui.bench_script import (
    FAST,
    JOB,
    SLOW,
    ready,
    save,
    screen_of,
    scripted,
    shown,
    status_of,
)
from tests.tui.conftest import LARGE, AppBench, settle
from tests.tui.scripted import ScriptedWorker
from tui.bench.form import BenchFormScreen, specs_of_pair
from tui.bench.screen import BenchScreen
from tui.services.job_runner import RunningJob
from tui.services.launch import Launch

pytestmark = pytest.mark.usefixtures("painted_at_once")


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
        assert status_of(app) == f"stopped; finished prompts kept as {ours.run_id}"


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (RequestFailed("stopped", interrupted=True), "stopped; no prompt finished, nothing kept"),
        (WorkerDied("was killed"), "the engine was killed; no prompt finished, nothing kept"),
        (JobFinished(dataclasses.replace(SLOW, arms=(), complete=False)), "stopped; no prompt finished"),
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
        assert status_of(app) == "there is no model 'big'; see edgespec models"
        assert not app._notifications  # said once


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
    assert [one.name for one in last.result.arms] == ["plain", "tiny-draft", "ngram", "auto"]
    saved = [entry.result for entry in ResultStore(results_dir()).entries()]
    assert [one.run_id for one in saved if one is not None] == [last.result.run_id]
    assert any(isinstance(one, Progressed) for one in events)


async def test_an_error_is_said_once_with_its_way_out(bench: AppBench) -> None:
    failed = RequestFailed("there is no model 'nonsense'", "`edgespec models` lists them")
    app = bench.make(Launch(screen="bench", bench_job=JOB), job=lambda _request: [failed])
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        assert status_of(app) == "there is no model 'nonsense'; `edgespec models` lists them"
        assert screen_of(app).query_one("#bench-status").has_class("error")
        assert not list(app._notifications)


@pytest.mark.parametrize(
    ("pair", "wanted"),
    [
        (
            PairOpened("qwen2.5-coder-1.5b", "qwen2.5-coder-0.5b", Mode.AUTO, 4096, 12.5, 9),
            "qwen2.5-coder-0.5b",
        ),
        (PairOpened("qwen2.5-coder-1.5b", None, Mode.AUTO, 4096, 12.5, 9), "auto"),
    ],
)
async def test_the_form_takes_the_loaded_pair_and_lists_the_categories(
    bench: AppBench, pair: PairOpened, wanted: str
) -> None:
    async with bench.run(pair=pair) as (app, pilot):
        await pilot.press("f4")
        await settle(pilot)
        await pilot.press("n")
        while not isinstance(app.screen, BenchFormScreen):
            await pilot.pause(0.02)
        await settle(pilot)
        assert app.screen.query_one("#bench-target", Input).value == "qwen2.5-coder-1.5b"
        assert app.screen.query_one("#bench-drafts", Input).value == wanted
        note = str(app.screen.query_one("#bench-form-note", Static).content)
        assert "Built-in categories: " in note
        assert "multi-turn" in note


async def test_the_form_names_a_file_as_it_was_asked_for(bench: AppBench) -> None:
    pair = PairOpened("mine", "little", Mode.AUTO, 4096, 12.5, 9)
    launch = Launch(target="/models/mine.gguf", draft="/models/little.gguf")
    async with bench.run(launch, pair=pair) as (app, _):
        assert specs_of_pair(app) == ("/models/mine.gguf", "/models/little.gguf")
