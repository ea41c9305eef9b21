"""The workshop, key by key, on scripted processes."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Checkbox, Input, Select, Static

from edgespec.bench.plain_speed import PlainSpeed
from edgespec.bench.statistics import Estimate
from edgespec.llama.quantizer import QuantizeSettings
from quant.amount import Amount
from quant.calibration import OWN_ANSWERS
from quant.depth import Criterion
from quant.evaluate import Distance, Quality
from quant.prune_settings import Method, PruneSettings
from tests.tui.conftest import LARGE, SMALL, AppBench, settle
from tui.app import EdgespecApp
from tui.engine.protocol import (
    AnyEvent,
    Job,
    JobFinished,
    JobReported,
    OpenPair,
    Pause,
    Progressed,
    RequestFailed,
    Resume,
    RunJob,
    Stop,
    WorkerDied,
)
from tui.jobs.wish import AmountUnit, Wish
from tui.jobs.workshop import (
    Began,
    Comparison,
    Figures,
    Made,
    MeasureJob,
    PlanJob,
    Planned,
    PruneJob,
    QuantizeJob,
)
from tui.launch import Launch
from tui.screens.ask import AskScreen, ChooseScreen
from tui.screens.workshop import WorkshopScreen
from tui.screens.workshop_plan import Phase
from tui.workshop.stages import StageLine

MIB = 1 << 20
DENSE, MADE = Path("/models/dense.gguf"), Path("dense-depth-79.gguf")
PLAN_LINES = (
    ("model", "dense"),
    ("removes", "8 of 30 blocks, 26.7% of the weights in the blocks"),
    ("parameters", "134.5M -> 106.2M"),
    ("size", "93.8 MiB -> 76.9 MiB, 5.94 bpw"),
    ("speed", "about 1.22x, predicted from the bytes a token reads"),
    ("writes", "dense-depth-79.gguf, new"),
    ("into", "/models, 40.0 GiB free"),
)
NOTES = (
    ("removed", "8 of 30 blocks (11, 12, 13, 14, 15, 16, 17, 18), 26.7% of the weights in the blocks"),
    ("held out", "loss 3.027 dense, 3.814 cut, 3.243 repaired"),
)
QUALITY = Quality(15.56, 1.4, 4, 1020, None, "The sky is blue.")
FAR = Quality(31.75, 2.8, 4, 1020, Distance(15.56, 0.7383, 0.0227, 3.2, 0.564), "Sky.")
COMPARED = Comparison(
    Figures(
        "dense", 94 * MIB, 134_500_000, 5.74, QUALITY, PlainSpeed(Estimate(139.1, 6.1), Estimate(1.0, 0.0))
    ),
    Figures("new", 77 * MIB, 106_200_000, 5.94, FAR, PlainSpeed(Estimate(167.8, 4.1), Estimate(1.22, 0.02))),
)
JOB = PruneJob("dense", DENSE, PruneSettings(Amount(ratio=0.25)), MADE)


class Script:
    """What the processes answer, and what they were asked."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.exists = False
        self.refusal: RequestFailed | None = None
        self.making: list[AnyEvent] = [
            JobReported(Began(4242)),
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
                yield self.refusal or JobFinished(Planned(JOB, PLAN_LINES, self.exists))
            case PruneJob() | QuantizeJob():
                yield from self.making
            case MeasureJob():
                yield from self.measuring

    @property
    def wish(self) -> Wish:
        """The newest plan's."""
        return [job.wish for job in self.jobs if isinstance(job, PlanJob)][-1]

    def count(self, kind: type) -> int:
        """Jobs of a kind so far."""
        return sum(isinstance(job, kind) for job in self.jobs)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Plans come at once, and no time goes by."""
    monkeypatch.setattr("tui.screens.workshop_plan.PLAN_DELAY_S", 0.001)
    monkeypatch.setattr("tui.workshop.stages.monotonic", lambda: 100.0)
    return Script()


def make(bench: AppBench, script: Script, model: str = "dense") -> EdgespecApp:
    app = bench.make(Launch(screen="workshop"), job=script.answer)
    app.workshop_model = model
    return app


def screen_of(app: EdgespecApp) -> WorkshopScreen:
    return next(screen for screen in app.all_screens() if isinstance(screen, WorkshopScreen))


def text_of(app: EdgespecApp, name: str) -> str:
    return str(screen_of(app).query_one(f"#workshop-{name}", Static).content)


async def until(pilot: Pilot[int], reached: Callable[[], bool]) -> None:
    """Waits for timers and processes, at most a few seconds."""
    for _ in range(300):
        await settle(pilot)
        if reached():
            return
        await pilot.pause(0.01)
    raise AssertionError("it was never reached")


async def planned(pilot: Pilot[int], app: EdgespecApp) -> WorkshopScreen:
    await settle(pilot)
    screen = screen_of(app)
    await until(pilot, lambda: screen.planned is not None)
    return screen


async def test_without_a_model_the_screen_names_the_next_key(bench: AppBench, script: Script) -> None:
    app = make(bench, script, "")
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        assert "Ctrl+O" in text_of(app, "plan")
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert script.jobs == []


async def test_a_model_that_another_screen_sends_is_planned_at_once_and_taken_only_once(
    bench: AppBench, script: Script
) -> None:
    app = make(bench, script)
    async with app.run_test(size=SMALL) as pilot:
        screen = await planned(pilot, app)
        assert (script.wish.model, app.workshop_model) == ("dense", "")
        assert screen.query_one("#output", Input).value == str(MADE)
        screen.form.take_model("another")
        await until(pilot, lambda: script.wish.model == "another")
        await pilot.press("f5", "f6")
        await settle(pilot)
        assert screen.query_one("#model", Input).value == "another"
        assert script.count(PruneJob) == 0


async def test_every_field_reaches_the_plan(bench: AppBench, script: Script) -> None:
    app = make(bench, script)
    async with app.run_test(size=LARGE) as pilot:
        screen = await planned(pilot, app)
        screen.query_one("#unit", Select).value = AmountUnit.BLOCKS
        await settle(pilot)
        screen.query_one("#amount", Input).value = "7"
        screen.query_one("#criterion", Select).value = Criterion.KL
        screen.query_one("#protect-first", Input).value = "2"
        screen.query_one("#protect-last", Input).value = "1"
        screen.query_one("#repair", Checkbox).value = False
        screen.query_one("#type", Select).value = "Q8_0"
        screen.query_one("#calibration", Select).value = "text"
        screen.query_one("#text", Input).value = "notes.txt"
        screen.query_one("#tokens", Input).value = "2048"
        screen.query_one("#output", Input).value = "small.gguf"
        await until(pilot, lambda: script.wish.output == "small.gguf")
        assert script.wish == Wish(
            "dense",
            Method.DEPTH,
            AmountUnit.BLOCKS,
            "7",
            criterion=Criterion.KL,
            importance=script.wish.importance,
            protect_first="2",
            protect_last="1",
            repairs=False,
            file_type="Q8_0",
            calibration="notes.txt",
            n_tokens="2048",
            output="small.gguf",
        )


async def test_a_name_that_was_written_is_not_replaced_by_the_plans_own(
    bench: AppBench, script: Script
) -> None:
    app = make(bench, script)
    async with app.run_test(size=LARGE) as pilot:
        screen = await planned(pilot, app)
        output = screen.query_one("#output", Input)
        output.value = "mine.gguf"
        await until(pilot, lambda: script.wish.output == "mine.gguf" and screen.planned is not None)
        assert output.value == "mine.gguf"
        output.value = ""
        await until(pilot, lambda: script.wish.output == "" and screen.planned is not None)
        assert output.value == str(MADE)


@pytest.mark.parametrize(
    ("method", "hidden", "shown"),
    [
        ("depth", {"importance", "structure", "imatrix", "text"}, {"criterion", "repair", "tokens"}),
        ("flap", {"criterion", "importance", "imatrix"}, {"structure", "amount", "calibration"}),
        ("llm-pruner", {"criterion", "imatrix"}, {"importance", "structure"}),
        ("quantize", {"amount", "criterion", "repair", "calibration", "tokens"}, {"imatrix", "type"}),
    ],
)
async def test_only_the_fields_of_the_method_are_shown(
    bench: AppBench, script: Script, method: str, hidden: set[str], shown: set[str]
) -> None:
    app = make(bench, script)
    async with app.run_test(size=SMALL) as pilot:
        screen = await planned(pilot, app)
        screen.query_one("#method", Select).value = method
        await settle(pilot)
        displayed = {name: bool(screen.query_one(f"#field-{name}").display) for name in hidden | shown}
        assert displayed == dict.fromkeys(hidden, False) | dict.fromkeys(shown, True)
        await until(pilot, lambda: (script.wish.method or "quantize") == method)
        if method == "quantize":
            assert (script.wish.file_type, script.wish.calibration) == ("Q4_K_M", None)


async def test_the_form_is_filled_by_keys_alone(bench: AppBench, script: Script) -> None:
    app = make(bench, script, "")
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press(*"dense", "enter", "tab", "down", "down", "enter")
        await until(pilot, lambda: bool(script.jobs) and script.wish.method is Method.FLAP)
        assert script.wish.model == "dense"


async def test_a_plan_that_cannot_be_says_why_and_starts_nothing(bench: AppBench, script: Script) -> None:
    script.refusal = RequestFailed("a ratio of 0.99 would remove 6 of 6 blocks", "remove 1 to 5 blocks")
    app = make(bench, script)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await until(pilot, lambda: "remove 1 to 5 blocks" in text_of(app, "plan"))
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert script.count(PruneJob) == 0
        script.refusal = None
        screen_of(app).query_one("#amount", Input).value = "0.2"
        await planned(pilot, app)
        assert not screen_of(app).query_one("#workshop-plan").has_class("error")


async def test_the_work_ends_in_a_comparison_and_the_new_model_is_known(
    bench: AppBench, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    app = make(bench, script)
    monkeypatch.setattr(app, "models_changed", lambda: told.append(True))
    async with app.run_test(size=LARGE) as pilot:
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
    async with app.run_test(size=SMALL) as pilot:
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
    async with app.run_test(size=SMALL) as pilot:
        screen = await planned(pilot, app)
        bench.options["hold"] = True
        await pilot.press("f2")
        await settle(pilot)
        app.open_engine()
        await until(pilot, lambda: app.room.is_ready)
        await pilot.press(*"hello", "enter")
        await settle(pilot)
        await pilot.press("f6")
        await until(pilot, lambda: app.screen is screen)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, AskScreen))
        await pilot.press("y")
        await until(pilot, lambda: screen.phase is Phase.DONE)
        assert app.room.pair is None


async def test_space_pauses_and_goes_on(bench: AppBench, script: Script) -> None:
    script.making = script.making[:2]
    app = make(bench, script)
    async with app.run_test(size=SMALL) as pilot:
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
    script.making = script.making[:2]
    app = make(bench, script)
    async with app.run_test(size=SMALL) as pilot:
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
        await until(pilot, lambda: screen.phase is Phase.PLANNING and screen.planned is not None)
        assert not screen.form.disabled
        assert script.count(PlanJob) == plans + 1


async def test_an_error_while_working_is_one_line_and_the_form_comes_back(
    bench: AppBench, script: Script
) -> None:
    script.making = [*script.making[:2], RequestFailed("the disk is full.", "free some space")]
    script.exists = False
    app = make(bench, script)
    async with app.run_test(size=SMALL) as pilot:
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
    bench: AppBench, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned: list[tuple[Path, int]] = []
    monkeypatch.setattr(
        "tui.screens.workshop.remove_leftovers", lambda path, pid: cleaned.append((path, pid))
    )
    script.making = [*script.making[:2], WorkerDied("was killed (SIGKILL)")]
    app = make(bench, script)
    async with app.run_test(size=SMALL) as pilot:
        await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(cleaned))
        assert cleaned == [(MADE, 4242)]


async def test_measuring_can_be_left_out_and_done_later(bench: AppBench, script: Script) -> None:
    whole, script.measuring = script.measuring, script.measuring[:2]
    app = make(bench, script)
    async with app.run_test(size=SMALL) as pilot:
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
    async with app.run_test(size=SMALL) as pilot:
        screen = await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: screen.phase is Phase.DONE)
        await pilot.press(key)
        await until(pilot, lambda: app.current_mode == mode and app.room.is_ready)
        opened = [r for worker in bench.workers for r in worker.requests if isinstance(r, OpenPair)]
        assert opened[-1].target == str(MADE.resolve())


async def test_escape_leads_back_to_form_and_plan(bench: AppBench, script: Script) -> None:
    app = make(bench, script)
    async with app.run_test(size=SMALL) as pilot:
        screen = await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: screen.phase is Phase.DONE)
        script.exists = True
        await pilot.press("escape")
        await until(pilot, lambda: screen.phase is Phase.PLANNING and screen.planned is not None)
        assert screen.planned is not None
        assert screen.planned.exists


@pytest.mark.parametrize("by", ["key", "mouse"])
async def test_a_model_is_chosen_among_those_on_disk(
    bench: AppBench, script: Script, tiny_model: Path, tmp_path: Path, by: str
) -> None:
    (tmp_path / "here.gguf").write_bytes(tiny_model.read_bytes())
    app = make(bench, script, "")
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        if by == "key":
            await pilot.press("ctrl+o")
        else:
            await pilot.click("#choose-model")
        await until(pilot, lambda: isinstance(app.screen, ChooseScreen))
        await pilot.press(*"here", "enter")
        await until(pilot, lambda: bool(script.jobs))
        assert script.wish.model == str(tmp_path / "here.gguf")


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_the_plan_looks_as_it_did(
    size: tuple[int, int], bench: AppBench, script: Script, picture: Callable[[EdgespecApp], None]
) -> None:
    app = make(bench, script)
    async with app.run_test(size=size) as pilot:
        await planned(pilot, app)
        await settle(pilot)
        picture(app)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_the_work_looks_as_it_did(
    size: tuple[int, int], bench: AppBench, script: Script, picture: Callable[[EdgespecApp], None]
) -> None:
    script.making = [
        script.making[0],
        Progressed("making a copy in half precision", 0, 1),
        Progressed("reading the calibration text", 8, 8),
        Progressed("comparing windows of blocks", 9, 23),
    ]
    app = make(bench, script)
    async with app.run_test(size=size) as pilot:
        screen = await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: len(screen.query(StageLine)) == 3)
        await settle(pilot)
        picture(app)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_the_comparison_looks_as_it_did(
    size: tuple[int, int], bench: AppBench, script: Script, picture: Callable[[EdgespecApp], None]
) -> None:
    app = make(bench, script)
    async with app.run_test(size=size) as pilot:
        screen = await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: screen.phase is Phase.DONE)
        await settle(pilot)
        picture(app)


def test_markup_and_escapes_of_a_files_name_stay_text() -> None:
    from rich.console import Console

    from tui.workshop.comparison import lines_table

    console = Console(width=60, color_system=None)
    with console.capture() as shown:
        console.print(lines_table([("model", "[red]evil[/] \x1b[2J")]))
    assert shown.get().split() == ["model", "[red]evil[/]", "\\x1b[2J"]


def test_a_quantized_wish_asks_for_its_importance() -> None:
    wish = Wish("dense", None, file_type="IQ2_XS", calibration=OWN_ANSWERS)
    assert wish.quantize_settings() == QuantizeSettings("IQ2_XS")
