"""The worker process for real, on tiny models: what it answers, how it is stopped, and how it ends."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from textual.pilot import Pilot
from textual.widgets import Static, TextArea

from edgespec.decode.chat_template import ChatMessage
from edgespec.decode.policy import Mode
from edgespec.errors import EdgespecError
from edgespec.session.settings import EngineSettings
from tests.tui.conftest import LARGE
from tui.app import EdgespecApp
from tui.engine.process import WorkerProcess
from tui.engine.protocol import (
    Answer,
    Answered,
    AnyEvent,
    ChangeDraft,
    ChangeMode,
    JobFinished,
    JobReported,
    Link,
    OpenPair,
    PairOpened,
    Pause,
    RaceAdvanced,
    RequestFailed,
    Resume,
    RunJob,
    RunRace,
    Stop,
    TokensArrived,
    WorkerDied,
)
from tui.launch import Launch
from tui.screens.chat import ChatScreen
from tui.settings import AppSettings
from tui.widgets.turn import AnswerTurn

LIMIT_S = 60.0
SETTINGS = EngineSettings(n_ctx=1024, n_threads=1)
LONG = EngineSettings(n_ctx=16384, n_threads=1)
QUESTION = (ChatMessage("user", "once upon a time"),)
posix_only = pytest.mark.skipif(os.name != "posix", reason="signals of another process are POSIX")


class Talk:
    """A worker, and what it has said."""

    def __init__(self) -> None:
        self.worker = WorkerProcess()
        self.said: list[AnyEvent] = []
        self._new = asyncio.Event()
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for event in self.worker.events():
            self.said.append(event)
            self._new.set()

    async def until(self, *kinds: type) -> AnyEvent:
        """The next event of these kinds."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                while self.said:
                    event = self.said.pop(0)
                    if isinstance(event, kinds):
                        return event
                self._new.clear()
                await self._new.wait()

    async def close(self) -> None:
        await self.worker.close()
        with suppress(asyncio.CancelledError):
            await self._task


@pytest.fixture
async def talk() -> "asyncio.AsyncGenerator[Talk, None]":  # type: ignore[name-defined]
    one = Talk()
    yield one
    await one.close()


async def open_pair(talk: Talk, target: Path, draft: str) -> PairOpened:
    talk.worker.send(OpenPair(str(target), draft, SETTINGS, offline=True))
    opened = await talk.until(PairOpened, RequestFailed)
    assert isinstance(opened, PairOpened), opened
    return opened


async def test_a_pair_opens_answers_and_says_what_it_cost(
    talk: Talk, tiny_model: Path, tiny_draft: Path
) -> None:
    opened = await open_pair(talk, tiny_model, str(tiny_draft))
    assert (opened.target, opened.draft, opened.mode, opened.n_ctx) == ("tiny", "tiny-draft", Mode.AUTO, 1024)
    assert opened.vanilla_tok_per_s > 0
    assert opened.memory_bytes > 0
    talk.worker.send(Answer(QUESTION, 24))
    text = ""
    while not isinstance(event := await talk.until(TokensArrived, Answered), Answered):
        assert isinstance(event, TokensArrived)
        text += event.text
    assert event.stats.predicted_n == 24
    assert event.stats.stopped == "length"
    assert text


async def test_modes_and_drafts_change_while_the_target_stays(
    talk: Talk, tiny_model: Path, tiny_draft: Path
) -> None:
    await open_pair(talk, tiny_model, "none")
    talk.worker.send(ChangeMode(Mode.NGRAM))
    changed = await talk.until(PairOpened)
    assert isinstance(changed, PairOpened)
    assert (changed.mode, changed.draft) == (Mode.NGRAM, None)
    talk.worker.send(ChangeDraft(str(tiny_draft)))
    changed = await talk.until(PairOpened)
    assert isinstance(changed, PairOpened)
    assert (changed.mode, changed.draft) == (Mode.AUTO, "tiny-draft")
    talk.worker.send(ChangeMode(Mode.MODEL))
    talk.worker.send(Answer(QUESTION, 40))
    answered = await talk.until(Answered)
    assert isinstance(answered, Answered)
    assert "tiny-draft" in answered.stats.why
    talk.worker.send(ChangeDraft("none"))
    changed = await talk.until(PairOpened)
    while isinstance(changed, PairOpened) and changed.draft is not None:
        changed = await talk.until(PairOpened)
    talk.worker.send(Answer(QUESTION, 8))
    answered = await talk.until(Answered)
    assert isinstance(answered, Answered)
    assert answered.stats.predicted_n == 8


