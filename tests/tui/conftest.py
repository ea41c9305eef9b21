"""The app on a screen of a fixed size, with scripted workers, and pictures of it to compare with."""

import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from edgespec.paths import models_dir
from tests.tui.pictures import AppSnapshot, still_picture
from tests.tui.scripted import ScriptedWorker
from tests.tui.served import serve
from tui.app import EdgespecApp
from tui.chat.store import ChatStore
from tui.services.launch import Launch
from tui.services.settings import AppSettings

__all__ = ["serve"]

SMALL, LARGE = (80, 24), (120, 40)


Picture = Callable[[Pilot[int]], Awaitable[None]]


@pytest.fixture
def picture(snapshot: SnapshotAssertion) -> Picture:
    """Compares what is on the screen with the stored picture of this test; `--snapshot-update` stores it."""
    stored = snapshot.use_extension(AppSnapshot)

    async def compare(pilot: Pilot[int]) -> None:
        assert await still_picture(pilot) == stored

    return compare


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Pictures are in colour, wherever the tests run; what the app writes beside itself goes to the test's folder.

    Nobody's clipboard is filled.
    """
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    if hasattr(time, "tzset"):
        time.tzset()
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setattr("textual.widgets.Input.cursor_blink", False)
    monkeypatch.setattr("tui.chat.rail._REFRESH_S", 3600.0)
    monkeypatch.chdir(tmp_path)
    for name in ("VISUAL", "EDITOR", "DISPLAY", "WAYLAND_DISPLAY", "TMUX", "STY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def lasting_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an app notifies of can be read afterwards, however long the test takes."""
    monkeypatch.setattr("textual.notifications.Notification.has_expired", False)


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

    @asynccontextmanager
    async def run(
        self,
        launch: Launch | None = None,
        settings: AppSettings | None = None,
        *,
        size: tuple[int, int] = LARGE,
        **options: Any,
    ) -> AsyncIterator[tuple[EdgespecApp, Pilot[int]]]:
        """An app as `make` makes it, on a screen of that size, when it has come to rest."""
        app = self.make(launch, settings, **options)
        async with app.run_test(size=size) as pilot:
            await settle(pilot)
            yield app, pilot

    def _make_worker(self) -> ScriptedWorker:
        self.workers.append(ScriptedWorker(**self.options))
        return self.workers[-1]


@pytest.fixture
def bench() -> AppBench:
    """Makes apps."""
    return AppBench()


@pytest.fixture
def painted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmarks' screen shows every figure that comes."""
    monkeypatch.setattr("tui.bench.screen.BenchScreen.PAINT_S", 0.0)


@pytest.fixture
def store(tmp_path: Path) -> ChatStore:
    """In a folder of the test's own."""
    return ChatStore(tmp_path / "chats")


@pytest.fixture
def short_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short catalogue, on a machine with 4 GiB free."""
    from tests.tui import models_script

    monkeypatch.setattr("tui.models.rows.load_catalog", lambda: models_script.CATALOG)
    monkeypatch.setattr("tui.models.rows.available_memory_bytes", lambda: models_script.FREE_BYTES)


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


async def settle(pilot: Pilot[int]) -> None:
    """Until every message is handled and every worker that can end has ended."""
    for _ in range(4):
        await pilot.pause()
