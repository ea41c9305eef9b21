"""The chat screen for tests: what is written to it, and what it shows."""

import time
from collections.abc import Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from tests.tui.conftest import settle
from tests.tui.pictures import screen_lines, without_numbers
from tests.tui.scripted import ANSWER
from tui.app import EdgespecApp
from tui.chat.screen import ChatScreen

LIMIT_S = 60.0
TEXT = "".join(piece.text for piece in ANSWER)


def chat_of(app: EdgespecApp) -> ChatScreen:
    screen = app.screen
    assert isinstance(screen, ChatScreen)
    return screen


def status_of(app: EdgespecApp) -> str:
    return str(chat_of(app).pane.query_one("#status", Static).content)


def roles(app: EdgespecApp) -> list[str]:
    return [message.role for message in chat_of(app).transcript.conversation.messages]


async def write(pilot: Pilot[int], text: str) -> None:
    """What is not sent."""
    app = pilot.app
    assert isinstance(app, EdgespecApp)
    chat_of(app).prompt.load_text(text)
    await settle(pilot)


async def send(pilot: Pilot[int], text: str) -> None:
    await write(pilot, text)
    await pilot.press("enter")
    await settle(pilot)


async def found(pilot: Pilot[int]) -> None:
    """Until the list of conversations has searched, in a thread, what is typed there."""
    await settle(pilot)
    while any(one.group == "search" and not one.is_finished for one in pilot.app.workers):
        await pilot.pause(0.01)
    await settle(pilot)


async def open_list(pilot: Pilot[int], words: str = "") -> None:
    """The list of conversations, with those that have some words."""
    await pilot.press("ctrl+o")
    await found(pilot)
    await pilot.press(*words)
    await found(pilot)


async def until(pilot: Pilot[int], holds: Callable[[], object]) -> None:
    """Waits for what other processes do."""
    end_s = time.monotonic() + LIMIT_S
    while not holds():
        if time.monotonic() > end_s:
            picture = without_numbers(pilot.app.export_screenshot(simplify=True))
            pytest.fail("\n".join(["it did not come; the screen:", *screen_lines(picture)]))
        await pilot.pause(0.05)
