"""The workshop's work, key by key, on scripted processes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from edgespec.worker.jobs.measure import MeasureJob
from edgespec.worker.jobs.plan import PlanJob
from edgespec.worker.jobs.prune import PruneJob
from edgespec.worker.protocol import (
    OpenPair,
    Pause,
    Progressed,
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
    STAGES,
    Script,
    make,
    planned,
    quick_script,
    running,
    screen_of,
    stage_texts,
    text_of,
    until,
    workshop,
)
from tui.app import EdgespecApp
from tui.common.ask import AskScreen
from tui.workshop.screen import Phase, WorkshopScreen
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
        assert text_of(app, "status") == "stopped; the new file is kept, m measures again"
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


async def test_all_stages_stand_there_with_their_times_before_the_work_says_a_word(
    bench: AppBench, script: Script
) -> None:
    script.stages, script.making = STAGES, []
    app = make(bench, script)
    async with workshop(app, size=SMALL) as pilot:
        screen = await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: screen.phase is Phase.MAKING and running(screen))
        texts = stage_texts(screen)
        assert texts[0] == "▸ loading the model 0 s · ~1 s left"
        assert texts[1] == "· writing answers ~2 min 40 s"
        assert len(texts) == len(STAGES)
        assert text_of_stages_left(screen) == "about 4 min 10 s left in all"


async def test_what_is_left_follows_the_work_and_a_stage_that_does_not_come_is_taken_away(
    bench: AppBench, script: Script
) -> None:
    script.stages = STAGES
    script.making = [
        Progressed("making a copy in half precision", 0, 1),
        Progressed("something that nobody expected", 0, None),
    ]
    app = make(bench, script)
    async with workshop(app, size=SMALL) as pilot:
        screen = await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: any("nobody expected" in text for text in running(screen)))
        assert [text.split(" ~")[0] for text in stage_texts(screen)][:4] == [
            "✓ loading the model 0 s",
            "✓ making a copy in half precision 0 s",
            "▸ something that nobody expected 0 s",
            "· reading the calibration text",
        ]
        assert text_of_stages_left(screen) == ""


async def test_measuring_anew_expects_its_own_stages_alone(bench: AppBench, script: Script) -> None:
    script.stages = STAGES
    app = make(bench, script)
    async with workshop(app, size=SMALL) as pilot:
        screen = await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: screen.phase is Phase.DONE)
        script.measuring = []
        await pilot.press("m")
        await until(pilot, lambda: screen.phase is Phase.MEASURING and running(screen))
        assert stage_texts(screen) == [
            "▸ quality of the dense model 0 s · ~12 s left",
            "· quality of the new model ~20 s",
            "· timing both, token by token ~8 s",
        ]


@asynccontextmanager
async def started_too_early(bench: AppBench, script: Script) -> AsyncIterator[tuple[EdgespecApp, Pilot[int]]]:
    """A workshop whose plan is still being made when the work is to start."""
    script.plans_at_once = False
    app = make(bench, script)
    async with workshop(app, size=SMALL) as pilot:
        await until(pilot, lambda: script.count(PlanJob) == 1)
        await pilot.press("ctrl+s")
        await settle(pilot)
        yield app, pilot


async def test_a_start_while_the_plan_is_made_waits_for_it_and_says_so(
    bench: AppBench, script: Script
) -> None:
    async with started_too_early(bench, script) as (app, pilot):
        screen = screen_of(app)
        assert text_of(app, "status") == (
            "the plan is being worked out: the work starts when it is ready, Esc calls it off"
        )
        assert script.count(PruneJob) == 0
        bench.workers[-1].say(script.plan)
        await until(pilot, lambda: screen.phase is Phase.DONE)
        assert script.count(PruneJob) == 1


@pytest.mark.parametrize("how", ["escape", "another choice", "a refusal"])
async def test_a_start_that_waits_for_the_plan_can_be_called_off(
    bench: AppBench, script: Script, how: str
) -> None:
    async with started_too_early(bench, script) as (app, pilot):
        screen = screen_of(app)
        worker = bench.workers[-1]
        match how:
            case "escape":
                await pilot.press("escape")
                await settle(pilot)
                assert text_of(app, "status").startswith("called off")
            case "another choice":
                screen.form.take_model("another")
                await until(pilot, lambda: script.count(PlanJob) == 2)
                worker = bench.workers[-1]
            case _:
                script.refusal = RequestFailed("a ratio of 0.99 would remove 6 of 6 blocks", "remove 1 to 5")
        worker.say(script.plan)
        await until(pilot, lambda: not screen.plan.is_planning)
        await settle(pilot)
        assert (screen.phase, script.count(PruneJob)) == (Phase.PLANNING, 0)


async def test_a_start_without_a_model_says_how_one_is_chosen(bench: AppBench, script: Script) -> None:
    app = make(bench, script)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert text_of(app, "status") == "no model chosen: Ctrl+O lists those on disk"


def text_of_stages_left(screen: WorkshopScreen) -> str:
    return str(screen.query_one("#stages-left", Static).content)
