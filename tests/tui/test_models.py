"""The models screen, key by key, on scripted workers."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, ProgressBar, Static

from edgespec.catalog.entries import Catalog, ModelEntry, PairEntry, WheelSource
from edgespec.catalog.resolve import ResolvedModel
from edgespec.catalog.sources import hub_cache
from edgespec.paths import models_dir
from edgespec.worker.jobs.pull import PullJob
from edgespec.worker.protocol import (
    AnyEvent,
    JobFinished,
    OpenPair,
    PairOpened,
    Progressed,
    RequestFailed,
    RunJob,
    Stop,
    WorkerDied,
)
from tests.conftest import Outcome
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.scripted import PAIR, ScriptedWorker
from tui.app import EdgespecApp
from tui.common.ask import AskScreen
from tui.models.download import Download
from tui.models.rows import ModelRow
from tui.models.screen import ModelsScreen
from tui.services.launch import Launch

MIB = 1 << 20
FREE_BYTES = 4096 * MIB
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


@pytest.fixture(autouse=True)
def catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short catalogue, on a machine with 4 GiB free."""
    monkeypatch.setattr("tui.models.rows.load_catalog", lambda: CATALOG)
    monkeypatch.setattr("tui.models.rows.available_memory_bytes", lambda: FREE_BYTES)


@pytest.fixture
def small_is_here(tiny_model: Path) -> Path:
    """`small` came through wheels."""
    path = models_dir() / "small" / "small.gguf"
    path.parent.mkdir(parents=True)
    shutil.copy(tiny_model, path)
    return path


@pytest.fixture
def own_files(tiny_draft: Path) -> list[Path]:
    """Two files in the folder that the app is started in: a model, and one that only looks like it."""
    shutil.copy(tiny_draft, "pruned.gguf")
    Path("broken.gguf").write_bytes(b"GGUF no more")
    return [Path("pruned.gguf"), Path("broken.gguf")]


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
    return bench.make(Launch(screen="models"), **options)


def downloads_of(bench: AppBench) -> list[ScriptedWorker]:
    return [worker for worker in bench.workers if any(isinstance(r, RunJob) for r in worker.requests)]


def half_way(request: RunJob) -> Iterable[AnyEvent]:
    job = request.job
    assert isinstance(job, PullJob)
    yield Progressed(f"fetching {job.spec} from the hub", 450 * MIB, 900 * MIB, "bytes")


def leave_partial(name: str, n_bytes: int) -> Path:
    """What a fetch from the hub that broke off leaves."""
    path = hub_cache.repo_folder(f"owner/{name}") / "blobs" / f"abc.{name}.gguf.edgespec.incomplete"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * n_bytes)
    return path


async def test_every_model_has_a_row_with_what_matters(
    bench: AppBench, small_is_here: Path, own_files: list[Path]
) -> None:
    leave_partial("medium", 9 * MIB)
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        rows = {row[1]: row[3:] for row in table_of(app)}
        assert rows == {
            "small": ["wheels", "fits", "apache-2.0"],
            "broken.gguf": ["this folder", "?", ""],
            "pruned.gguf": ["this folder", "fits", ""],
            "medium": ["1% arrived", "fits", "mit"],
            "large": ["no", "too large", "llama3.1 (gated)"],
        }
        assert status_of(app) == "3 of 5 are here · 4.0 GiB of memory free · Enter chats with one"


async def test_an_empty_disk_names_the_next_key(bench: AppBench) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        assert "0 of 3 are here" in status_of(app)
        assert "p fetches the highlighted one" in status_of(app)


async def test_details_tell_catalogue_header_and_drafts_with_reasons(
    bench: AppBench, small_is_here: Path, own_files: list[Path]
) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await highlight(pilot, "small")
        facts = facts_of(app)
        assert "A small model that runs everywhere" in facts
        assert "state: on disk, in edgespec's models folder" in facts
        assert "repository: owner/small" in facts
        assert f"revision: {'ab' * 6}" in facts
        assert f"path: {small_is_here}" in facts
        assert "blocks: 2, width 64" in facts
        await highlight(pilot, "pruned.gguf")
        assert "ok  small" in facts_of(app)
        assert "unreadable  broken.gguf" in facts_of(app)
        await highlight(pilot, "large")
        assert "medium" in facts_of(app)
        assert "same family by catalogue" in facts_of(app)
        await highlight(pilot, "broken.gguf")
        assert "trouble: " in facts_of(app)


