"""Tools of MCP servers: shown, asked about, run, and gone on from; servers that fail or are left behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from textual.geometry import Offset
from textual.pilot import Pilot
from textual.widgets import Button, Collapsible, Static

pytest.importorskip("mcp", reason="pip install 'edgespec[mcp]'")

from edgespec.chat.tools import CallDelta, ToolCall
from edgespec.errors import ConfigError, UsageError
from edgespec.paths import mcp_servers_file
from edgespec.session.settings import EngineSettings
from edgespec.worker.protocol import Answer, Answered, AnyEvent
from tests.conftest import REPOSITORY
from tests.scripted_model import make_scripted_model
from tests.tui.chat_files import posix_only
from tests.tui.chat_script import LIMIT_S, chat_of, roles, send, status_of, until
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.scripted import ANSWER, finished_stats, tokens
from tui.app import EdgespecApp
from tui.chat.confirm_call import ConfirmCall
from tui.chat.conversation import Conversation, Message, to_markdown
from tui.chat.screen import ChatScreen
from tui.chat.tab_mark import TabMark
from tui.chat.tool_turn import ToolTurn
from tui.chat.tool_use import DECLINED, STOPPED
from tui.services.launch import Launch
from tui.services.mcp_config import load_servers
from tui.services.tools import ToolServers

SERVER = Path(__file__).with_name("tool_server.py")
SUM = ToolCall("one", "add", '{"a": 19, "b": 23}')
DONE = (tokens(ANSWER, 41), Answered(finished_stats(), 1))


def write_servers(**servers: Mapping[str, Any]) -> None:
    path = mcp_servers_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")


def tiny(*arguments: str) -> dict[str, Any]:
    return {"command": sys.executable, "args": [str(SERVER), *arguments]}


def calling(*calls: ToolCall) -> Sequence[AnyEvent]:
    """An answer that calls tools, its arguments in pieces."""
    deltas = []
    for index, call in enumerate(calls):
        deltas += [CallDelta(index, call.id, call.name), CallDelta(index, arguments=call.arguments[:5])]
        deltas += [CallDelta(index, arguments=call.arguments[5:])]
    said = [replace(tokens((), 5 + place), calls=(delta,)) for place, delta in enumerate(deltas)]
    return [*said, Answered(finished_stats(), 1)]


async def tools_on(pilot: Pilot[int]) -> None:
    app = pilot.app
    assert isinstance(app, EdgespecApp)
    await send(pilot, "/tools on")
    await until(pilot, lambda: "starting" not in status_of(app))


async def asked_about(pilot: Pilot[int]) -> ConfirmCall:
    await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmCall))
    screen = pilot.app.screen
    assert isinstance(screen, ConfirmCall)
    return screen


def results(app: EdgespecApp) -> list[str]:
    [chat] = [screen for screen in app.screen_stack if isinstance(screen, ChatScreen)]
    messages = chat.transcript.conversation.messages
    return [message.content for message in messages if message.role == "tool"]


async def test_tools_are_off_until_they_are_switched_on(bench: AppBench) -> None:
    write_servers(tiny=tiny())
    async with bench.run(says=DONE) as (app, pilot):
        await send(pilot, "hello")
        assert bench.workers[0].requests[-1].toolbox.tools == ()  # type: ignore[union-attr]
        await tools_on(pilot)
        assert "tiny 4" in status_of(app)
        await send(pilot, "hello")
        asked = bench.workers[0].requests[-1]
        assert isinstance(asked, Answer)
        assert [tool.name for tool in asked.toolbox.tools] == ["add", "story", "end", "hang"]
        assert asked.toolbox.tools[0].description == "Adds two numbers."
        await send(pilot, "/tools")
        await until(pilot, lambda: status_of(app) == "tools off")
        assert not app.tools.is_on


async def test_a_call_is_shown_asked_about_run_and_gone_on_from(bench: AppBench) -> None:
    write_servers(tiny=tiny())
    async with bench.run(says=calling(SUM), then=DONE) as (app, pilot):
        await tools_on(pilot)
        await send(pilot, "19 and 23?")
        screen = await asked_about(pilot)
        shown = " ".join(str(one.content) for one in screen.query(Static))
        assert "Run the tool add of tiny?" in shown
        assert '"a": 19' in shown
        assert results(app) == []
        await pilot.press("y")
        await until(pilot, lambda: roles(app) == ["user", "assistant", "tool", "assistant"])
        assert results(app) == ["the sum is 42"]
        turn = chat_of(app).query_one(ToolTurn)
        assert turn.query_one(Collapsible).collapsed
        assert str(turn.query_one(Collapsible).title) == "result · the sum is 42"
        asked = bench.workers[0].requests[-1]
        assert isinstance(asked, Answer)
        assert asked.messages[-2].calls == (SUM,)
        assert (asked.messages[-1].role, asked.messages[-1].call_id) == ("tool", "one")
        store = chat_of(app).pane.store
        [saved] = store.summaries()
        assert store.load(saved.id).messages == chat_of(app).transcript.conversation.messages
        assert "the sum is 42" in to_markdown(store.load(saved.id))
        # The same again, from what was saved.
        chat_of(app).transcript.show(store.load(saved.id))
        await settle(pilot)
        assert str(chat_of(app).query_one(ToolTurn).query_one(Collapsible).title) == "result · the sum is 42"


async def test_no_note_lies_on_the_answers_to_a_question(bench: AppBench, lasting_notes: None) -> None:
    write_servers(tiny=tiny())
    async with bench.run(says=calling(SUM), then=DONE, size=SMALL) as (app, pilot):
        await tools_on(pilot)
        app._disable_notifications = False  # Textual's pilot shows none
        app.notify("a note\nof many\nlines\nthat\nis\nhigher\nthan the\nrow of\nbuttons\nof\nthe\nquestion")
        await send(pilot, "19 and 23?")
        screen = await asked_about(pilot)
        await settle(pilot)
        for button in screen.query(Button):
            at, _ = screen.get_widget_at(*(button.region.offset + Offset(2, 1)))
            assert at is button
        await pilot.press("n")


async def test_a_call_is_asked_about_when_its_tab_is_shown(bench: AppBench) -> None:
    write_servers(tiny=tiny())
    async with bench.run(hold=True) as (app, pilot):
        await tools_on(pilot)
        await send(pilot, "19 and 23?")
        first, worker = chat_of(app).pane, bench.workers[0]
        await pilot.press("alt+t")
        for event in calling(SUM):
            worker.say(event)
        await until(pilot, lambda: first.mark is TabMark.ASKS)
        worker.script(DONE)
        # Who writes there meanwhile agrees to nothing, and has answers.
        await pilot.press("y", "enter")
        await until(pilot, lambda: roles(app) == ["user", "assistant"])
        assert results(app) == []
        await pilot.press("ctrl+pageup")
        await asked_about(pilot)
        await pilot.press("y")
        await until(pilot, lambda: roles(app) == ["user", "assistant", "tool", "assistant"])
        assert results(app) == ["the sum is 42"]


async def test_no_runs_nothing_and_always_is_asked_once_in_a_conversation(bench: AppBench) -> None:
    write_servers(tiny=tiny())
    async with bench.run(says=calling(SUM), then=DONE) as (app, pilot):
        await tools_on(pilot)
        await send(pilot, "one")
        await asked_about(pilot)
        await pilot.press("n")
        await until(pilot, lambda: results(app) == [DECLINED])
        for key, n_results in (("a", 2), ("", 3)):
            await until(pilot, lambda: not chat_of(app).transcript.is_answering)
            bench.workers[0].script(calling(SUM), DONE)
            await send(pilot, "again")
            if key:
                await asked_about(pilot)
                await pilot.press(key)
            await until(pilot, lambda n=n_results: len(results(app)) == n)
        assert results(app)[1:] == ["the sum is 42"] * 2
        await until(pilot, lambda: not chat_of(app).transcript.is_answering)
        await send(pilot, "/new")
        bench.workers[0].script(calling(SUM), DONE)
        await send(pilot, "and here?")
        await asked_about(pilot)
        await pilot.press("n")


async def test_a_server_that_dies_costs_its_call_and_says_why(bench: AppBench, lasting_notes: None) -> None:
    write_servers(tiny=tiny())
    async with bench.run(says=calling(ToolCall("x", "end", "{}")), then=DONE) as (app, pilot):
        await tools_on(pilot)
        await send(pilot, "end it")
        await asked_about(pilot)
        await pilot.press("y")
        await until(pilot, lambda: roles(app)[-1] == "assistant" and results(app))
        assert results(app) == ["error: the MCP server tiny has ended: there is no more paper"]
        [note] = app._notifications
        assert note.severity == "error"
        assert "/tools on starts it again" in note.message
        asked = bench.workers[0].requests[-1]
        assert isinstance(asked, Answer)
        assert asked.toolbox.tools == ()
        await tools_on(pilot)
        assert "tiny 4" in status_of(app)


@pytest.mark.parametrize("way", ["escape", "#stop"])
async def test_a_model_that_calls_and_calls_is_stopped_at_a_question(way: str, bench: AppBench) -> None:
    write_servers(tiny=tiny())
    async with bench.run(says=calling(SUM, SUM), then=calling(SUM)) as (app, pilot):
        await tools_on(pilot)
        await send(pilot, "19 and 23?")
        await asked_about(pilot)
        await (pilot.click(way) if way.startswith("#") else pilot.press(way))
        await until(pilot, lambda: not chat_of(app).transcript.is_answering)
        assert results(app) == [STOPPED, STOPPED]
        assert roles(app)[-1] == "tool"
        assert status_of(app) == "stopped"


async def test_escape_ends_a_call_that_hangs(bench: AppBench) -> None:
    write_servers(tiny=tiny())
    async with bench.run(says=calling(ToolCall("x", "hang", "{}"), SUM), then=DONE) as (app, pilot):
        await tools_on(pilot)
        await send(pilot, "hang")
        await asked_about(pilot)
        await pilot.press("y")
        await until(pilot, lambda: "tool hang" in status_of(app) and not isinstance(app.screen, ConfirmCall))
        assert chat_of(app).transcript.is_answering
        await send(pilot, "go on")  # waits, as with any answer
        assert roles(app)[-1] != "user"
        await pilot.press("escape")
        await until(pilot, lambda: roles(app)[-2:] == ["user", "assistant"])
        assert results(app) == [STOPPED, STOPPED]


@pytest.mark.parametrize(
    ("setup", "said"),
    [
        ({"command": "no-such-program"}, "no-such-program cannot be started"),
        ({"command": sys.executable, "args": ["-c", "print('hello')"]}, "the MCP server odd"),
        ({"url": "http://127.0.0.1:9/mcp"}, "the MCP server odd"),
    ],
    ids=["missing", "speaks something else", "nobody listens"],
)
async def test_a_server_that_cannot_be_used_leaves_the_others(
    setup: Mapping[str, Any], said: str, bench: AppBench, lasting_notes: None
) -> None:
    write_servers(odd=setup, tiny=tiny())
    async with bench.run() as (app, pilot):
        await tools_on(pilot)
        assert "tiny 4" in status_of(app)
        [note] = app._notifications
        assert said in note.message
        assert len(note.message.splitlines()) == 2


async def test_what_a_tool_says_can_neither_drive_the_terminal_nor_mark_up(bench: AppBench) -> None:
    evil = "\x1b[2J[bold]not bold[/bold] [@click=app.quit]no[/] [/] \u202e"
    said = Message("tool", evil, call_id="x", tool_name="[b]add")
    async with bench.run() as (app, pilot):
        chat_of(app).transcript.show(Conversation.begin().add(Message("user", "hello")).add(said))
        await settle(pilot)
        chat_of(app).query_one(ToolTurn).query_one(Collapsible).collapsed = False
        await settle(pilot)
        shown = app.export_screenshot().replace("&#160;", " ")
        assert shown.count("[bold]not") == 2
        assert "tool [b]add" in shown
        assert "\x1b" not in shown
        assert "\u202e" not in shown


async def test_without_the_package_it_says_how_it_is_had(
    bench: AppBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_servers(tiny=tiny())
    monkeypatch.setitem(sys.modules, "mcp", None)
    async with bench.run() as (app, pilot):
        await tools_on(pilot)
        assert "pip install 'edgespec[mcp]'" in status_of(app)


async def test_without_servers_it_says_where_they_are_named(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await tools_on(pilot)
        assert "no MCP server is set up" in status_of(app)
        assert not app.tools.is_on


async def test_a_browser_has_no_tools(bench: AppBench, monkeypatch: pytest.MonkeyPatch) -> None:
    write_servers(tiny=tiny())
    async with bench.run() as (app, pilot):
        monkeypatch.setattr("textual.app.App.is_web", True)
        for line in ("/tools on", "/schema x.json"):
            await send(pilot, line)
            assert "not available in a browser" in status_of(app)
        assert not app.tools.is_on


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("{}", "mcpServers"),
        ('{"mcpServers": {"x": {}}}', "either a command or a url"),
        ('{"mcpServers": {"x": {"command": "a", "url": "b"}}}', "either a command or a url"),
        ('{"mcpServers": {"x": {"command": 3}}}', "x.command"),
        ('{"mcpServers": {"x": {"command": "a", "disabled": true}}}', "no server"),
    ],
)
def test_a_damaged_file_is_refused_in_a_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(text)
    with pytest.raises((ConfigError, UsageError)) as failed:
        load_servers(path)
    assert said in failed.value.message
    assert "\n" not in failed.value.message


def test_what_other_clients_have_in_the_file_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    entry = {"type": "stdio", "command": "a", "args": ["b"], "env": {"C": "d"}, "alwaysAllow": []}
    path.write_text(json.dumps({"globalShortcut": "x", "mcpServers": {"one": entry}}))
    setup = load_servers(path)["one"]
    assert (setup.command, setup.args, dict(setup.env)) == ("a", ("b",), {"C": "d"})


async def test_tools_of_one_name_are_told_apart_and_odd_calls_are_results() -> None:
    write_servers(tiny=tiny(), **{"an other": tiny()})
    servers = ToolServers()
    try:
        assert await servers.start() == []
        assert [tool.name for tool in servers.tools][::4] == ["add", "an_other_add"]
        assert await servers.call(ToolCall("", "an_other_add", '{"a": 1, "b": 1}')) == ("the sum is 2", False)
        for call in (ToolCall("", "add", "["), ToolCall("", "add", "[]"), ToolCall("", "none", "{}")):
            _, is_error = await servers.call(call)
            assert is_error
    finally:
        await servers.close()


@posix_only
async def test_a_server_ends_with_the_app_and_with_all_that_it_started(
    bench: AppBench, tmp_path: Path
) -> None:
    write_servers(tiny=tiny(str(tmp_path / "pids")))
    async with bench.run() as (_, pilot):
        await tools_on(pilot)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert all(map(psutil.pid_exists, pids))
    await ended(pids)


@posix_only
async def test_a_server_ends_with_an_app_that_is_killed(tmp_path: Path) -> None:
    write_servers(tiny=tiny(str(tmp_path / "pids")))
    program = (
        "import asyncio\n"
        "from tui.services.tools import ToolServers\n"
        "async def run():\n"
        "    print(await ToolServers().start(), flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(run())\n"
    )
    app = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert app.stdout is not None
    assert await asyncio.to_thread(app.stdout.readline) == b"[]\n"
    server, child = (int(pid) for pid in (tmp_path / "pids").read_text().split())
    os.kill(server, signal.SIGSTOP)  # as one that hangs
    app.kill()
    app.wait()
    app.stdout.close()
    await ended([server, child])


async def ended(pids: Sequence[int]) -> None:
    end_s = time.monotonic() + LIMIT_S
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
        assert time.monotonic() < end_s
        await asyncio.sleep(0.05)


_CALL = ('{"name": "add", "arguments": ', '{"a": 19, ', '"b": 23}', "}")


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (("Let", " me", " see.", "<tool_call>\n", *_CALL, "\n</tool_call>"), "Let me see."),
        (_CALL, ""),
        (("```json\n", *_CALL, "\n```"), ""),
    ],
    ids=["marked", "bare", "fenced"],
)
async def test_a_model_calls_a_tool_and_is_told_what_it_said(
    script: Sequence[str], text: str, tmp_path: Path
) -> None:
    path = make_scripted_model(tmp_path / "caller.gguf", script)
    write_servers(tiny=tiny())
    settings = EngineSettings(n_ctx=2048)  # four tools are told of in 800 tokens of a character each
    app = EdgespecApp(Launch(target=str(path), draft="none", engine=settings, offline=True))
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: app.engine.is_ready)
        [chat] = [screen for screen in app.screen_stack if isinstance(screen, ChatScreen)]
        await tools_on(pilot)
        await send(pilot, "19 and 23?")
        await asked_about(pilot)
        await settle(pilot)
        await pilot.press("y")
        await until(pilot, lambda: results(app) == ["the sum is 42"])
        first = chat.transcript.conversation.messages[1]
        assert first.content == text
        assert [(one.name, json.loads(one.arguments)) for one in first.calls] == [("add", {"a": 19, "b": 23})]
        # It knows nothing else to say, and is asked about again.
        await until(pilot, lambda: isinstance(app.screen, ConfirmCall))


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
@pytest.mark.parametrize("is_asked", [True, False], ids=["question", "result"])
async def test_a_call_looks_as_it_did(
    is_asked: bool, size: tuple[int, int], bench: AppBench, picture: Picture
) -> None:
    write_servers(tiny=tiny())
    story = ToolCall("two", "story", '{"lines": 200}')
    async with bench.run(says=calling(SUM, story), then=DONE, size=size) as (app, pilot):
        chat_of(app).rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await tools_on(pilot)
        await send(pilot, "19 and 23?")
        await asked_about(pilot)
        if not is_asked:
            await pilot.press("y")
            await until(pilot, lambda: len(results(app)) == 1)
            await asked_about(pilot)
            await pilot.press("y")
            await until(pilot, lambda: roles(app)[-1] == "assistant" and len(results(app)) == 2)
        await settle(pilot)
        await picture(pilot)
