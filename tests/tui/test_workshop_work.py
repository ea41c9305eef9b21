"""The workshop's work, key by key, on scripted processes."""

from pathlib import Path

import pytest

from edgespec.worker.jobs.measure import MeasureJob
from edgespec.worker.jobs.plan import PlanJob
from edgespec.worker.jobs.prune import PruneJob
from edgespec.worker.protocol import (
    OpenPair,
    Pause,
    RequestFailed,
    Resume,
    Stop,
    WorkerDied,
)
from tests.leftovers import leave_behind
from tests.tui.conftest import LARGE, SMALL, AppBench, settle
from tests.tui.workshop_script import (
    DENSE,
    JOB,
    MADE,
    Script,
    make,
    planned,
    quick_script,
    screen_of,
    text_of,
    until,
    workshop,
)
from tui.common.ask import AskScreen
from tui.workshop.screen import Phase
from tui.workshop.stages import StageLine


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    return quick_script(monkeypatch)


async def test_the_work_ends_in_a_comparison_and_the_new_model_is_known(
    bench: AppBench, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    app = make(bench, script)
    monkeypatch.setattr(app, "models_changed", lambda: told.append(True))
    async with workshop(app, size=LARGE) as pilot:
        screen = await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: screen.phase is Phase.DONE)
        assert [stage.label for stage in screen.query(StageLine)] == [
            "reading the calibration text",
            "writing",
            "quality of the dense model",
        ]
        assert text_of(app, "status") == "1.22x as fast, perplexity +104%"
        assert [job for job in script.jobs if isinstance(job, PruneJob)] == [JOB]
        [measuring] = [job for job in script.jobs if isinstance(job, MeasureJob)]
        assert (measuring.dense, measuring.made) == (DENSE, MADE)
        assert told == [True]


@pytest.mark.parametrize(("answer", "started"), [("y", 1), ("n", 0)])
async def test_an_existing_file_is_replaced_only_after_a_question(
    bench: AppBench, script: Script, answer: str, started: int
) -> None:
    script.exists = True
    app = make(bench, script)
    async with workshop(app, size=SMALL) as pilot:
        await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, AskScreen))
        assert script.count(PruneJob) == 0
        await pilot.press(answer)
        await until(pilot, lambda: app.screen is screen_of(app))
        await settle(pilot)
        assert [job.force for job in script.jobs if isinstance(job, PruneJob)] == [True] * started


async def test_an_answer_in_the_chat_is_ended_only_after_a_question(bench: AppBench, script: Script) -> None:
    app = make(bench, script)
    async with workshop(app, size=SMALL) as pilot:
        screen = await planned(pilot, app)
        bench.options["hold"] = True
        await pilot.press("f2")
        await settle(pilot)
        app.open_engine()
        await until(pilot, lambda: app.engine.is_ready)
        await pilot.press(*"hello", "enter")
        await settle(pilot)
        await pilot.press("f6")
        await until(pilot, lambda: app.screen is screen)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, AskScreen))
        await pilot.press("y")
        await until(pilot, lambda: screen.phase is Phase.DONE)
        assert app.engine.pair is None


async def test_space_pauses_and_goes_on(bench: AppBench, script: Script) -> None:
    script.making = script.making[:1]
    app = make(bench, script)
    async with workshop(app, size=SMALL) as pilot:
        screen = await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: len(screen.query(StageLine)) == 1)
        await pilot.press("space")
        await settle(pilot)
        assert "paused" in text_of(app, "status")
        await pilot.press("space")
        await settle(pilot)
        assert [type(request) for request in bench.workers[-1].requests[1:]] == [Pause, Resume]


async def test_escape_stops_after_a_question_and_the_plan_comes_back(bench: AppBench, script: Script) -> None:
    script.making = script.making[:1]
    app = make(bench, script)
    async with workshop(app, size=SMALL) as pilot:
        screen = await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(
            pilot, lambda: screen.phase is Phase.MAKING and screen.query(StageLine).first() is not None
        )
        await pilot.press("escape", "n")
        await settle(pilot)
        worker = bench.workers[-1]
        assert not any(isinstance(request, Stop) for request in worker.requests)
        await pilot.press("escape", "y")
        await settle(pilot)
        assert isinstance(worker.requests[-1], Stop)
        plans = script.count(PlanJob)
        worker.say(RequestFailed("stopped", interrupted=True))
        await until(pilot, lambda: screen.phase is Phase.PLANNING and screen.plan.planned is not None)
        assert not screen.form.disabled
        assert script.count(PlanJob) == plans + 1