async def test_a_file_that_edgespec_made_tells_its_recipe(
    bench: AppBench, tiny_model: Path, run_cli: Callable[..., Outcome]
) -> None:
    assert run_cli("quantize", tiny_model, "--type", "Q8_0", "--pure", "-o", "made.gguf").code == 0
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await highlight(pilot, "made.gguf")
        assert f"made from: {tiny_model.name} by edgespec" in facts_of(app)
        assert "step 1: quantize" in facts_of(app)


@pytest.mark.parametrize(("key", "shown"), [("enter", "chat"), ("c", "chat"), ("r", "race")])
async def test_a_key_loads_the_model_and_goes_there(
    key: str, shown: str, bench: AppBench, small_is_here: Path
) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await highlight(pilot, "small")
        await pilot.press(key)
        await settle(pilot)
        assert app.current_mode == shown
        opened = [r.target for worker in bench.workers for r in worker.requests if isinstance(r, OpenPair)]
        assert set(opened) == {"small"}


async def test_a_model_that_is_not_here_is_not_opened(bench: AppBench) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await highlight(pilot, "medium")
        await pilot.press("c")
        await settle(pilot)
        assert app.current_mode == "models"
        assert status_of(app) == "medium is not here yet: p fetches it"
        assert bench.workers == []


async def test_a_file_that_cannot_be_read_is_not_opened(bench: AppBench, own_files: list[Path]) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await highlight(pilot, "broken.gguf")
        await pilot.press("w")
        await settle(pilot)
        assert app.current_mode == "models"
        assert "broken.gguf" in status_of(app)


async def test_the_loaded_model_is_marked_and_not_loaded_again(
    bench: AppBench, small_is_here: Path, own_files: list[Path]
) -> None:
    app = make(bench, pair=PairOpened("small", "pruned", PAIR.mode, 4096, 12.5, 900 * MIB))
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        app.open_engine("small")
        await quiet(pilot)
        marks = {row[1]: row[0] for row in table_of(app)}
        assert marks["small"] == "●"
        assert marks["pruned.gguf"] == "○"
        await highlight(pilot, "small")
        assert "loaded: as the target" in facts_of(app)
        await pilot.press("enter")
        await settle(pilot)
        assert app.current_mode == "chat"
        assert len(bench.workers) == 1


async def test_an_answer_under_way_is_not_cut_off_by_another_model(
    bench: AppBench, small_is_here: Path, own_files: list[Path]
) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await pilot.press(*"hello", "enter")
        await settle(pilot)
        await pilot.press("f5")
        await quiet(pilot)
        await highlight(pilot, "small")
        await pilot.press("c")
        await settle(pilot)
        assert "an answer is under way" in status_of(app)
        assert app.current_mode == "models"


async def test_the_workshop_gets_the_model(bench: AppBench, own_files: list[Path]) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await highlight(pilot, "pruned.gguf")
        taken: list[str] = []
        app.go = lambda screen, with_: taken.append(f"{screen} {with_}")  # type: ignore[method-assign]
        await pilot.press("w")
        await settle(pilot)
        assert taken == [f"workshop {Path('pruned.gguf').resolve()}"]


async def test_the_filter_narrows_and_escape_shows_all_again(bench: AppBench) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await pilot.press("slash", *"too large")
        await quiet(pilot)
        assert [row[1] for row in table_of(app)] == ["large"]
        await pilot.press(*"zzz")
        await quiet(pilot)
        assert "Nothing fits the filter" in facts_of(app)
        await pilot.press("escape")
        await quiet(pilot)
        assert len(table_of(app)) == 3
        assert isinstance(app.focused, DataTable)


async def test_enter_in_the_filter_goes_into_the_table(bench: AppBench) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await pilot.press("slash", *"medium", "enter")
        await quiet(pilot)
        assert isinstance(app.focused, DataTable)
        assert screen_of(app).query_one("#models-filter", Input).value == "medium"
        assert bench.workers == []


