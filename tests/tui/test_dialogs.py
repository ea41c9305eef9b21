"""Help, log and settings over a screen."""

from pathlib import Path

import pytest
from textual.widgets import DataTable, Input, Log, Select, Static
from textual.widgets._toast import Toast

from edgespec.errors import ConfigError
from edgespec.paths import app_settings_file
from edgespec.ranges import MOST_THREADS
from edgespec.worker.protocol import Logged, OpenPair
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.pictures import screen_lines, still_picture
from tui.app import EdgespecApp
from tui.chat.screen import ChatScreen
from tui.chat.slash import SLASH_COMMANDS
from tui.common.help import TASKS, HelpScreen
from tui.common.logs import LogScreen
from tui.common.settings_screen import SettingsScreen
from tui.common.tick_box import TickBox
from tui.common.wrapped_table import WrappedTable
from tui.services.launch import Launch, ScreenName
from tui.services.settings import AppSettings, load_settings, save_settings

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])


async def test_help_lists_every_key_and_command(bench: AppBench) -> None:
    async with bench.run(settings=AppSettings(keys={"chat.tint": "alt+q"})) as (app, pilot):
        await pilot.press("f1")
        await settle(pilot)
        keys = app.screen.query_one("#keys", DataTable)
        rows = {
            str(keys.get_row_at(place)[2]): str(keys.get_row_at(place)[0]) for place in range(keys.row_count)
        }
        wanted = {binding.id for binding in (*ChatScreen.BINDINGS, *EdgespecApp.BINDINGS)}  # type: ignore[union-attr]
        assert wanted <= set(rows)
        assert rows["chat.tint"] == "alt+q"
        assert app.screen.query_one("#commands", DataTable).row_count == len(SLASH_COMMANDS)
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(app.screen, ChatScreen)


@pytest.mark.parametrize(
    "leads_there",
    [
        *(("f1",), ("f7",), ("f8",), ("f9",), ("f10",), ("ctrl+f10",), ("ctrl+o",)),
        (*"hello", "enter", "ctrl+l"),
        (*"hello", "enter", *"/rename", "enter"),
        ("f4", "n"),
    ],
    ids="-".join,
)
async def test_ctrl_c_leaves_a_dialog_as_escape_does(leads_there: tuple[str, ...], bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        for key in leads_there:
            await pilot.press(key)
            await settle(pilot)
        assert len(app.screen_stack) == 2
        await pilot.press("ctrl+c")
        await settle(pilot)
        assert (len(app.screen_stack), app.is_running) == (1, True)


async def test_ctrl_c_copies_what_is_selected_in_a_dialog(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press("f9", *"draft")
        await settle(pilot)
        await pilot.press("shift+home", "ctrl+c")
        await settle(pilot)
        assert len(app.screen_stack) == 2
        assert app.clipboard == "draft"


@SIZES
async def test_a_notification_hides_no_answer_to_a_command(size: tuple[int, int], bench: AppBench) -> None:
    app = bench.make()
    async with app.run_test(size=size, notifications=True) as pilot:
        await settle(pilot)
        app.notify("one line")
        await settle(pilot)
        toast = app.screen.query_one(Toast)
        assert toast.region.height
        assert toast.region.bottom <= app.screen.query_one("#status").region.y


@SIZES
async def test_help_shows_ids_and_commands_whole(size: tuple[int, int], bench: AppBench) -> None:
    app = bench.make()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("f1")
        await settle(pilot)
        for table in app.screen.query(WrappedTable):
            assert table.virtual_size.width <= table.size.width
        shown = "\n".join(screen_lines(await still_picture(pilot)))
        assert "chat.version_before" in shown


async def test_help_is_in_the_order_of_what_somebody_wants_to_do(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press("f1")
        await settle(pilot)
        keys = app.screen.query_one("#keys", DataTable)
        rows = [keys.get_row_at(place) for place in range(keys.row_count)]
        heads = [str(row[1]) for row in rows if not row[2]]
        wanted = ["Write", "Read", "Conversations", "The model, and how it answers", "Everywhere"]
        assert [head for head in heads if head in wanted] == wanted
        assert heads[-1] == "Everywhere"
        ids = [str(row[2]) for row in rows]
        assert ids[1] == "prompt.send"
        known = {id_ for ids_ in TASKS.values() for id_ in ids_}
        assert known <= set(ids), "a task names a key that is not there"


@pytest.mark.parametrize("screen", ["race", "bench", "models", "workshop"])
async def test_help_of_every_screen_has_its_own_keys_first(screen: ScreenName, bench: AppBench) -> None:
    app = bench.make(Launch(screen=screen))
    async with app.run_test(size=LARGE) as pilot:
        await settle(pilot)
        await pilot.press("f1")
        await settle(pilot)
        keys = app.screen.query_one("#keys", DataTable)
        rows = [keys.get_row_at(place) for place in range(keys.row_count)]
        last = [str(row[1]) for row in rows if not row[2]][-1]
        assert last == "Everywhere"
        assert str(rows[1][2]).startswith(f"{screen}.")


async def test_a_box_that_is_off_is_empty_whatever_the_colours(bench: AppBench) -> None:
    async with bench.run(settings=AppSettings(show_rail=True, tint_drafted=False)) as (app, pilot):
        await pilot.press("f7")
        await settle(pilot)
        lines = screen_lines(await still_picture(pilot))
        rows = {title: next(line for line in lines if title in line) for title in ("Charts", "Tint")}
        assert "X" in rows["Charts"]
        assert "X" not in rows["Tint"]
        app.screen.query_one("#tint_drafted", TickBox).toggle()
        await settle(pilot)
        assert any("Tint" in line and "X" in line for line in screen_lines(await still_picture(pilot)))


async def test_the_log_can_be_narrowed_to_what_is_serious(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        for line in (
            "DEBUG edgespec.session: detail",
            "INFO edgespec.llama.native: loaded",
            "WARNING edgespec.llama.native: slow",
            "  and why it is",
            "ERROR edgespec.llama.native: broken",
        ):
            bench.workers[0].say(Logged(line))
        await settle(pilot)
        await pilot.press("f8")
        await settle(pilot)
        log = app.screen.query_one(Log)
        assert len(list(log.lines)) >= 6
        seen = []
        for _ in range(3):
            await pilot.press("l")
            await settle(pilot)
            seen.append([line.split(":")[0].split(" ")[0] for line in log.lines if line])
        assert seen[1] == ["WARNING", "and", "ERROR"]
        assert seen[2] == ["ERROR"]
        assert "errors alone" in str(app.screen.query_one("#log-title", Static).content)
        bench.workers[0].say(Logged("WARNING edgespec: not shown"))
        bench.workers[0].say(Logged("ERROR edgespec: shown"))
        await pilot.pause(0.8)
        assert [line for line in log.lines if line][-1] == "ERROR edgespec: shown"
        await pilot.press("l")
        await settle(pilot)
        assert "WARNING edgespec: not shown" in list(log.lines)


async def test_a_number_that_is_left_to_edgespec_reads_auto(bench: AppBench) -> None:
    async with bench.run(settings=AppSettings(threads=2)) as (app, pilot):
        await pilot.press("f7")
        await settle(pilot)
        assert app.screen.query_one("#ctx_size", Input).value == "auto"
        app.screen.query_one("#threads", Input).value = "Auto"
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert (app.settings.threads, app.settings.ctx_size) == (0, 0)


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
