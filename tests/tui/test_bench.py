"""The bench screen: saved runs, a run under way, and the job itself on tiny models."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
from textual.events import MouseScrollDown
from textual.widgets import DataTable, OptionList, Static
from textual_plot import PlotWidget

from edgespec.bench.store import ResultStore
from edgespec.paths import results_dir
from tests.tui.bench_script import (
    FAST,
    JOB,
    SLOW,
    SWEEP,
    keys_of,
    ready,
    save,
    screen_of,
    scripted,
    shown,
    status_of,
)
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tui.bench.throughput_chart import LogAxis, ThroughputChart
from tui.common.ask import AskScreen
from tui.common.wording import local_time
from tui.services.launch import Launch

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])


pytestmark = pytest.mark.usefixtures("painted_at_once")


async def test_without_runs_the_screen_says_how_to_make_one(bench: AppBench) -> None:
    app = bench.make(Launch(screen="bench"))
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        assert "n to measure one here" in shown(app)


async def test_runs_are_listed_newest_first_and_shown(bench: AppBench) -> None:
    save(SLOW, FAST)
    (results_dir() / "20260104-080000-dddd.json").write_text("{")
    app = bench.make(Launch(screen="bench"))
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        table = app.screen.query_one(DataTable)
        assert [str(table.get_row_at(row)[0]).strip() for row in range(3)] == [
            "20260104-080000-dddd",
            local_time(FAST.started_at),
            local_time(SLOW.started_at),
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
        assert "plain" in shown(app)


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
        assert "* 2026-01-02 03:04" in str(app.screen.query_one(DataTable).get_row_at(1)[0])
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
        assert "n to measure one here" in shown(app)


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
