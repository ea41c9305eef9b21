"""A conversation comes back with the model that answered it, where that is on this machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgespec.decode.policy import Mode
from edgespec.paths import chats_dir
from edgespec.worker.protocol import ChangeMode, OpenPair
from tests.tui.chat_files import conversation
from tests.tui.chat_script import chat_of, found, open_list, send, status_of
from tests.tui.conftest import LARGE, AppBench, settle
from tests.tui.scripted import PAIR
from tui.chat.conversation import Conversation, Opened
from tui.chat.model_of_chat import find_file
from tui.chat.store import ChatStore
from tui.services.launch import Launch


@pytest.fixture
def store() -> ChatStore:
    """That of the app."""
    return ChatStore(chats_dir())


def save(store: ChatStore, target: str, opened: Opened | None = None) -> Conversation:
    return store.save(replace(conversation("hello", system="Be brief."), target=target, opened=opened))


def opened_pairs(bench: AppBench) -> list[OpenPair]:
    requests = [request for worker in bench.workers for request in worker.requests]
    return [request for request in requests if isinstance(request, OpenPair)]


async def test_what_answered_is_kept_with_how_it_was_drafted_for(bench: AppBench, store: ChatStore) -> None:
    async with bench.run(Launch(target="some-pair")) as (_, pilot):
        await send(pilot, "/mode off")
        await send(pilot, "hello")
    kept = store.newest()
    assert kept is not None and kept.opened == Opened("some-pair", Mode.OFF)


async def test_a_model_that_is_here_is_loaded_and_drafted_for_as_then(
    bench: AppBench, store: ChatStore, tiny_model: Path
) -> None:
    saved = save(store, "tiny", Opened(str(tiny_model), Mode.NGRAM))
    async with bench.run(Launch(target="target-1b")) as (app, pilot):
        await open_list(pilot)
        await pilot.press("enter")
        await found(pilot)
        await pilot.pause(0.1)
        assert [(one.target, one.mode) for one in opened_pairs(bench)][1:] == [(str(tiny_model), Mode.NGRAM)]
        assert chat_of(app).transcript.conversation == saved
        assert chat_of(app).transcript.conversation.system == "Be brief."


async def test_a_model_that_is_not_here_is_said_and_the_loaded_one_goes_on(
    bench: AppBench, store: ChatStore
) -> None:
    save(store, "gone-1b", Opened("somewhere/gone-1b.gguf", Mode.AUTO))
    async with bench.run() as (app, pilot):
        await open_list(pilot)
        await pilot.press("enter")
        await found(pilot)
        await pilot.pause(0.1)
        assert len(opened_pairs(bench)) == 1
        assert status_of(app).startswith(
            "gone-1b, which answered here, is not on this machine: target-1b goes on"
        )
        await send(pilot, "and now?")
        assert chat_of(app).transcript.conversation.target == "target-1b"


async def test_the_model_that_is_loaded_stays_and_drafts_as_then(bench: AppBench, store: ChatStore) -> None:
    save(store, PAIR.target, Opened(PAIR.target, Mode.OFF))
    async with bench.run() as (_, pilot):
        await open_list(pilot)
        await pilot.press("enter")
        await found(pilot)
        assert len(bench.workers) == 1
        assert bench.workers[0].requests[-1] == ChangeMode(Mode.OFF)


@pytest.mark.parametrize("target", [None, "asked-for"])
async def test_the_newest_comes_back_with_its_model_unless_another_was_asked_for(
    target: str | None, bench: AppBench, store: ChatStore, tiny_model: Path
) -> None:
    save(store, "tiny", Opened(str(tiny_model), Mode.AUTO))
    app = bench.make(Launch(target=target, resume_last=True))
    async with app.run_test(size=LARGE) as pilot:
        await settle(pilot)
        await pilot.pause(0.2)
        assert app.engine.request is not None
        assert app.engine.request.target == (target or str(tiny_model))


def test_a_name_is_looked_for_on_this_machine_alone(tiny_model: Path) -> None:
    assert find_file(str(tiny_model)) == tiny_model
    assert find_file("qwen2.5-coder") is None
    assert find_file(None) is None
    assert find_file("no-such-thing") is None
