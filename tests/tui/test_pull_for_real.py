"""Fetching through a real worker process from a hub on loopback: pause, go on, cancel, a kill, a refusal."""

import hashlib
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from edgespec.catalog.sources import hub_cache
from edgespec.worker.process import WorkerProcess
from tests.catalog.hub_server import COMMIT, Hub, serve
from tests.tui.conftest import LARGE
from tests.tui.models_script import screen_of, status_of
from tui.app import EdgespecApp
from tui.services.launch import Launch

MIB = 1 << 20
KEY = "owner/name/model.gguf"


@pytest.fixture
def content(tiny_model: Path) -> bytes:
    """A model that loads, with 8 MiB behind it that nobody reads."""
    return tiny_model.read_bytes() + random.Random(7).randbytes(8 * MIB)


@pytest.fixture
def hub(content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(files={KEY: content})
    server = serve(hub)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    (tmp_path / "models.toml").write_text(
        f'[models.m]\nrepo = "owner/name"\nfile = "model.gguf"\nrevision = "{COMMIT}"\n'
        f'size_bytes = {len(content)}\nsha256 = "{hashlib.sha256(content).hexdigest()}"\n'
    )
    monkeypatch.setenv("EDGESPEC_CONFIG", str(tmp_path / "models.toml"))
    yield hub
    hub.go_on.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def workers() -> list[WorkerProcess]:
    """The processes of the test's app."""
    return []


@pytest.fixture
def app(hub: Hub, workers: list[WorkerProcess]) -> EdgespecApp:
    """On the models screen."""

    def make() -> WorkerProcess:
        workers.append(WorkerProcess())
        return workers[-1]

    return EdgespecApp(Launch(screen="models"), make_worker=make)


def state_of(app: EdgespecApp) -> str:
    table = screen_of(app).table
    row = next((row for row in table.ordered_rows if row.key.value == "m"), None)
    return "" if row is None else str(table.get_cell(row.key, "here"))


def partials() -> list[Path]:
    return list(hub_cache.cache_dir().rglob("*.incomplete"))


def blobs() -> list[Path]:
    return [path for path in hub_cache.cache_dir().rglob("blobs/*") if path not in partials()]


def is_stalled() -> bool:
    """Whether all has arrived that comes before the stall."""
    return [path.stat().st_size for path in partials()] == [3 * MIB]


async def until(pilot: Pilot[int], is_so: Callable[[], bool]) -> None:
    for _ in range(1500):
        await pilot.pause(0.02)
        if is_so():
            return
    raise AssertionError(status_of(pilot.app))  # type: ignore[arg-type]


async def begin(pilot: Pilot[int], app: EdgespecApp) -> None:
    """Starts the fetch of `m`."""
    await until(pilot, lambda: state_of(app) == "no")
    table = screen_of(app).table
    table.move_cursor(row=[row.key.value for row in table.ordered_rows].index("m"))
    await pilot.press("p")


async def test_a_fetch_is_paused_goes_on_from_there_and_the_model_is_here(
    hub: Hub, app: EdgespecApp, content: bytes
) -> None:
    hub.stall_after = [3 * MIB + 1000]
    async with app.run_test(size=LARGE) as pilot:
        await begin(pilot, app)
        await until(pilot, is_stalled)
        assert state_of(app).startswith("fetching")
        await pilot.press("space")
        await until(pilot, lambda: status_of(app).startswith("paused m: 3.0 MiB kept"))
        await until(pilot, lambda: state_of(app) == "36% arrived")
        assert blobs() == []
        await pilot.press("space")
        await until(pilot, lambda: status_of(app) == "fetched m: Enter chats with it")
        await until(pilot, lambda: state_of(app) == "hub")
    assert hub.downloads() == ["", f"bytes={3 * MIB}-"]
    (blob,) = blobs()
    assert blob.read_bytes() == content
    assert partials() == []


async def test_a_cancelled_fetch_leaves_nothing(hub: Hub, app: EdgespecApp) -> None:
    hub.stall_after = [3 * MIB]
    async with app.run_test(size=LARGE) as pilot:
        await begin(pilot, app)
        await until(pilot, is_stalled)
        await pilot.press("x")
        await until(pilot, lambda: status_of(app).startswith("cancelled m"))
        await until(pilot, lambda: state_of(app) == "no")
    assert partials() == blobs() == []


async def test_a_killed_fetch_leaves_nothing_under_the_final_name_and_goes_on(
    hub: Hub, app: EdgespecApp, workers: list[WorkerProcess], content: bytes
) -> None:
    hub.stall_after = [3 * MIB]
    async with app.run_test(size=LARGE) as pilot:
        await begin(pilot, app)
        await until(pilot, is_stalled)
        fetching = workers[-1].pid  # an earlier one predicts speeds
        assert fetching is not None
        os.kill(fetching, signal.SIGKILL)
        await until(pilot, lambda: "was killed (SIGKILL" in status_of(app))
        await until(pilot, lambda: state_of(app) == "36% arrived")
        assert blobs() == []
        await pilot.press("p")
        await until(pilot, lambda: status_of(app) == "fetched m: Enter chats with it")
    assert hub.downloads() == ["", f"bytes={3 * MIB}-"]
    assert [path.read_bytes() for path in blobs()] == [content]


async def test_leaving_the_app_keeps_what_arrived(
    hub: Hub, app: EdgespecApp, workers: list[WorkerProcess]
) -> None:
    hub.stall_after = [3 * MIB]
    async with app.run_test(size=LARGE) as pilot:
        await begin(pilot, app)
        await until(pilot, is_stalled)
    assert [path.stat().st_size for path in partials()] == [3 * MIB]
    assert blobs() == []


async def test_a_gated_model_says_what_to_do(hub: Hub, app: EdgespecApp) -> None:
    hub.gated.add("owner/name")
    async with app.run_test(size=LARGE) as pilot:
        await begin(pilot, app)
        await until(pilot, lambda: "owner/name is gated" in status_of(app))
        assert "hf auth login" in status_of(app)
        assert screen_of(app).query_one("#models-status").has_class("error")


async def test_offline_fetches_nothing(hub: Hub) -> None:
    app = EdgespecApp(Launch(screen="models", offline=True))
    async with app.run_test(size=LARGE) as pilot:
        await begin(pilot, app)
        await until(pilot, lambda: "offline mode forbids fetching it" in status_of(app))
    assert hub.requests == []
