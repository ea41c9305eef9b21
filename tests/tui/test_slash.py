"""Slash commands of the chat: what they do, and what is said of wrong ones."""

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
from tui.services.launch import Launch


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
