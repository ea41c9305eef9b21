"""Help, log and settings over a screen."""

from pathlib import Path

import pytest
from textual.widgets import DataTable, Input, Log, Select, Static

from edgespec.errors import ConfigError
from edgespec.paths import app_settings_file
from edgespec.ranges import MOST_THREADS
from edgespec.worker.protocol import Logged, OpenPair
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tui.app import EdgespecApp
from tui.chat.screen import ChatScreen
from tui.chat.slash import SLASH_COMMANDS
from tui.common.help import HelpScreen
from tui.common.logs import LogScreen
from tui.common.settings_screen import SettingsScreen
from tui.services.settings import AppSettings, load_settings, save_settings

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])


async def test_help_lists_every_key_and_command(bench: AppBench) -> None:
    async with bench.run(settings=AppSettings(keys={"chat.tint": "alt+t"})) as (app, pilot):
        await pilot.press("f1")
        await settle(pilot)
        keys = app.screen.query_one("#keys", DataTable)
        rows = {
            str(keys.get_row_at(place)[2]): str(keys.get_row_at(place)[0]) for place in range(keys.row_count)
        }
        wanted = {binding.id for binding in (*ChatScreen.BINDINGS, *EdgespecApp.BINDINGS)}  # type: ignore[union-attr]
        assert wanted <= set(rows)
        assert rows["chat.tint"] == "alt+t"
        assert app.screen.query_one("#commands", DataTable).row_count == len(SLASH_COMMANDS)
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(app.screen, ChatScreen)


async def test_the_log_shows_what_came_and_what_comes_and_saves_it(bench: AppBench, tmp_path: Path) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press("f8")
        await settle(pilot)
        log = app.screen.query_one(Log)
        assert next(iter(log.lines)).startswith("llama_model_loader")
        bench.workers[0].say(Logged("evil \x1b[31m line"))
        await pilot.pause(0.8)
        assert "evil \\x1b[31m line" in list(log.lines)
        await pilot.press("s")
        await settle(pilot)
        assert "evil" in (tmp_path / "edgespec-engine.log").read_text()


async def test_settings_are_taken_kept_and_used_by_the_next_engine(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press("f7")
        await settle(pilot)
        app.screen.query_one("#ctx_size", Input).value = "2048"
        app.screen.query_one("#threads", Input).value = "3"
        app.screen.query_one("#kv_type_v", Select).value = "q8_0"
        app.screen.query_one("#theme", Select).value = "nord"
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert isinstance(app.screen, ChatScreen)
        assert app.theme == "nord"
        assert load_settings() == AppSettings(theme="nord", ctx_size=2048, threads=3, kv_type_v="q8_0")
        await pilot.press("ctrl+f5")
        await settle(pilot)
        opened = bench.workers[1].requests[0]
        assert isinstance(opened, OpenPair)
        assert (opened.settings.n_ctx, opened.settings.n_threads) == (2048, 3)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("threads", "-1", "Threads is '-1'"),
        (
            "threads",
            "99999",
            f"Threads 99999 is out of range; use 1 to {MOST_THREADS}, or 0 for the physical cores",
        ),
        ("ctx_size", "8", "Context 8 is out of range; use 64 or more tokens, or 0"),
        ("ctx_size", "9" * 5000, "Context is '999"),
        ("max_tokens", "0", "Longest answer 0 is out of range; use 1 or more tokens"),
        ("gpu_layers", "many", "many"),
    ],
)
async def test_a_wrong_setting_is_named_and_nothing_is_kept(
    field: str, value: str, said: str, bench: AppBench
) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press("f7")
        await settle(pilot)
        app.screen.query_one(f"#{field}", Input).value = value
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert isinstance(app.screen, SettingsScreen)
        assert said in str(app.screen.query_one("#settings-note", Static).content)
        assert not app_settings_file().exists()


def test_comments_and_unknown_keys_of_the_file_survive() -> None:
    path = app_settings_file()
    path.parent.mkdir(parents=True)
    path.write_text('# mine\nfuture = 1\nthreads = 2\n\n[keys]\n"chat.mode" = "f3"\n')
    settings = load_settings()
    assert settings.threads == 2
    assert settings.keys == {"chat.mode": "f3"}
    save_settings(settings)
    text = path.read_text()
    assert "# mine" in text
    assert "future = 1" in text
    assert load_settings() == settings


def test_a_file_that_begins_with_a_byte_order_mark_is_read_and_written() -> None:
    path = app_settings_file()
    path.parent.mkdir(parents=True)
    path.write_text("threads = 2\n", encoding="utf-8-sig")
    settings = load_settings()
    assert settings.threads == 2
    save_settings(settings)
    assert load_settings() == settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("threads = 'two'", "threads is 'two', not a whole number"),
        ("threads =", "is not valid TOML"),
        ("kv_type_k = 'q9_9'", "q9_9"),
        ("max_tokens = -5", "max_tokens -5 is out of range"),
        ("max_tokens = 0", "max_tokens 0 is out of range"),
        ("ctx_size = -1", "ctx_size -1 is out of range"),
        ("ctx_size = 8589934592", "ctx_size 8589934592 is out of range"),
        ("threads = -2", "threads -2 is out of range"),
        ("gpu_layers = '-3'", "gpu_layers '-3' is not a number of layers"),
    ],
)
def test_a_damaged_file_is_one_line_that_names_it(text: str, said: str) -> None:
    path = app_settings_file()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert caught.value.message.startswith(str(path))
    assert said in caught.value.message


@SIZES
@pytest.mark.parametrize("key", ["f1", "f7", "f8", "ctrl+p"], ids=["help", "settings", "log", "palette"])
async def test_a_dialog_looks_as_it_did(
    key: str,
    size: tuple[int, int],
    bench: AppBench,
    picture: Picture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tui.common.help.app_settings_file", lambda: Path("~/.config/edgespec/app.toml"))
    monkeypatch.setattr(
        "tui.common.settings_screen.app_settings_file", lambda: Path("~/.config/edgespec/app.toml")
    )
    async with bench.run(size=size) as (app, pilot):
        app.screen.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await pilot.press(key)
        await settle(pilot)
        assert key == "ctrl+p" or isinstance(app.screen, HelpScreen | SettingsScreen | LogScreen)
        await picture(pilot)