async def test_a_model_of_the_hub_that_has_no_name_here_is_fetched_by_its_place(bench: AppBench) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await pilot.press("slash", *"someone/else:other.gguf", "enter")
        await settle(pilot)
        assert isinstance(app.screen, AskScreen)  # its size is not known
        await pilot.press("y")
        await settle(pilot)
        (worker,) = downloads_of(bench)
        assert worker.requests == [RunJob(PullJob("someone/else:other.gguf"))]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("nonsense-words", "there is no model 'nonsense-words'"),
        ("folder/none.gguf", "folder/none.gguf is not a model of the hub"),
    ],
)
async def test_what_is_not_a_model_of_the_hub_is_said(typed: str, said: str, bench: AppBench) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await pilot.press("slash", *typed, "enter")
        await settle(pilot)
        assert said in status_of(app)
        assert bench.workers == []


async def test_a_fetch_shows_how_far_it_is_and_ends_in_the_table(bench: AppBench, tiny_model: Path) -> None:
    app = make(bench, job=half_way)
    async with app.run_test(size=LARGE) as pilot:
        await fetch_medium(pilot)
        screen = screen_of(app)
        assert screen.query_one("#downloads").display
        assert screen.query_one(ProgressBar).percentage == 0.5
        text = str(screen.query_one("#downloads-text", Static).content)
        assert text == "450.0 MiB of 900.0 MiB · fetching medium from the hub"
        assert "fetching 50%" in [row[3] for row in table_of(app)]
        (worker,) = downloads_of(bench)
        worker.say(JobFinished(ResolvedModel("medium", tiny_model, CATALOG.models["medium"])))
        await quiet(pilot)
        assert not screen.query_one("#downloads").display
        assert status_of(app) == "fetched medium: Enter chats with it"
        assert worker.closed


async def test_pausing_stops_the_fetch_and_keeps_what_arrived(bench: AppBench) -> None:
    app = make(bench, job=half_way)
    async with app.run_test(size=LARGE) as pilot:
        await fetch_medium(pilot)
        (worker,) = downloads_of(bench)
        partial = leave_partial("medium", 9 * MIB)
        worker.send = worker.requests.append  # type: ignore[method-assign]
        await pilot.press("space")
        await settle(pilot)
        assert worker.requests[-1] == Stop()
        worker.say(RequestFailed("stopped", interrupted=True))
        await quiet(pilot)
        assert status_of(app) == "paused medium: 9.0 MiB are kept; Space goes on, x throws them away"
        assert partial.exists()
        assert "1% arrived" in [row[3] for row in table_of(app)]
        await pilot.press("space")
        await quiet(pilot)
        assert len(downloads_of(bench)) == 2
        assert "fetching 50%" in [row[3] for row in table_of(app)]


async def test_cancelling_throws_away_what_arrived(bench: AppBench) -> None:
    app = make(bench, job=half_way)
    async with app.run_test(size=LARGE) as pilot:
        await fetch_medium(pilot)
        (worker,) = downloads_of(bench)
        partial = leave_partial("medium", 9 * MIB)
        worker.send = worker.requests.append  # type: ignore[method-assign]
        await pilot.press("x")
        await settle(pilot)
        assert worker.requests[-1] == Stop()
        worker.say(RequestFailed("stopped", interrupted=True))
        await quiet(pilot)
        assert not partial.exists()
        assert status_of(app) == "ended the fetch of medium; what had arrived was removed"


async def test_what_an_earlier_fetch_left_can_be_thrown_away(bench: AppBench) -> None:
    partial = leave_partial("medium", 9 * MIB)
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await highlight(pilot, "medium")
        await pilot.press("x")
        await quiet(pilot)
        assert not partial.exists()
        assert "9.0 MiB" not in facts_of(app)


