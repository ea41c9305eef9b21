"""`edgespec chat --web`: for real in a headless Chromium, and what it refuses."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
import click
import pytest
from textual_serve.download_manager import DownloadManager

from edgespec.cli.chat import command as chat_command
from edgespec.cli.chat_web import app_arguments
from edgespec.cli.context import Settings
from edgespec.cli.options import add_global_options
from edgespec.page_origin import address_of, is_own_name
from edgespec.paths import app_settings_file, chats_dir
from tests.cli.processes import listening_addresses
from tests.conftest import Outcome
from tests.tui.browser import CHROMIUM, open_page
from tests.tui.served import LIMIT_S, Served, connect, end_all, read_until, wait_for
from tui.chat.store import ChatStore
from tui.web.visitor import Visitor

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
posix_only = pytest.mark.skipif(os.name != "posix", reason="signals of another process are POSIX")


@needs_browser
@pytest.mark.model
async def test_a_browser_sends_a_prompt_and_reads_the_answer(
    home_with_smollm2: Path, serve: Callable[..., Served], tmp_path: Path
) -> None:
    served = serve("-n", "40")
    assert served.line == f"edgespec: the app is at {served.url}; Ctrl-C ends it\n"
    async with open_page(served.url, tmp_path / "profile") as page:
        await page.until_shown("smollm2-135m", " tokens")
        await page.type("Name three colours.")
        await page.press("Enter", 13, "\r")
        shown = await page.until_shown("Name three colours.", " tokens · ", "▸")
        conversation = ChatStore(chats_dir()).newest()
        assert conversation is not None
        question, answer = conversation.messages
        assert question.content == "Name three colours."
        words = re.findall(r"[A-Za-z]{4,}", answer.content)[:6]
        assert words
        assert all(word in shown for word in words)
        assert await page.colours() > 50
        own = (served.url, served.url.replace("http", "ws", 1), "data:")
        assert all(url.startswith(own) for url in page.requested), page.requested
        download = await page.evaluate("inOwnFolder(`${location.origin}/download/key`)")
        assert download == f"{served.url}download/key"
        assert any("RobotoMono" in url for url in page.requested)
        # Without a graphics card the browser says so.
        assert [one for one in page.complaints if not one.startswith("rendering:")] == []
        processes = served.descendants()
        await page.press("q", 81, modifiers=2)
        await page.until_ended()
    assert end_all(processes) == []
    assert served.process.poll() is None


@needs_browser
async def test_a_phone_shows_the_app_in_its_own_width_and_in_letters_that_can_be_read(
    tiny_model: Path, serve: Callable[..., Served], tmp_path: Path
) -> None:
    served = serve(str(tiny_model), "--draft", "none", "-n", "8")
    async with open_page(served.url, tmp_path / "profile", phone=(390, 844)) as page:
        await page.until_shown("tiny, no draft")
        found = await page.measures()
        assert (found.page_width, found.page_height) == (390, 844)
        assert found.scroll_width <= 390
        assert found.left >= 0
        assert 0.9 * 390 < found.right <= 390
        assert 0.95 * 844 < found.bottom <= 844
        assert found.columns >= 36
        assert found.row_height >= 16
        await page.type("hello")
        await page.until_shown("hello")
        await page.press("Enter", 13, "\r")
        shown = await page.until_shown("tok/s")
        lines = shown.splitlines()
        assert all(len(line) <= found.columns for line in lines)
        assert any("hello" in line for line in lines)
        await page.type("/he")
        await page.until_shown("/help")


@posix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
async def test_nothing_outlives_the_server(
    number: signal.Signals, tiny_model: Path, serve: Callable[..., Served]
) -> None:
    served = serve(str(tiny_model), "--draft", "none")
    async with aiohttp.ClientSession() as session:
        pages = [await connect(session, served) for _ in range(2)]
        for page in pages:
            await read_until(page, "tiny, no draft")
        processes = served.descendants()
        engines = [one for one in processes if "edgespec.worker.server" in one.cmdline()]
        assert len(engines) == 2
        served.process.send_signal(number)
        code = await asyncio.to_thread(served.process.wait, 30)
        assert end_all(processes) == []
    assert code == (-signal.SIGKILL if number is signal.SIGKILL else 0)


@posix_only
async def test_a_visitor_who_leaves_takes_only_their_app_along(
    tiny_model: Path, serve: Callable[..., Served]
) -> None:
    served = serve(str(tiny_model), "--draft", "none")
    async with aiohttp.ClientSession() as session:
        first, second = await connect(session, served), await connect(session, served)
        for page in (first, second):
            await read_until(page, "tiny, no draft")
        await first.close()
        await asyncio.to_thread(wait_for, lambda: len(served.descendants()) == 2)
        await second.send_json(["stdin", "hi"])
        await read_until(second, "hi")


@posix_only
async def test_a_page_is_told_when_its_app_crashed(tiny_model: Path, serve: Callable[..., Served]) -> None:
    served = serve(str(tiny_model), "--draft", "none")
    async with aiohttp.ClientSession() as session:
        page = await connect(session, served)
        await read_until(page, "tiny, no draft")
        processes = served.descendants()
        app = next(one for one in processes if "chat" in one.cmdline())
        app.kill()
        async with asyncio.timeout(LIMIT_S):
            while (await page.receive()).type is aiohttp.WSMsgType.BINARY:
                pass
        assert end_all(processes) == []


class DeafSocket:
    """Of a browser that is gone."""

    async def send_bytes(self, data: bytes) -> None:
        raise ConnectionResetError

    async def send_str(self, data: str) -> None:
        raise ConnectionResetError

    async def close(self) -> bool:
        return False


FLOODING = """
import os, sys, threading
os.write(1, b"__GANGLION__\\n")
def draw():
    while True:
        os.write(1, b"D\\x00\\x00\\x10\\x00" + b"x" * 4096)
