"""The models screen, key by key, on scripted workers."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.widgets import DataTable, Input, Static

from edgespec.catalog.sources import hub_cache
from edgespec.worker.jobs.pull import PullJob
from edgespec.worker.protocol import (
    OpenPair,
    PairOpened,
    RunJob,
)
from tests.conftest import Outcome
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.models_script import (
    MIB,
    downloads_of,
    facts_of,
    half_way,
    highlight,
    leave_partial,
    make,
    opened_or_fetched,
    quiet,
    screen_of,
    status_of,
    table_of,
)
from tests.tui.scripted import PAIR
from tui.common.ask import AskScreen
from tui.models.screen import ModelsScreen

pytestmark = pytest.mark.usefixtures("short_catalog")


async def test_every_model_has_a_row_with_what_matters(
    bench: AppBench, small_is_here: Path, own_files: list[Path]
) -> None:
    leave_partial("medium", 9 * MIB)
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        rows = {row[1]: row[3:] for row in table_of(app)}
        assert rows == {
            "small": ["~123", "edgespec", "fits", "apache-2.0"],
            "broken.gguf": ["", "this folder", "?", ""],
            "pruned.gguf": ["", "this folder", "fits", ""],
            "medium": ["~10.0", "1% arrived", "fits", "mit"],
            "large": ["", "no", "too large", "llama3.1 (gated)"],
        }
        assert status_of(app) == "3 of 5 on disk · 4.0 GiB of memory free · Enter chats with one"


async def test_an_empty_disk_names_the_next_key(bench: AppBench) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        assert "0 of 3 on disk" in status_of(app)
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


@pytest.mark.parametrize("is_there", [True, False], ids=["is damaged", "goes"])
async def test_a_file_that_is_listed_and_then_cannot_be_read_is_told_of(
    is_there: bool, bench: AppBench, own_files: list[Path]
) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        pruned = next(file for file in own_files if file.name == "pruned.gguf")
        pruned.unlink()
        if is_there:
            pruned.write_bytes(b"GGUF no more")
        await highlight(pilot, "pruned.gguf")
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
        assert status_of(app) == "medium is not on disk yet: p fetches it"
        assert opened_or_fetched(bench) == []


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
        assert [type(request) for request in opened_or_fetched(bench)] == [OpenPair]


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


async def test_the_filter_narrows_by_names_and_escape_shows_all_again(bench: AppBench) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await pilot.press("slash", *"M")
        await quiet(pilot)
        # The description of `large` has the words too large, its licence an m.
        assert [row[1] for row in table_of(app)] == ["small", "medium"]
        await pilot.press(*"zzz")
        await quiet(pilot)
        assert "No model matches the filter" in facts_of(app)
        await pilot.press("escape")
        await quiet(pilot)
        assert len(table_of(app)) == 3
        assert isinstance(app.focused, DataTable)


async def test_letters_after_enter_in_the_filter_are_still_a_name_and_down_goes_to_the_table(
    bench: AppBench, small_is_here: Path
) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await pilot.press("slash", *"med", "enter", *"ium")
        await quiet(pilot)
        assert isinstance(app.focused, Input)
        assert app.focused.value == "medium"
        assert status_of(app) == "Down goes to the table, where keys act on the model"
        assert opened_or_fetched(bench) == []
        await pilot.press("down", "c")
        await quiet(pilot)
        assert status_of(app) == "medium is not on disk yet: p fetches it"


async def test_speeds_are_predicted_once_for_each_model_and_said_in_the_details(
    bench: AppBench, small_is_here: Path, tiny_draft: Path
) -> None:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await highlight(pilot, "small")
        assert "speed: ~123 tok/s without drafting, predicted for this machine" in facts_of(app)
        shutil.copy(tiny_draft, "fresh.gguf")
        app.models_changed()
        await quiet(pilot)
        asked = [r.job.specs for worker in bench.workers for r in worker.requests if isinstance(r, RunJob)]
        assert asked == [("small", "medium", "large"), (str(Path("fresh.gguf").resolve()),)]


async def test_no_speed_is_predicted_while_the_engine_works(bench: AppBench, small_is_here: Path) -> None:
    async with bench.run(hold=True) as (_, pilot):
        await pilot.press(*"hello", "enter")
        await settle(pilot)
        await pilot.press("f5")
        await quiet(pilot)
        assert not [r for worker in bench.workers for r in worker.requests if isinstance(r, RunJob)]


async def test_a_prediction_makes_room_for_an_engine_that_is_loaded(
    bench: AppBench, small_is_here: Path
) -> None:
    app = make(bench, job=lambda _request: ())
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        (predicting,) = bench.workers
        assert not predicting.closed
        await highlight(pilot, "small")
        await pilot.press("c")
        await settle(pilot)
        assert predicting.closed


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
        assert opened_or_fetched(bench) == []


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
            assert {row[1]: row[4] for row in table_of(app)}["small"] == "no"


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
        assert all(worker.closed for worker in bench.workers)
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
        for words in ("edgespec", "fits", "too large", "apache-2.0"):
            assert words in shown
