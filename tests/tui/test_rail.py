"""The rail and the receipts: they use the room that they have."""

import pytest
from textual.widgets import Static

from edgespec.worker.protocol import PairOpened, TokensArrived
from tests.tui.chat_script import chat_of, send
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.scripted import PAIR
from tests.tui.workshop_script import until
from tui.chat.rail import Rail, describe_pair
from tui.chat.receipt_line import ReceiptLine
from tui.chat.trace import Trace, columns_of
from tui.common.fitting import fitting
from tui.common.plot import Plot

_MEASURED = ("acceptance", "length")
WIDE_LOW = (110, 24)


async def feed(rail: Rail, *speeds: float) -> None:
    """An answer whose speed changes, as the engine tells it every three seconds."""
    n, seconds = 0, 0.0
    for speed in speeds:
        n, seconds = n + 30, seconds + 30 / speed
        rail._feed(TokensArrived((), n, seconds, n, n // 2, n // 2, 12.5, 950 << 20))
        rail._sample()


async def test_before_the_first_figures_the_rail_says_what_is_loaded_and_draws_nothing(
    bench: AppBench,
) -> None:
    async with bench.run(size=LARGE) as (app, pilot):
        rail = chat_of(app).rail
        assert str(rail.query_one("#rail-pair", Static).content).splitlines() == [
            "target-1b",
            "+ draft-100m",
            "speculation auto",
            "4096 tokens of context",
            "12.5 tok/s plain",
        ]
        assert not any(chart.display for chart in rail.query("Plot, Trace"))
        await feed(rail, 20.0)
        await settle(pilot)
        assert all(chart.display for chart in rail.query("Plot, Trace"))


@pytest.mark.parametrize("size", [LARGE, WIDE_LOW], ids=["120x40", "110x24"])
async def test_the_charts_fill_the_rail(bench: AppBench, size: tuple[int, int]) -> None:
    async with bench.run(size=size) as (app, pilot):
        rail = chat_of(app).rail
        await feed(rail, 20.0, 22.0)
        await settle(pilot)
        memory = rail.query_one("#rail-memory", Static)
        assert rail.region.bottom - memory.region.bottom <= 1
        for trace in rail.query(Trace):
            assert trace.size.width == rail.content_size.width
        lowest = [
            rail.query_one(f"#rail-{name}", Trace).render().plain.splitlines()[-1] for name in _MEASURED
        ]
        assert all(" " not in row and len(row) == rail.content_size.width for row in lowest)
        assert rail.query_one(Plot).size.height >= 5


def test_few_values_are_as_wide_as_the_chart_and_of_many_the_newest_are_shown() -> None:
    assert columns_of([1.0, 2.0], 4) == [0.5, 0.5, 1.0, 1.0]
    assert columns_of([1.0, 2.0, 4.0], 2) == [0.5, 1.0]
    assert columns_of([0.5, 0.5], 3, top=1.0) == [0.5, 0.5, 0.5]
    assert columns_of([], 3) == columns_of([1.0], 0) == []
    assert columns_of([0.0], 2) == [0.0, 0.0]


def test_what_a_server_does_not_tell_is_left_out() -> None:
    pair = PairOpened("theirs", None, PAIR.mode, 0, 0.0, 0, server="http://127.0.0.1:9")
    assert describe_pair(pair).splitlines() == ["theirs", "at http://127.0.0.1:9"]


async def test_the_rail_looks_as_it_did(bench: AppBench, picture: Picture) -> None:
    async with bench.run(size=LARGE) as (app, pilot):
        await send(pilot, "hello")
        rail = chat_of(app).rail
        rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await feed(rail, 20.0, 25.0, 18.0, 30.0, 28.0)
        await settle(pilot)
        await picture(pilot)


@pytest.mark.parametrize("how", ["key", "mouse"])
async def test_a_receipt_is_a_row_that_opens_and_folds(bench: AppBench, how: str) -> None:
    async with bench.run(size=SMALL) as (app, pilot):
        await send(pilot, "hello")
        receipt = chat_of(app).query_one(ReceiptLine)
        assert receipt.size.height == 1
        folded = str(receipt.content)
        assert folded.startswith("▸ 41 tokens · 20.0 tok/s · ")
        assert "TTFT" not in folded

        async def toggle() -> None:
            if how == "key":
                receipt.focus()
                await pilot.press("enter")
            else:
                await pilot.click(receipt)
            await settle(pilot)

        await toggle()
        assert "TTFT 0.50 s" in str(receipt.content)
        assert "16 of 20 tokens from draft-100m accepted" in str(receipt.content)
        await toggle()
        assert str(receipt.content) == folded


async def test_a_receipt_shows_more_where_there_is_more_room(bench: AppBench) -> None:
    async with bench.run(size=SMALL) as (app, pilot):
        await send(pilot, "hello")
        receipt = chat_of(app).query_one(ReceiptLine)
        await until(pilot, lambda: receipt.size.width)
        narrow = str(receipt.content)
        await pilot.resize_terminal(250, 30)
        await settle(pilot)
        assert str(receipt.content) == receipt.details.replace("\n", " · ")
        await pilot.resize_terminal(*SMALL)
        await settle(pilot)
        assert str(receipt.content) == narrow


async def test_a_stopped_answer_says_so_in_its_folded_receipt(bench: AppBench) -> None:
    async with bench.run(size=SMALL, hold=True) as (app, pilot):
        await send(pilot, "hello")
        await pilot.press("escape")
        await settle(pilot)
        content = str(chat_of(app).query_one(ReceiptLine).content)
        assert content.startswith("▸ stopped, partial answer kept · 41 tokens")


def test_the_first_figure_is_shown_however_narrow_it_is() -> None:
    assert fitting(["41 tokens", "20.0 tok/s"], 3) == "41 tokens"
    assert fitting(["41 tokens", "20.0 tok/s"], 22) == "41 tokens · 20.0 tok/s"