async def test_a_stop_keeps_what_came_and_the_next_answer_works(talk: Talk, tiny_model: Path) -> None:
    await open_pair(talk, tiny_model, "none")
    talk.worker.send(Answer(QUESTION, 900))
    await talk.until(TokensArrived)
    talk.worker.send(Stop())
    stopped = await talk.until(Answered, RequestFailed)
    assert isinstance(stopped, Answered)
    assert stopped.stats.stopped == "interrupted"
    assert 0 < stopped.stats.predicted_n < 900
    talk.worker.send(Answer(QUESTION, 8))
    again = await talk.until(Answered, RequestFailed)
    assert isinstance(again, Answered)
    assert again.stats.stopped == "length"


async def test_a_stop_that_comes_too_late_does_no_harm(talk: Talk, tiny_model: Path) -> None:
    await open_pair(talk, tiny_model, "none")
    for _ in range(5):
        talk.worker.send(Stop())
    talk.worker.send(Answer(QUESTION, 8))
    answered = await talk.until(Answered, RequestFailed)
    assert isinstance(answered, Answered)


async def test_what_cannot_be_done_is_said_and_the_worker_lives(talk: Talk, tiny_model: Path) -> None:
    talk.worker.send(Answer(QUESTION, 8))
    failed = await talk.until(RequestFailed)
    assert isinstance(failed, RequestFailed)
    assert "no model is loaded" in failed.message
    talk.worker.send(OpenPair("no-such-model", "auto", SETTINGS, offline=True))
    failed = await talk.until(RequestFailed)
    assert isinstance(failed, RequestFailed)
    assert "no-such-model" in failed.message
    await open_pair(talk, tiny_model, "none")
    talk.worker.send(Answer((ChatMessage("user", "a " * 4000),), 8))
    failed = await talk.until(RequestFailed)
    assert isinstance(failed, RequestFailed)
    assert "context" in failed.message
    talk.worker.send(Answer(QUESTION, 8))
    assert isinstance(await talk.until(Answered), Answered)


async def test_a_race_runs_all_arms_from_empty_caches(talk: Talk, tiny_model: Path, tiny_draft: Path) -> None:
    await open_pair(talk, tiny_model, str(tiny_draft))
    modes = (Mode.OFF, Mode.MODEL, Mode.AUTO)
    talk.worker.send(RunRace("once upon a time", modes, 16))
    advanced: list[RaceAdvanced] = []
    while not advanced or not advanced[-1].is_last:
        event = await talk.until(RaceAdvanced, RequestFailed)
        assert isinstance(event, RaceAdvanced), event
        advanced.append(event)
    assert [one.arm for one in advanced] == ["vanilla", "tiny-draft", "auto"]
    texts = {arm.name: arm.samples[0].tokens for arm in advanced[-1].result.arms}
    assert texts["vanilla"] == texts["tiny-draft"] == texts["auto"]
    assert all(one.stats.prompt_evaluated_n == one.stats.prompt_n for one in advanced)
    talk.worker.send(RunRace("once upon a time", modes, 16, advanced[-1].result))
    while not isinstance(event, RaceAdvanced) or not event.is_last or event is advanced[-1]:
        event = await talk.until(RaceAdvanced)
    assert {len(arm.samples) for arm in event.result.arms} == {2}


@dataclass(frozen=True)
class NoisyJob:
    """Prints where native code prints."""

    def run(self, link: Link) -> object:
        os.write(1, b"native noise on fd 1\n" * 50)
        print("python noise")
        link.send(JobReported("between"))
        os.write(1, b"\x00\xff more")
        return sorted(name for name in sys.modules if name.partition(".")[0] in ("textual", "textual_plot"))


@dataclass(frozen=True)
class FailingJob:
    """Fails in the way that it is told to."""

    error: Exception

    def run(self, _link: Link) -> object:
        raise self.error


@dataclass(frozen=True)
class EndlessJob:
    """Counts until it is stopped."""

    def run(self, link: Link) -> object:
        count = 0
        while True:
            count += 1
            link.report(f"step {count}", count, 1 << 30)


