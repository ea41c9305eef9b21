"""The workshop's work for real, in processes, on tiny models; and once on SmolLM2."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from textual.widgets import Input, Select

from edgespec.catalog.metadata import read_metadata
from edgespec.cli.flags import with_flags
from edgespec.errors import EdgespecError, ModelFileError
from edgespec.files import clear_leftovers, find_leftovers
from edgespec.paths import costs_dir, derived_models_dir, made_dir
from edgespec.progress import SILENT, Unit
from edgespec.session.settings import EngineSettings
from edgespec.worker.jobs.expected import LOADING
from edgespec.worker.jobs.measure import Comparison, MeasureJob
from edgespec.worker.jobs.paces import Paces, TimedProgress
from edgespec.worker.jobs.plan import PlanJob, Planned
from edgespec.worker.jobs.request import AmountUnit, WorkshopRequest
from edgespec.worker.jobs.written import Made
from edgespec.worker.process import WorkerProcess
from edgespec.worker.protocol import (
    AnyEvent,
    Job,
    JobFinished,
    JobReported,
    Progressed,
    RequestFailed,
    RunJob,
    Stop,
    WorkerDied,
)
from quant.gguf.recipe import read_recipe
from quant.prune.choices import Criterion, Method
from quant.text.calibration_source import OWN_ANSWERS
from tests.catalog.gguf_files import write_gguf
from tests.conftest import REPOSITORY, Outcome
from tests.recorded_progress import RecordedProgress
from tests.tiny import CHAT_TEMPLATE, TinyShape, make_tiny_model
from tests.tui.workshop_script import until
from tui.app import EdgespecApp
from tui.models.rows import Origin, load_models
from tui.services.launch import Launch
from tui.services.settings import AppSettings
from tui.workshop.result_pane import ResultPane
from tui.workshop.screen import Phase, WorkshopScreen


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = TinyShape(blocks=6, embedding=256, heads=4, kv_heads=2, feed_forward=512)
    return make_tiny_model(
        tmp_path_factory.mktemp("workshop") / "deep.gguf", shape=shape, chat_template=CHAT_TEMPLATE
    )


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "calibration.txt"
    path.write_text("The heron stood in the reeds and waited for the tide to turn in the north. " * 60)
    return path


@pytest.fixture
def asked(deep: Path, text: Path) -> WorkshopRequest:
    return WorkshopRequest(
        str(deep),
        unit=AmountUnit.BLOCKS,
        amount="2",
        calibration=str(text),
        n_tokens="2048",
        output="./out.gguf",
    )


async def follow(worker: WorkerProcess, job: Job) -> AsyncIterator[AnyEvent]:
    """What a process says of a job until it is done."""
    worker.send(RunJob(job))
    async with aclosing(worker.events()) as events:  # type: ignore[type-var]
        async for event in events:
            yield event
            if isinstance(event, JobFinished | RequestFailed | WorkerDied):
                break
    await worker.close()


async def finish(job: Job) -> tuple[Any, list[AnyEvent]]:
    """A job's result, and all that was said on the way."""
    events = [event async for event in follow(WorkerProcess(), job)]
    assert isinstance(events[-1], JobFinished), events[-1]
    return events[-1].result, events


def labels(events: list[AnyEvent]) -> list[str]:
    return list(dict.fromkeys(event.label for event in events if isinstance(event, Progressed)))


def shown_text(pane: ResultPane) -> str:
    """What stands in it, however it is wrapped."""
    console = Console(width=200, color_system=None)
    with console.capture() as shown:
        console.print(pane.content)
    return shown.get()


class RecordingLink:
    """Remembers what a job in the test's own process tells of itself."""

    def __init__(self) -> None:
        self.progress = RecordedProgress()

    def send(self, event: AnyEvent) -> None: ...


class NoLink:
    """For jobs that run in the test's own process."""

    progress = SILENT

    def send(self, event: AnyEvent) -> None: ...


def plan(asked: WorkshopRequest) -> Planned:
    return PlanJob(asked).run(NoLink())


def test_a_model_that_reads_no_text_is_refused_before_it_is_calibrated(tmp_path: Path) -> None:
    encoder = write_gguf(tmp_path / "encoder.gguf", causal=False)
    with pytest.raises(ModelFileError, match="encoder is an encoder"):
        plan(WorkshopRequest(str(encoder), method=None, file_type="Q4_0"))


