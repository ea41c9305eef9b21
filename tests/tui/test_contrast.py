"""Every text on every screen can be read in every theme that is shipped: its contrast, as it is painted."""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.geometry import Region
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.widget import Widget

from tests.tui.bench_script import FAST, SLOW, ready, save
from tests.tui.conftest import LARGE, AppBench, settle
from tests.tui.models_script import highlight, make, quiet
from tests.tui.workshop_script import make as make_workshop
from tests.tui.workshop_script import planned, quick_script, workshop
from tui.app import EdgespecApp
from tui.chat.screen import ChatScreen
from tui.common.contrast import ContrastFilter
from tui.services.launch import Launch

LEAST = 4.5
TEXT = re.compile(r"[^\W_]")
Scene = Callable[[AppBench, pytest.MonkeyPatch], AbstractAsyncContextManager[Pilot[int]]]


@asynccontextmanager
async def a_chat(bench: AppBench, _patch: pytest.MonkeyPatch) -> AsyncIterator[Pilot[int]]:
    async with bench.run() as (app, pilot):
        await pilot.press(*"hello", "enter")
        await settle(pilot)
        await pilot.press("ctrl+t")
        screen = app.screen
        assert isinstance(screen, ChatScreen)
        screen.tell("something went wrong", error=True)
        await settle(pilot)
        yield pilot


@asynccontextmanager
async def a_dialog(key: str, bench: AppBench, _patch: pytest.MonkeyPatch) -> AsyncIterator[Pilot[int]]:
    async with bench.run() as (_, pilot):
        await pilot.press(key)
        await settle(pilot)
        yield pilot


@asynccontextmanager
async def models(bench: AppBench, _patch: pytest.MonkeyPatch) -> AsyncIterator[Pilot[int]]:
    app = make(bench)
    async with app.run_test(size=LARGE) as pilot:
        await quiet(pilot)
        await highlight(pilot, "large")
        yield pilot


@asynccontextmanager
async def the_workshop(bench: AppBench, patch: pytest.MonkeyPatch) -> AsyncIterator[Pilot[int]]:
    app = make_workshop(bench, quick_script(patch))
    async with workshop(app, size=LARGE) as pilot:
        await planned(pilot, app)
        yield pilot


@asynccontextmanager
async def runs(bench: AppBench, _patch: pytest.MonkeyPatch) -> AsyncIterator[Pilot[int]]:
    save(SLOW, FAST)
    app = bench.make(Launch(screen="bench"))
    async with app.run_test(size=LARGE) as pilot:
        await ready(pilot)
        yield pilot


@asynccontextmanager
async def a_race(bench: AppBench, _patch: pytest.MonkeyPatch) -> AsyncIterator[Pilot[int]]:
    async with bench.run() as (_, pilot):
        await pilot.press("f3")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        yield pilot


SCENES: dict[str, Scene] = {
    "chat": a_chat,
    "help": lambda bench, patch: a_dialog("f1", bench, patch),
    "settings": lambda bench, patch: a_dialog("f7", bench, patch),
    "log": lambda bench, patch: a_dialog("f8", bench, patch),
    "palette": lambda bench, patch: a_dialog("ctrl+p", bench, patch),
    "models": models,
    "workshop": the_workshop,
    "bench": runs,
    "race": a_race,
}


def luminance(color: ColorTriplet) -> float:
    parts = [part / 255 for part in color]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def ratio(one: ColorTriplet, other: ColorTriplet) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def painted(app: EdgespecApp) -> Iterator[tuple[str, ColorTriplet, ColorTriplet]]:
    """Every text on the screen with its colour and the one behind it; of a dialog, that alone."""
    screen = app.screen
    region = screen.region
    if isinstance(screen, ModalScreen):
        first = screen.query("*").first()
        # The palette's outermost container has no region of its own.
        parts = [widget.region for widget in first.walk_children(Widget) if widget.region]
        region = first.region or Region.from_union(parts)
    for y, strip in enumerate(screen._compositor.render_strips()):
        x = 0
        for text, style, _ in strip:
            place = Region(x, y, max(1, len(text)), 1)
            x += len(text)
            if style is None or not TEXT.search(text) or not region.overlaps(place):
                continue
            assert style.color is not None and style.bgcolor is not None, (text, style)
            colors = style.color.triplet, style.bgcolor.triplet
            assert colors[0] is not None and colors[1] is not None, (text, style)
            yield text, colors[0], colors[1]


def too_pale(app: EdgespecApp) -> list[str]:
    found = []
    for text, color, behind in painted(app):
        if (contrast := ratio(color, behind)) < LEAST:
            found.append(f"{app.theme}: {contrast:.1f} {text.strip()!r} {color.hex} on {behind.hex}")
    return found


@pytest.mark.usefixtures("short_catalog")
@pytest.mark.parametrize("name", SCENES)
async def test_every_text_can_be_read_in_every_theme(
    name: str, bench: AppBench, small_is_here: Path, own_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SCENES[name](bench, monkeypatch) as pilot:
        app = pilot.app
        assert isinstance(app, EdgespecApp)
        pale, n_texts = [], 0
        # The terminal's own colours, which the theme `ansi` leaves as they are, are not ours to judge.
        themes = sorted(set(app.available_themes) - {"ansi-dark", "ansi-light", "textual-ansi"})
        for theme in themes:
            app.theme = theme
            await settle(pilot)
            pale += too_pale(app)
            n_texts += sum(1 for _ in painted(app))
        assert n_texts >= 2 * len(themes) > 20
        assert pale == []


def test_a_frame_keeps_its_colour_and_pale_text_does_not() -> None:
    behind = Color.parse("#202020")
    pale = Style.parse("#404040 on #202020")
    frame, text, clear = ContrastFilter().apply(
        [Segment("──╮", pale), Segment("word", pale), Segment("word", Style.parse("#eeeeee"))], behind
    )
    assert frame.style == pale
    assert clear.style == Style.parse("#eeeeee")
    assert text.style is not None and text.style.color is not None and text.style.color.triplet is not None
    assert LEAST <= ratio(text.style.color.triplet, ColorTriplet(0x20, 0x20, 0x20)) < LEAST + 0.8


@pytest.mark.parametrize("style", [None, Style(bold=True), Style.parse("red")], ids=str)
def test_a_colour_of_which_nothing_is_known_stays(style: Style | None) -> None:
    [segment] = ContrastFilter().apply([Segment("word", style)], Color.parse("#202020"))
    assert segment.style == style