def run_job(talk: Talk, job: object) -> None:
    # The jobs of this file are importable there under the name that pytest gave it here.
    talk.worker.send(RunJob(job))  # type: ignore[arg-type]


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> Callable[[type], type]:
    """Makes a class of this file importable in the worker."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))

    def name(kind: type) -> type:
        kind.__module__ = Path(__file__).stem
        sys.modules.setdefault(kind.__module__, sys.modules[__name__])
        return kind

    return name


async def test_native_noise_does_no_harm_and_the_worker_knows_no_terminal(
    importable: Callable[[type], type],
) -> None:
    importable(NoisyJob)
    talk = Talk()
    run_job(talk, NoisyJob())
    assert await talk.until(JobReported) == JobReported("between")
    finished = await talk.until(JobFinished, RequestFailed)
    assert isinstance(finished, JobFinished), finished
    await talk.close()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (EdgespecError("the disk is full", "free some"), "the disk is full"),
        (MemoryError(), "ran out of memory"),
        (ZeroDivisionError("oops"), "ZeroDivisionError: oops"),
    ],
)
async def test_a_job_that_fails_says_why(
    error: Exception, said: str, importable: Callable[[type], type]
) -> None:
    importable(FailingJob)
    talk = Talk()
    for _ in range(2):
        run_job(talk, FailingJob(error))
        failed = await talk.until(RequestFailed)
        assert isinstance(failed, RequestFailed)
        assert said in failed.message
        assert not failed.interrupted
    await talk.close()


async def test_a_job_pauses_goes_on_and_stops(importable: Callable[[type], type]) -> None:
    from tui.engine.protocol import Progressed

    importable(EndlessJob)
    talk = Talk()
    run_job(talk, EndlessJob())
    await talk.until(Progressed)
    talk.worker.send(Pause())
    await asyncio.sleep(0.5)
    talk.said.clear()
    await asyncio.sleep(0.5)
    assert not talk.said
    talk.worker.send(Resume())
    await talk.until(Progressed)
    talk.worker.send(Pause())
    talk.worker.send(Stop())
    stopped = await talk.until(RequestFailed)
    assert isinstance(stopped, RequestFailed)
    assert stopped.interrupted
    await talk.close()


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
async def test_closing_ends_the_process(busy: bool, tiny_model: Path) -> None:
    talk = Talk()
    await open_pair(talk, tiny_model, "none")
    if busy:
        talk.worker.send(Answer(QUESTION, 900))
        await talk.until(TokensArrived)
    pid = talk.worker.pid
    assert pid is not None
    await talk.close()
    assert not psutil.pid_exists(pid)
    assert not any(isinstance(event, WorkerDied) for event in talk.said)


# In the app.


def status_of(app: EdgespecApp) -> str:
    return str(app.screen.query_one("#status", Static).content)


async def wait(pilot: Pilot[int], is_there: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not is_there():
            await pilot.pause(0.05)


@posix_only
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT], ids=["killed", "aborted"])
async def test_an_engine_that_dies_in_mid_answer_costs_that_answer_alone(
    number: signal.Signals, tiny_model: Path
) -> None:
    app = EdgespecApp(
        Launch(target=str(tiny_model), draft="none", max_tokens=1500, engine=LONG, offline=True),
        AppSettings(),
    )
    async with app.run_test(size=LARGE) as pilot:
        await wait(pilot, lambda: app.room.is_ready)
        chat = app.screen
        assert isinstance(chat, ChatScreen)
        chat.query_one("#prompt", TextArea).load_text("once upon a time")
        await pilot.press("enter")
        await wait(pilot, lambda: bool(chat.query(AnswerTurn)) and bool(chat.query_one(AnswerTurn).content))
        worker = app.room._worker
        assert isinstance(worker, WorkerProcess) and worker.pid is not None
        os.kill(worker.pid, number)
        await wait(pilot, lambda: "/restart" in status_of(app))
        assert number.name in status_of(app)
        question, answer = chat.conversation.messages
        assert question.content == "once upon a time"
        assert answer.content and answer.stopped
        assert chat.store.load_all()[0].messages == chat.conversation.messages
        chat.query_one("#prompt", TextArea).load_text("/restart")
        await pilot.press("enter")
        await wait(pilot, lambda: app.room.is_ready)
        chat.query_one("#prompt", TextArea).load_text("and then?")
        await pilot.press("enter")
        await wait(pilot, lambda: len(chat.conversation.messages) == 4)
    assert worker.pid is not None and not psutil.pid_exists(worker.pid)
