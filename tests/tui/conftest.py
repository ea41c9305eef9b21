"""The app on a screen of a fixed size, with scripted workers, and pictures of it to compare with."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from textual.pilot import Pilot

from tests.tui.scripted import ScriptedWorker
from tui.app import EdgespecApp
from tui.services.launch import Launch
from tui.services.settings import AppSettings

SMALL, LARGE = (80, 24), (120, 40)
STILL_S, LIMIT_S = 0.8, 20.0


class AppSnapshot(SingleFileSnapshotExtension):
    """An SVG file for each picture; what differs between runs is taken out."""

    file_extension = "svg"
    _write_mode = WriteMode.TEXT

    def serialize(self, data: Any, **_options: Any) -> str:
        return without_numbers(str(data))


Picture = Callable[[Pilot[int]], Awaitable[None]]


@pytest.fixture
def picture(snapshot: SnapshotAssertion) -> Picture:
    """Compares what is on the screen with the stored picture of this test; `--snapshot-update` stores it."""
    stored = snapshot.use_extension(AppSnapshot)

    async def compare(pilot: Pilot[int]) -> None:
        assert await _still_picture(pilot) == stored

    return compare


async def _still_picture(pilot: Pilot[int]) -> str:
    """What is on the screen once nothing has moved for longer than any screen puts off a paint."""
    last, since_s, end_s = "", monotonic(), monotonic() + LIMIT_S
    while monotonic() < min(since_s + STILL_S, end_s):
        await pilot.pause(0.1)
        now = without_numbers(pilot.app.export_screenshot(title="edgespec", simplify=True))
        if now != last:
            last, since_s = now, monotonic()
    return last


def without_numbers(svg: str) -> str:
    """Textual numbers its style classes per run."""
    return re.sub(r"terminal-\d+", "terminal", svg)


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Pictures are in colour, wherever the tests run; what the app writes beside itself goes to the test's folder."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setattr("textual.widgets.Input.cursor_blink", False)
    monkeypatch.setattr("tui.chat.rail._REFRESH_S", 3600.0)
    monkeypatch.chdir(tmp_path)
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)


class AppBench:
    """Makes apps whose workers follow a script, and keeps the workers."""

    def __init__(self) -> None:
        self.workers: list[ScriptedWorker] = []
        self.options: dict[str, Any] = {}

    def make(
        self, launch: Launch | None = None, settings: AppSettings | None = None, **options: Any
    ) -> EdgespecApp:
        """An app; the options are those of its workers."""
        self.options = options
        return EdgespecApp(launch or Launch(), settings or AppSettings(), self._make_worker)

    def _make_worker(self) -> ScriptedWorker:
        self.workers.append(ScriptedWorker(**self.options))
        return self.workers[-1]


@pytest.fixture
def bench() -> AppBench:
    """Makes apps."""
    return AppBench()


async def settle(pilot: Pilot[int]) -> None:
    """Until every message is handled and every worker that can end has ended."""
    for _ in range(4):
        await pilot.pause()
