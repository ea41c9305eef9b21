"""Fetches on the models screen: how far they are, paused, thrown away, failed, side by side."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from textual.widgets import ProgressBar, Static

from edgespec.catalog.resolve import ResolvedModel
from edgespec.worker.jobs.pull import PullJob
from edgespec.worker.protocol import (
    JobFinished,
    Progressed,
    RequestFailed,
    RunJob,
    Stop,
    WorkerDied,
)
from tests.tui.conftest import LARGE, AppBench, settle
from tests.tui.models_script import (
    CATALOG,
    MIB,
    downloads_of,
    facts_of,
    fetch_medium,
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
from tui.common.ask import AskScreen
from tui.models.download import Download
from tui.models.rows import ModelRow

pytestmark = pytest.mark.usefixtures("short_catalog")


async def test_a_fetch_shows_how_far_it_is_and_ends_in_the_table(bench: AppBench, tiny_model: Path) -> None:
    app = make(bench, job=half_way)
    async with app.run_test(size=LARGE) as pilot:
        await fetch_medium(pilot)
        screen = screen_of(app)
        assert screen.query_one("#downloads").display
        assert screen.query_one(ProgressBar).percentage == 0.5
        text = str(screen.query_one("#downloads-text", Static).content)
        assert text == "450.0 MiB of 900.0 MiB · fetching medium from the hub"
        assert "fetching 50%" in [row[4] for row in table_of(app)]
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
        assert status_of(app) == "paused medium: 9.0 MiB kept; Space resumes, x discards"
        assert partial.exists()
        assert "1% arrived" in [row[4] for row in table_of(app)]
        await pilot.press("space")
        await quiet(pilot)
        assert len(downloads_of(bench)) == 2
        assert "fetching 50%" in [row[4] for row in table_of(app)]


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
        assert status_of(app) == "cancelled medium; the partial download was deleted"


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
        assert opened_or_fetched(bench) == []
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
        assert status_of(app) == "the fetch of medium was killed (SIGKILL); p resumes it"


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