async def test_a_fetch_that_hears_no_stop_is_ended(bench: AppBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.models.downloads._PATIENCE_S", 0.05)
    app = make(bench, job=half_way)
    async with app.run_test(size=LARGE) as pilot:
        await fetch_medium(pilot)
        (worker,) = downloads_of(bench)
        worker.send = worker.requests.append  # type: ignore[method-assign]
        await pilot.press("space")
        while not worker.closed:
            await pilot.pause(0.02)
        await quiet(pilot)
        assert "paused medium" in status_of(app)
        assert not screen_of(app).query_one("#downloads").display


async def test_a_large_model_is_fetched_after_a_question_only(bench: AppBench) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await highlight(pilot, "large")
        await pilot.press("p")
        await settle(pilot)
        assert isinstance(app.screen, AskScreen)
        question = str(app.screen.query_one(".dialog-text", Static).content)
        assert question.startswith("Fetch large? 39.1 GiB, licence llama3.1 (gated).")
        assert "too large" in question
        await pilot.press("n")
        await settle(pilot)
        assert bench.workers == []
        await pilot.press("p")
        await settle(pilot)
        await pilot.press("y")
        await settle(pilot)
        assert downloads_of(bench)[0].requests == [RunJob(PullJob("large"))]


async def test_two_fetches_run_side_by_side_and_keys_mean_the_highlighted_one(bench: AppBench) -> None:
    app = make(bench, job=half_way)
    async with app.run_test(size=LARGE) as pilot:
        await fetch_medium(pilot)
        await pilot.press("p")
        await quiet(pilot)
        assert status_of(app) == "medium is being fetched: Space pauses it, x ends it"
        await highlight(pilot, "large")
        await pilot.press("p", "y")
        await quiet(pilot)
        text = str(screen_of(app).query_one("#downloads-text", Static).content)
        assert text.endswith("fetching large from the hub · 1 more")
        first, second = downloads_of(bench)
        await pilot.press("space")
        await settle(pilot)
        assert Stop() in second.requests
        assert Stop() not in first.requests


async def test_what_a_fetch_fails_with_is_one_line(bench: AppBench) -> None:
    app = make(
        bench,
        job=lambda _request: [RequestFailed("owner/medium is gated: \x1b[31mno.", "Accept its licence.")],
    )
    async with app.run_test(size=LARGE) as pilot:
        await fetch_medium(pilot)
        assert status_of(app) == r"owner/medium is gated: \x1b[31mno. Accept its licence."
        assert screen_of(app).query_one("#models-status").has_class("error")


async def test_a_fetch_whose_process_dies_can_go_on(bench: AppBench) -> None:
    app = make(bench, job=lambda _request: [WorkerDied("was killed (SIGKILL)")])
    async with app.run_test(size=LARGE) as pilot:
        await fetch_medium(pilot)
        assert status_of(app) == "the fetch of medium was killed (SIGKILL); p goes on with it"


async def test_keys_of_a_fetch_are_hidden_where_there_is_none(bench: AppBench, small_is_here: Path) -> None:
    app = make(bench, job=half_way)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await highlight(pilot, "small")
        shown = {binding.binding.id for binding in screen_of(app).active_bindings.values()}
        assert "models.pause" not in shown
        assert "models.pull" not in shown
        await highlight(pilot, "medium")
        await pilot.press("p")
        await quiet(pilot)
        shown = {binding.binding.id for binding in screen_of(app).active_bindings.values()}
        assert {"models.pause", "models.cancel"} <= shown


@pytest.mark.parametrize("agrees", [True, False])
async def test_deleting_asks_first(agrees: bool, bench: AppBench, small_is_here: Path) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await highlight(pilot, "small")
        await pilot.press("d")
        while not isinstance(app.screen, AskScreen):
            await pilot.pause(0.02)
        question = str(app.screen.query_one(".dialog-text", Static).content)
        assert str(small_is_here) in question
        await pilot.press("y" if agrees else "escape")
        await settle(pilot)
        while any(worker.group == "delete" for worker in app.workers):
            await pilot.pause(0.02)
        await quiet(pilot)
        assert small_is_here.exists() is not agrees
        if agrees:
            assert status_of(app).startswith("deleted small: ")
            assert {row[1]: row[3] for row in table_of(app)}["small"] == "no"


async def test_a_loaded_model_is_unloaded_before_it_is_deleted(bench: AppBench, small_is_here: Path) -> None:
    app = make(bench, pair=PairOpened("small", None, PAIR.mode, 4096, 12.5, 900 * MIB))
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        app.open_engine("small")
        await quiet(pilot)
        await highlight(pilot, "small")
        await pilot.press("d")
        while not isinstance(app.screen, AskScreen):
            await pilot.pause(0.02)
        assert "It is loaded now" in str(app.screen.query_one(".dialog-text", Static).content)
        await pilot.press("y")
        while small_is_here.exists():
            await pilot.pause(0.02)
        assert bench.workers[0].closed
        assert app.engine.pair is None


async def test_a_file_of_the_users_own_is_never_deleted(bench: AppBench, own_files: list[Path]) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await highlight(pilot, "pruned.gguf")
        await pilot.press("d")
        while "a file of your own" not in status_of(app):
            await pilot.pause(0.02)
        assert isinstance(app.screen, ModelsScreen)
        assert own_files[0].exists()


async def test_new_files_appear_when_models_change(bench: AppBench, tiny_draft: Path) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await highlight(pilot, "medium")
        shutil.copy(tiny_draft, "[red]fresh.gguf")
        app.models_changed()
        await quiet(pilot)
        assert "[red]fresh.gguf" in [row[1] for row in table_of(app)]
        row = screen_of(app).table.row
        assert row is not None and row.name == "medium"


async def test_a_model_that_another_program_fetched_from_the_hub_is_listed(
    bench: AppBench, tiny_model: Path
) -> None:
    folder = hub_cache.repo_folder("someone/else")
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("cd" * 20)
    for commit in ("cd" * 20, "ef" * 20):
        (folder / "snapshots" / commit).mkdir(parents=True)
        shutil.copy(tiny_model, folder / "snapshots" / commit / "other.gguf")
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        models = screen_of(app).table.models
        assert models is not None
        assert {row.spec for row in models.rows if row.is_here} == {
            "someone/else:other.gguf",
            f"someone/else@{'ef' * 20}:other.gguf",
        }


async def test_a_catalogue_with_an_error_is_said_and_the_screen_stays(
    bench: AppBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from edgespec.catalog.toml_file import load_catalog

    (tmp_path / "models.toml").write_text("nonsense = 1\n")
    monkeypatch.setenv("EDGESPEC_CONFIG", str(tmp_path / "models.toml"))
    monkeypatch.setattr("tui.models.rows.load_catalog", load_catalog)
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        assert "nonsense" in status_of(app)


def test_the_rate_is_that_of_the_last_seconds_and_gives_the_time_left() -> None:
    now = SimpleNamespace(s=0.0)
    download = Download(ModelRow("m", "m", None), clock=lambda: now.s)
    assert download.describe() == "asking for m"
    for second in range(31):
        now.s = float(second)
        # It went on from 100 MiB, was slow, and has become fast.
        done = 100 + (second if second < 20 else 20 + (second - 20) * 8)
        download.add(Progressed("fetching m from the hub", done * MIB, 280 * MIB, "bytes"))
    assert download.describe() == (
        "200.0 MiB of 280.0 MiB · 8.0 MiB/s · about 10 s left · fetching m from the hub"
    )
    download.add(Progressed("checking m", 0, 280 * MIB, "bytes"))
    assert download.describe() == "0 B of 280.0 MiB · checking m"


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_the_models_look_as_they_did(
    size: tuple[int, int],
    bench: AppBench,
    own_files: list[Path],
    small_is_here: Path,
    picture: Picture,
) -> None:
    leave_partial("medium", 9 * MIB)
    app = make(bench, pair=PairOpened("pruned", None, PAIR.mode, 4096, 12.5, 900 * MIB), job=half_way)
    async with app.run_test(size=size) as pilot:
        await quiet(pilot)
        app.open_engine("pruned.gguf")
        await highlight(pilot, "medium")
        await pilot.press("p")
        await highlight(pilot, "pruned.gguf")
        await picture(pilot)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_the_question_before_a_large_fetch_looks_as_it_did(
    size: tuple[int, int], bench: AppBench, picture: Picture
) -> None:
    app = make(bench)
    async with app.run_test(size=size) as pilot:
        await quiet(pilot)
        await highlight(pilot, "large")
        await pilot.press("p")
        await settle(pilot)
        await picture(pilot)


async def test_the_mouse_highlights_first_and_then_opens(
    bench: AppBench, small_is_here: Path, own_files: list[Path]
) -> None:
    app = make(bench)
    async with app.run_test(size=SMALL) as pilot:
        await quiet(pilot)
        await pilot.click("#models-table", offset=(5, 3))
        await quiet(pilot)
        row = screen_of(app).table.row
        assert row is not None and row.name == "pruned.gguf"
        assert app.current_mode == "models"
        await pilot.click("#models-table", offset=(5, 3))
        await settle(pilot)
        assert app.current_mode == "chat"


async def test_without_colour_the_words_say_it_all(
    bench: AppBench, small_is_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = make(bench)
    async with app.run_test(size=SMALL) as pilot:
        await quiet(pilot)
        shown = app.export_screenshot(simplify=True).replace("&#160;", " ")
        assert app.no_color
        for words in ("wheels", "fits", "too large", "apache-2.0"):
            assert words in shown