async def test_what_is_planned_is_made_and_measured(
    asked: WorkshopRequest, deep: Path, tmp_path: Path
) -> None:
    planned, _ = await finish(PlanJob(asked))
    assert isinstance(planned, Planned)
    assert dict(planned.lines)["removes"].startswith("2 of 6 blocks")
    assert not planned.exists
    assert list(tmp_path.iterdir()) == []

    made, events = await finish(planned.job)
    assert isinstance(made, Made)
    expected = [stage.label for stage in planned.stages if not stage.measures]
    assert labels(events) == expected
    assert labels(events)[-2:] == ["repairing blocks", "writing"]
    assert [name for name, _ in made.notes] == ["removed", "held out"]
    assert read_metadata(tmp_path / "out.gguf").block_count == 4

    compared, events = await finish(MeasureJob(made.dense, made.path, EngineSettings()))
    assert isinstance(compared, Comparison)
    assert labels(events) == [
        "quality of the dense model",
        "quality of the new model",
        "timing both, token by token",
    ]
    steps = [event.value for event in events if isinstance(event, JobReported)]
    assert [isinstance(step, Comparison) and step.made.speed for step in steps] == [None, None, None]
    dense, new = compared.dense, compared.made
    assert new.size_bytes == (tmp_path / "out.gguf").stat().st_size < dense.size_bytes
    assert dense.quality and new.quality and dense.quality.distance is None
    assert new.quality.distance and new.quality.distance.kl_mean > 0
    assert dense.speed and new.speed
    assert min(dense.speed.tok_per_s.value, new.speed.tok_per_s.value, new.speed.speedup.value) > 0


async def test_a_plan_knows_the_file_that_is_there_and_the_job_replaces_it_only_when_told(
    asked: WorkshopRequest, tmp_path: Path
) -> None:
    (tmp_path / "out.gguf").write_text("mine")
    planned = plan(asked)
    assert planned.exists
    assert dict(planned.lines)["writes"].startswith("out.gguf, exists")
    events = [event async for event in follow(WorkerProcess(), planned.job)]
    assert isinstance(events[-1], RequestFailed)
    assert (tmp_path / "out.gguf").read_text() == "mine"


async def test_quantizing_with_a_measured_importance(asked: WorkshopRequest) -> None:
    planned = plan(replace(asked, method=None, file_type="IQ2_XS", output=""))
    assert planned.job.destination == made_dir() / "deep-IQ2_XS.gguf"
    made, events = await finish(planned.job)
    assert "measuring the importance" in labels(events)
    assert made.path == planned.job.destination
    recipe = read_recipe(read_metadata(made.path))
    assert recipe is not None
    assert recipe["steps"][0]["importance"] == asked.calibration


async def test_a_stopped_job_leaves_nothing(asked: WorkshopRequest, tmp_path: Path) -> None:
    worker = WorkerProcess()
    last: AnyEvent | None = None
    async for event in follow(worker, plan(asked).job):
        if isinstance(event, Progressed) and not isinstance(last, Progressed):
            worker.send(Stop())
        last = event
    assert last == RequestFailed("stopped", interrupted=True)
    assert list(tmp_path.iterdir()) == []
    assert list(derived_models_dir().iterdir()) == []