async def test_a_model_that_is_sent_while_working_is_planned_when_the_work_is_over(
    bench: AppBench, script: Script
) -> None:
    script.making = script.making[:1]
    app = make(bench, script)
    async with workshop(app, size=SMALL) as pilot:
        screen = await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: screen.phase is Phase.MAKING and len(screen.query(StageLine)) == 1)
        app.go("workshop", with_="another")
        await settle(pilot)
        assert screen.phase is Phase.MAKING
        bench.workers[-1].say(RequestFailed("stopped", interrupted=True))
        await until(pilot, lambda: screen.phase is Phase.PLANNING and screen.plan.planned is not None)
        assert script.asked.model == "another"


async def test_an_error_while_working_is_one_line_and_the_form_comes_back(
    bench: AppBench, script: Script
) -> None:
    script.making = [*script.making[:1], RequestFailed("the disk is full.", "free some space")]
    script.exists = False
    app = make(bench, script)
    async with workshop(app, size=SMALL) as pilot:
        screen = await planned(pilot, app)
        bench.options["job"] = lambda request: (
            () if isinstance(request.job, PlanJob) else script.answer(request)
        )
        await pilot.press("ctrl+s")
        await until(
            pilot, lambda: screen.phase is Phase.PLANNING and screen.query(StageLine).first() is not None
        )
        assert text_of(app, "status") == "the disk is full; free some space; nothing was written"


async def test_what_a_killed_process_left_is_deleted(
    bench: AppBench, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    left = leave_behind(MADE.resolve().parent)
    script.making = [*script.making[:1], WorkerDied("was killed (SIGKILL)")]
    app = make(bench, script)
    async with workshop(app, size=SMALL) as pilot:
        await planned(pilot, app)
        assert left.exists()
        await pilot.press("ctrl+s")
        await until(pilot, lambda: not left.exists())


async def test_measuring_can_be_left_out_and_done_later(bench: AppBench, script: Script) -> None:
    whole, script.measuring = script.measuring, script.measuring[:2]
    app = make(bench, script)
    async with workshop(app, size=SMALL) as pilot:
        screen = await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: screen.phase is Phase.MEASURING)
        await pilot.press("escape", "y")
        await settle(pilot)
        bench.workers[-1].say(RequestFailed("stopped", interrupted=True))
        await until(pilot, lambda: screen.phase is Phase.DONE)
        assert text_of(app, "status") == "stopped; the new file stays, M measures again"
        script.measuring = whole
        await pilot.press("m")
        await until(pilot, lambda: script.count(MeasureJob) == 2 and screen.phase is Phase.DONE)
        assert text_of(app, "status").startswith("1.22x")


@pytest.mark.parametrize(("key", "mode"), [("r", "race"), ("c", "chat")])
async def test_the_new_model_is_raced_or_chatted_with_by_one_key(
    bench: AppBench, script: Script, key: str, mode: str
) -> None:
    app = make(bench, script)
    async with workshop(app, size=SMALL) as pilot:
        screen = await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: screen.phase is Phase.DONE)
        await pilot.press(key)
        await until(pilot, lambda: app.current_mode == mode and app.engine.is_ready)
        opened = [r for worker in bench.workers for r in worker.requests if isinstance(r, OpenPair)]
        assert opened[-1].target == str(MADE.resolve())


async def test_escape_leads_back_to_form_and_plan(bench: AppBench, script: Script) -> None:
    app = make(bench, script)
    async with workshop(app, size=SMALL) as pilot:
        screen = await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: screen.phase is Phase.DONE)
        script.exists = True
        await pilot.press("escape")
        await until(pilot, lambda: screen.phase is Phase.PLANNING and screen.plan.planned is not None)
        assert screen.plan.planned is not None
        assert screen.plan.planned.exists
