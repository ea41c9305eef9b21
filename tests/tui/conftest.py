"""The app on a screen of a fixed size, with scripted workers, and pictures of it to compare with."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

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
    """Pictures are in colour, wherever the tests run; what the app writes beside itself goes to the test's folder."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setattr("textual.widgets.Input.cursor_blink", False)
    monkeypatch.setattr("tui.chat.rail._REFRESH_S", 3600.0)
    monkeypatch.chdir(tmp_path)
    for name in ("VISUAL", "EDITOR"):
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
def store(tmp_path: Path) -> ChatStore:
    """In a folder of the test's own."""
    return ChatStore(tmp_path / "chats")


async def settle(pilot: Pilot[int]) -> None:
    """Until every message is handled and every worker that can end has ended."""
    for _ in range(4):
        await pilot.pause()