async def test_what_a_killed_job_left_can_be_deleted(asked: WorkshopRequest, tmp_path: Path) -> None:
    worker = WorkerProcess()
    job, last = plan(asked).job, None
    async for event in follow(worker, job):
        if isinstance(event, Progressed):
            if event.label != LOADING:
                worker.kill()
        else:
            last = event
    assert isinstance(last, WorkerDied)
    assert [left.path.parent for left in find_leftovers()] == [derived_models_dir()]
    clear_leftovers(job.destination.parent)
    assert find_leftovers() == []
    assert list(derived_models_dir().iterdir()) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "arguments"),
    [
        ({"unit": AmountUnit.SHARE, "amount": "99%"}, ("--ratio", "0.99")),
        ({"amount": "6"}, ("--blocks", "6")),
        ({"unit": AmountUnit.PARAMS, "amount": "many"}, ("--params", "many")),
        ({"unit": AmountUnit.NAMED, "amount": "1-x"}, ("--remove", "1-x")),
        ({"unit": AmountUnit.NAMED, "amount": "4-6"}, ("--remove", "4-6")),
        ({"file_type": "Q4_9"}, ("--blocks", "2", "--quantize", "Q4_9")),
        ({"file_type": "IQ2_XS"}, ("--blocks", "2", "--quantize", "IQ2_XS")),
        ({"model": "nonsense"}, ()),
    ],
    ids=str,
)
def test_a_plan_refuses_in_the_words_of_the_command_line(
    asked: WorkshopRequest,
    deep: Path,
    run_cli: Callable[..., Outcome],
    changes: dict[str, Any],
    arguments: tuple[str, ...],
) -> None:
    with pytest.raises(EdgespecError) as refused:
        plan(replace(asked, **changes))
    said = run_cli("prune", changes.get("model", deep), *arguments, "--dry-run").err
    assert with_flags(refused.value.message).rstrip(".").lower() in said.lower()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": " "}, "no model is chosen"),
        ({"unit": AmountUnit.SHARE, "amount": "a lot"}, "`ratio` 'a lot' is not a share"),
        ({"amount": "two"}, "`n_blocks` 'two' is not a whole number"),
        ({"protect_first": "-1"}, "`protect_first` '-1' is not a whole number"),
        ({"n_tokens": "10"}, "`calibration_tokens` 10 is too few"),
        ({"n_tokens": ""}, "`calibration_tokens` '' is not a whole number"),
        ({"calibration": "absent.txt"}, "absent.txt cannot be read"),
        ({"calibration": ""}, "no text file is named"),
        ({"output": "no/such/folder/out.gguf"}, "there is no folder"),
        ({"method": None}, "no `type` is chosen"),
        ({"method": None, "file_type": "IQ2_XS", "calibration": None}, "needs an importance matrix"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_the_plans_error(
    asked: WorkshopRequest, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(EdgespecError) as refused:
        plan(replace(asked, **changes))
    assert words in refused.value.message


def test_the_model_itself_is_never_written_over(asked: WorkshopRequest, deep: Path) -> None:
    with pytest.raises(EdgespecError, match="is the model itself"):
        plan(replace(asked, output=str(deep)))


@pytest.mark.parametrize("method", [Method.DEPTH, Method.FLAP])
def test_names_are_those_of_the_command_line(
    asked: WorkshopRequest, run_cli: Callable[..., Outcome], tmp_path: Path, method: Method
) -> None:
    planned = plan(replace(asked, method=method, unit=AmountUnit.SHARE, amount="0.2", output=""))
    text = ("--calibration", asked.calibration or "", "--calibration-tokens", "2048")
    done = run_cli("prune", asked.model, "--method", str(method), "--ratio", "0.2", *text)
    assert (done.code, [path.name for path in tmp_path.iterdir()]) == (0, [planned.job.destination.name])


@pytest.mark.parametrize(
    ("output", "folder", "place"),
    [
        ("", "", "{made}/deep-depth-{kept}.gguf"),
        ("small.gguf", "", "{made}/small.gguf"),
        ("small.gguf", "{own}", "{own}/small.gguf"),
        ("{own}/small.gguf", "", "{own}/small.gguf"),
        ("./small.gguf", "{own}", "small.gguf"),
    ],
)
def test_a_name_alone_is_a_file_in_the_folder_of_made_models(
    asked: WorkshopRequest, tmp_path: Path, output: str, folder: str, place: str
) -> None:
    output, folder = output.format(own=tmp_path), folder.format(own=tmp_path)
    planned = plan(replace(asked, output=output, folder=folder))
    kept = planned.job.destination.stem[-2:]
    assert str(planned.job.destination) == place.format(made=made_dir(), own=tmp_path, kept=kept)
    assert dict(planned.lines)["into"].startswith(f"{planned.job.destination.resolve().parent}, ")


def test_a_folder_of_the_settings_that_is_not_there_is_named(asked: WorkshopRequest) -> None:
    with pytest.raises(EdgespecError, match="there is no folder nowhere/models"):
        plan(replace(asked, output="", folder="nowhere/models"))


def test_what_was_made_is_listed_and_can_be_deleted(deep: Path, run_cli: Callable[..., Outcome]) -> None:
    made_dir().mkdir(parents=True)
    made = made_dir() / "deep-small.gguf"
    made.write_bytes(deep.read_bytes())
    [row] = [row for row in load_models(EngineSettings(), Path()).rows if row.name == "deep-small"]
    assert (row.origin, row.path) == (Origin.MADE, made)
    assert str(made) in run_cli("models").out
    assert run_cli("models", "rm", "-y", "deep-small").code == 0
    assert not made.exists()


def test_protected_blocks_reach_the_core(asked: WorkshopRequest) -> None:
    narrow = replace(asked, method=Method.LLM_PRUNER, unit=AmountUnit.SHARE, amount="0.2")
    with pytest.raises(EdgespecError, match="cannot be taken from 0 of 6 blocks"):
        plan(narrow)
    planned = plan(replace(narrow, protect_first="1", protect_last="1"))
    assert "heads and neurons" in dict(planned.lines)["removes"]


async def test_the_whole_way_in_the_app(asked: WorkshopRequest, tmp_path: Path) -> None:
    app = EdgespecApp(Launch(screen="workshop"), AppSettings(), WorkerProcess)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.go("workshop", with_=asked.model)
        await until(pilot, lambda: isinstance(app.screen, WorkshopScreen) and app.screen.plan.planned)
        screen = app.screen
        assert isinstance(screen, WorkshopScreen)
        screen.query_one("#calibration", Select).value = "text"
        await pilot.pause()
        screen.query_one("#text", Input).value = asked.calibration or ""
        screen.query_one("#tokens", Input).value = "2048"
        await pilot.pause()
        await until(pilot, lambda: screen.plan.planned)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: screen.phase is Phase.DONE)
        name = str(screen.query_one("#output", Input).value)
        assert read_metadata(made_dir() / name).block_count == 4
        assert not list(tmp_path.glob("*.gguf"))
        assert str(made_dir() / name) in shown_text(screen.result)
        assert "perplexity" in str(screen.query_one("#workshop-status").render())


@pytest.mark.model
async def test_smollm2_loses_blocks_in_the_workshops_own_job(smollm2: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.md"
    text.write_text("\n".join(path.read_text() for path in sorted((REPOSITORY / "docs").glob("*.md"))))
    asked = WorkshopRequest(
        str(smollm2),
        unit=AmountUnit.BLOCKS,
        amount="2",
        criterion=Criterion.BLOCK_INFLUENCE,
        calibration=str(text),
        n_tokens="2048",
        output="./small.gguf",
    )
    made, _ = await finish(plan(asked).job)
    meta = read_metadata(tmp_path / "small.gguf")
    assert meta.block_count == 28
    assert dict(made.notes)["removed"].startswith("2 of 30 blocks")
    assert "did not help" not in dict(made.notes)["held out"]


ENDS = {"protect_first": "1", "protect_last": "1"}
"""The published criteria protect more blocks than a small model has."""


@pytest.mark.parametrize(
    "changes",
    [
        {"criterion": Criterion.WINDOW, "repairs": False},
        {"criterion": Criterion.GREEDY, **ENDS},
        {"criterion": Criterion.KL, **ENDS},
        {"criterion": Criterion.ANGULAR, **ENDS},
        {"criterion": Criterion.TAYLOR, **ENDS},
        {"criterion": Criterion.MAGNITUDE, **ENDS},
        {"unit": AmountUnit.NAMED, "amount": "3,4", "repairs": False},
        {"method": Method.FLAP, "unit": AmountUnit.SHARE, "amount": "0.2"},
        {"method": Method.LLM_PRUNER, "unit": AmountUnit.SHARE, "amount": "0.2", **ENDS},
        {"file_type": "Q8_0", "calibration": OWN_ANSWERS, "n_tokens": "1024"},
        {"method": None, "file_type": "Q8_0", "calibration": None},
        {"method": None, "file_type": "Q8_0"},
    ],
    ids=str,
)
def test_the_stages_that_are_expected_are_those_that_come(
    asked: WorkshopRequest, changes: dict[str, Any]
) -> None:
    planned = plan(replace(asked, **changes))
    link = RecordingLink()
    planned.job.run(link)
    came = [label for label, _ in groupby(stage.label for stage in link.progress.stages)]
    assert came == [stage.label for stage in planned.stages if not stage.measures]


def test_what_a_stage_took_is_the_next_plans_pace(asked: WorkshopRequest) -> None:
    first = plan(asked)
    takes = dict(first.lines)["takes"]
    assert takes.startswith("about ")
    assert "a first guess" in takes
    work = {"repairing blocks": 2.0, "writing": 1.0}
    Paces.load().keep({"repairing blocks": 60.0, "writing": 0.01}, work)
    paces = Paces.load()
    assert paces.seconds("repairing blocks", 3.0) == 90.0
    assert (paces.knows("repairing blocks"), paces.knows("writing")) == (True, False)


def test_a_pause_does_not_count_as_work(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("edgespec.worker.jobs.paces.monotonic", lambda: now[0])

    class Paused:
        def stage(
            self, label: str, total: float | None = None, *, done: float = 0, unit: Unit = "steps"
        ) -> None:
            now[0] += 100.0

        def advance(self, amount: float = 1) -> None:
            now[0] += 1000.0

    timed = TimedProgress(Paused())
    timed.stage("one")
    now[0] += 2.0
    timed.advance()
    now[0] += 3.0
    timed.stage("two")
    now[0] += 1.0
    timed.end()
    assert timed.taken_s == {"one": 5.0, "two": 1.0}


@pytest.mark.parametrize(
    "content", ["", "[]", '{"version": 1, "seconds": {"writing": "soon"}}', '{"version": 9}']
)
def test_a_damaged_file_of_paces_is_learnt_anew(asked: WorkshopRequest, content: str) -> None:
    Paces.load().keep({"writing": 60.0}, {"writing": 1.0})
    [file] = costs_dir().glob("workshop.*.json")
    file.write_text(content)
    assert not Paces.load().knows("writing")
    assert dict(plan(asked).lines)["takes"].startswith("about ")
