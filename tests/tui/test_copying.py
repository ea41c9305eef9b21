"""Copying an answer or a block of it by key, and which way the text goes."""

import os
import stat
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Label

from edgespec.decode.token import DraftSource
from edgespec.paths import copied_file
from edgespec.worker.protocol import Answered, Piece
from tests.tui.chat_files import posix_only
from tests.tui.chat_script import chat_of, send, status_of
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.scripted import finished_stats, tokens
from tui.app import EdgespecApp
from tui.chat.answer_markdown import CodeBlock
from tui.common.clipboard import copy_out

CODE = "def long_line(first_argument, second_argument, third_argument, fourth_argument, fifth_argument):\n    pass"
TEXT = f"Two blocks:\n\n```python\n{CODE}\n```\n\nand\n\n```\nshort\n```\n"
SAYS = (tokens((Piece(TEXT, DraftSource.TARGET),), 30), Answered(finished_stats(), 1))
KNOWN = ("DISPLAY", "WAYLAND_DISPLAY", "TMUX", "STY", "SSH_CONNECTION", "WSL_DISTRO_NAME", "WT_SESSION")


@pytest.fixture(autouse=True)
def bare_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KNOWN, "TERM_PROGRAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def program(folder: Path, name: str, text: str) -> None:
    """Puts a program into a folder that is on the path, and nothing else."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)


async def copied(pilot: Pilot[int], *keys: str) -> EdgespecApp:
    await pilot.press("ctrl+y", *keys, "enter")
    await settle(pilot)
    await pilot.app.workers.wait_for_complete()
    await settle(pilot)
    app = pilot.app
    assert isinstance(app, EdgespecApp)
    return app


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ((), TEXT),
        (("down",), CODE),
        (("down", "down", "down"), "short"),
        (("up",), "short"),
        (("up", "up", "up"), TEXT),
    ],
    ids=["answer", "block", "last block", "block before", "answer before"],
)
async def test_arrows_pick_an_answer_or_a_block(keys: tuple[str, ...], text: str, bench: AppBench) -> None:
    async with bench.run(says=SAYS) as (_, pilot):
        await send(pilot, "one")
        await send(pilot, "two")
        app = await copied(pilot, *keys)
        assert app.clipboard == text
        assert chat_of(app).prompt.has_focus
        assert not app.screen.query(".-picked")


async def test_nothing_is_copied_where_nothing_is_or_where_it_is_left(bench: AppBench) -> None:
    async with bench.run(says=SAYS) as (app, pilot):
        await pilot.press("ctrl+y")
        await settle(pilot)
        assert "no answer to copy" in status_of(app)
        await send(pilot, "one")
        await pilot.press("ctrl+y", "down", "escape")
        await settle(pilot)
        assert app.clipboard == ""
        assert chat_of(app).prompt.has_focus


async def test_a_long_line_scrolls_by_key_and_wheel_and_wraps(bench: AppBench) -> None:
    async with bench.run(size=SMALL, says=SAYS) as (app, pilot):
        await send(pilot, "one")
        block, other = app.screen.query(CodeBlock)
        assert block.show_horizontal_scrollbar
        assert not other.show_horizontal_scrollbar
        await pilot.press("ctrl+y", "down", "right")
        await settle(pilot)
        assert block.scroll_x > 0
        await pilot.press("left", "escape")
        await settle(pilot)
        assert block.scroll_x == 0
        block.scroll_right(animate=False)
        await settle(pilot)
        assert block.scroll_x > 0
        rows = block.query_one(Label).size.height
        await pilot.press("alt+z")
        await settle(pilot)
        assert not block.show_horizontal_scrollbar
        assert block.query_one(Label).size.height > rows
        assert app.settings.wrap_code


def test_the_terminal_is_named_where_it_may_drop_the_text_and_the_text_is_in_a_file() -> None:
    said = copy_out("a text")
    assert not said.is_sure
    assert "OSC 52" in said.said
    assert str(copied_file()) in said.said
    assert copied_file().read_text() == "a text"


@posix_only
def test_the_file_is_its_owners_alone() -> None:
    copy_out("a text")
    assert stat.S_IMODE(copied_file().stat().st_mode) == 0o600


def test_a_terminal_that_is_known_to_take_it_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-kitty")
    assert copy_out("a text").is_sure
    assert not copied_file().exists()


@posix_only
def test_the_systems_own_program_is_used_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin", "wl-copy", f"cat > {tmp_path}/got")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert copy_out("grüße").said == "copied with wl-copy"
    assert (tmp_path / "got").read_text(encoding="utf-8") == "grüße"


@posix_only
def test_a_program_that_fails_leaves_it_to_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin", "wl-copy", "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert "OSC 52" in copy_out("a text").said


async def test_a_selection_goes_the_same_way(bench: AppBench, lasting_notes: None) -> None:
    async with bench.run() as (app, pilot):
        await pilot.press(*"words", "shift+home", "ctrl+c")
        await pilot.app.workers.wait_for_complete()
        await settle(pilot)
        [note] = app._notifications
        assert str(copied_file()) in note.message


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_picking_looks_as_it_did(size: tuple[int, int], bench: AppBench, picture: Picture) -> None:
    async with bench.run(size=size, says=SAYS) as (app, pilot):
        chat_of(app).rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await send(pilot, "Write a long line")
        await pilot.press("ctrl+y", "down")
        await settle(pilot)
        await picture(pilot)