threading.Thread(target=draw, daemon=True).start()
while b"quit" not in os.read(0, 1024):
    pass
"""
DEAF = "import os, time; os.write(1, b'__GANGLION__\\n'); time.sleep(300)"


@pytest.mark.parametrize(("program", "code"), [(FLOODING, 0), (DEAF, -9)], ids=["flooding", "deaf"])
async def test_an_app_ends_with_its_visitor_whatever_it_does(
    program: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if code:
        monkeypatch.setattr("tui.web.visitor.QUIT_S", 0.5)
    visitor = Visitor([sys.executable, "-c", program], DeafSocket(), DownloadManager())  # type: ignore[arg-type]
    await visitor.start(80, 24)
    process = visitor._process
    assert process is not None
    await asyncio.sleep(0.5)
    async with asyncio.timeout(LIMIT_S):
        await visitor.stop()
    assert process.returncode == code


async def test_no_other_site_may_drive_the_app(serve: Callable[..., Served]) -> None:
    served = serve()
    own = f"127.0.0.1:{served.port}"
    refused = [
        ({"Origin": "http://evil.example"}, "ws"),
        ({"Origin": "null"}, "ws"),
        # A name of another site that was made to point at this machine.
        ({"Host": "evil.example", "Origin": "http://evil.example"}, "ws"),
        ({"Host": "evil.example"}, ""),
    ]
    async with aiohttp.ClientSession() as session:
        for headers, path in refused:
            async with session.get(f"{served.url}{path}", headers=headers) as answer:
                assert answer.status == 403, headers
        async with session.get(served.url, headers={"Host": own}) as answer:
            assert answer.status == 200
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            page = await answer.text()
        async with session.get(f"{served.url}?fontsize=<script>") as answer:
            assert await answer.text() == page
    assert f'"{served.url.replace("http", "ws", 1)}ws"' in page
    assert "https://" not in page
    assert served.descendants() == []


@pytest.mark.parametrize(
    ("listening", "host", "is_own"),
    [
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "localhost:8000", True),
        ("127.0.0.1", "192.168.0.9:8000", True),
        ("127.0.0.1", "[::1]:8000", True),
        ("box.lan", "box.lan", True),
        ("0.0.0.0", "evil.example", False),
        ("0.0.0.0", "localhost.evil.example:8000", False),
        ("127.0.0.1", "[::1", False),
        ("127.0.0.1", "", False),
    ],
)
def test_only_own_names_are_served(listening: str, host: str, is_own: bool) -> None:
    assert is_own_name(host, listening) is is_own


def test_an_address_is_one_that_a_browser_can_open() -> None:
    assert address_of("127.0.0.1", 8000) == "http://127.0.0.1:8000"
    assert address_of("::1", 80) == "http://[::1]:80"
    assert address_of("0.0.0.0", 8000) == f"http://{socket.gethostname()}:8000"


def test_it_listens_on_this_machine_alone(serve: Callable[..., Served]) -> None:
    served = serve()
    assert listening_addresses(served.process.pid) == {("127.0.0.1", served.port)}


def test_another_host_is_warned_of(serve: Callable[..., Served]) -> None:
    served = serve("--host", "0.0.0.0")
    assert "warning" in served.line
    assert "nothing is encrypted" in served.line


def test_a_port_that_is_taken_is_one_line(run_cli: Callable[..., Outcome]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run_cli("chat", "--web", "--port", str(port))
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        f"edgespec: cannot listen on 127.0.0.1, port {port}: address already in use. "
        "Name another address with --host or --port\n"
    )


def test_a_host_that_is_none_is_one_line(run_cli: Callable[..., Outcome]) -> None:
    result = run_cli("chat", "--web", "--host", "no such host")
    assert result.code == 1
    assert result.err.startswith("edgespec: cannot listen on no such host, port 8000: ")
    assert result.err.count("\n") == 1


def test_without_the_extra_it_says_what_to_install(
    run_cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "textual_serve", None)
    result = run_cli("chat", "--web")
    assert (result.code, result.out) == (2, "")
    pip = f"{sys.executable} -m pip install 'edgespec[web]'"
    assert result.err == f"edgespec: --web needs textual-serve. Install what is missing with {pip}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--port", "8000"), "--host and --port go with --web"),
        (("--web", "--port", "0"), "--port"),
        (("--web", "--top-p", "7"), "top-p"),
        (("--web", "--kv-type", "nonsense"), "nonsense"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_served(
    arguments: tuple[str, ...], said: str, run_cli: Callable[..., Outcome]
) -> None:
    result = run_cli("chat", *arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert result.err.count("\n") == 1


def test_damaged_settings_are_told_before_anything_is_served(run_cli: Callable[..., Outcome]) -> None:
    app_settings_file().parent.mkdir(parents=True)
    app_settings_file().write_text("threads = 'many'\n")
    result = run_cli("chat", "--web", "-c", "512")
    assert result.code == 2
    assert "threads" in result.err


def parse(arguments: list[str]) -> click.Context:
    """As the command line does, with the global flags after the command."""
    add_global_options(chat_command)
    return chat_command.make_context("chat", arguments, obj=Settings())


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["my model.gguf", "--draft", "none", "-n", "5", "--continue"],
        ["--system", "--web", "-t", "2", "-c", "512", "-ngl", "all", "--kv-type", "q8_0"],
        ["--system", 'it\'s "quoted"; rm -rf $HOME\n', "--temperature", "0.7", "--seed", "-3"],
        ["--device", "CUDA0", "--device", "CUDA1", "--tensor-split", "3,1", "--flash-attn", "off"],
        ["-v", "-v", "--offline", "--debug", "-q", "--", "--odd-name.gguf"],
    ],
)
def test_every_other_option_reaches_the_app(arguments: list[str]) -> None:
    asked = parse(["--web", "--port=1234", "--host", "0.0.0.0", *arguments])
    name, *passed = app_arguments(asked)
    got = parse(passed)
    assert name == "chat"
    assert got.obj == asked.obj
    server = {"web": False, "host": None, "port": None}
    assert got.params == {**asked.params, **server}
    assert {one: got.get_parameter_source(one) for one in got.params if one not in server} == {
        one: asked.get_parameter_source(one) for one in asked.params if one not in server
    }


async def test_the_app_that_is_served_was_started_so(tiny_model: Path, serve: Callable[..., Served]) -> None:
    served = serve(str(tiny_model), "--draft", "none", "-c", "512", "--system", "say 'no'")
    async with aiohttp.ClientSession() as session:
        page = await connect(session, served)
        await read_until(page, "512 tokens")
        app = next(one for one in served.descendants() if "chat" in one.cmdline())
        expected = [
            "chat",
            "--offline",
            "--draft=none",
            "--system=say 'no'",
            "--ctx-size=512",
            "--",
            str(tiny_model),
        ]
        assert app.cmdline()[-len(expected) :] == expected
        assert not {"EDITOR", "VISUAL"} & set(app.environ())
