"""Slash commands of the chat: what they do, and what is said of wrong ones."""

import re
from pathlib import Path

import pytest

from edgespec.decode.policy import Mode
from edgespec.worker.jobs.find import FindJob
from edgespec.worker.protocol import (
    ChangeDraft,
    ChangeMode,
    OpenPair,
    RunJob,
)
from tests.tui.chat_script import chat_of, roles, send, status_of
from tests.tui.conftest import AppBench
from tui.chat.slash import SLASH_COMMANDS
from tui.services.launch import Launch

APP_PAGE = Path(__file__).parents[2] / "docs" / "app.md"


@pytest.mark.parametrize("name", SLASH_COMMANDS)
def test_the_page_of_the_app_has_every_command(name: str) -> None:
    rows = [line for line in APP_PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert any(re.search(rf"`/{name}\b", row) for row in rows)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/nonsense", "there is no command /nonsense"),
        ("/regenrate", "did you mean /regenerate?"),
        ("/new now", "/new takes nothing after it"),
        ("/mode sideways", "use off, model, ngram or auto"),
    ],
)
async def test_a_wrong_command_says_what_is_right(line: str, said: str, bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, line)
        assert said in status_of(app)
        assert roles(app) == []


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ("/mode off", ChangeMode(Mode.OFF)),
        ("/draft other-draft", ChangeDraft("other-draft")),
        ("/draft none", ChangeDraft("none")),
    ],
)
async def test_a_command_does_what_the_key_does(line: str, request_: object, bench: AppBench) -> None:
    async with bench.run() as (_, pilot):
        await send(pilot, line)
        assert bench.workers[0].requests[-1] == request_


async def test_another_target_gets_a_new_engine(bench: AppBench) -> None:
    async with bench.run(Launch(draft="old-draft")) as (_, pilot):
        await send(pilot, "/model other")
        assert bench.workers[0].closed
        found, opened = bench.workers[1].requests
        assert found == RunJob(FindJob("other", ("auto",)))
        assert isinstance(opened, OpenPair)
        assert (opened.target, opened.draft) == ("other", "auto")


async def test_a_slash_that_is_none_can_be_asked(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "//help me")
        await send(pilot, "/usr/bin is what?")
        assert [m.content for m in chat_of(app).transcript.conversation.messages if m.role == "user"] == [
            "/help me",
            "/usr/bin is what?",
        ]
