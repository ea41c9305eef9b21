"""The worker process for real, on tiny models: what it answers, how it is stopped, and how it ends."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from textual.pilot import Pilot
from textual.widgets import Static, TextArea

from edgespec.decode.chat_template import ChatMessage
from edgespec.decode.policy import Mode
from edgespec.errors import EdgespecError
from edgespec.llama.rpc import parse_endpoints
from edgespec.session.settings import EngineSettings
from edgespec.worker.process import WorkerProcess
from edgespec.worker.protocol import (
    Answer,
    Answered,
    AnyEvent,
    ChangeDraft,
    ChangeMode,
    JobFinished,
    JobReported,
    OpenPair,
    PairOpened,
    Pause,
    Progressed,
    RaceAdvanced,
    RequestFailed,
    Resume,
    RunJob,
    RunRace,
    Stop,
    TokensArrived,
    WorkerDied,
)
from tests.rpc_server import server
from tests.tui.conftest import LARGE
from tests.worker.worker_jobs import EndlessJob, FailingJob, FloodingJob, NoisyJob, ParentJob, StubbornJob
from tui.app import EdgespecApp
from tui.chat.screen import ChatScreen
from tui.chat.turn import AnswerTurn
from tui.services.launch import Launch
from tui.services.settings import AppSettings

LIMIT_S = 60.0
SETTINGS = EngineSettings(n_ctx=1024, n_threads=1)
LONG = EngineSettings(n_ctx=16384, n_threads=1)
# Seconds of writing: an answer that a signal sent after its first words finds unfinished.
ENDLESS_TOKENS = 12_000
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
async def talk() -> AsyncIterator[Talk]:
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


async def test_native_noise_does_no_harm_and_the_worker_knows_no_terminal(talk: Talk) -> None:
    talk.worker.send(RunJob(NoisyJob()))
    assert await talk.until(JobReported) == JobReported("between")
    assert await talk.until(JobFinished, RequestFailed) == JobFinished([])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (EdgespecError("the disk is full", "free some"), "the disk is full"),
        (MemoryError(), "ran out of memory"),
        (ZeroDivisionError("oops"), "ZeroDivisionError: oops"),
    ],
)
async def test_a_job_that_fails_says_why(error: Exception, said: str, talk: Talk) -> None:
    for _ in range(2):
        talk.worker.send(RunJob(FailingJob(error)))
        failed = await talk.until(RequestFailed)
        assert isinstance(failed, RequestFailed)
        assert said in failed.message
        assert not failed.interrupted


async def test_a_job_pauses_goes_on_and_stops(talk: Talk) -> None:
    talk.worker.send(RunJob(EndlessJob()))
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
    assert await talk.until(RequestFailed) == RequestFailed("stopped", interrupted=True)


async def test_a_stop_while_python_still_starts_is_heard(talk: Talk) -> None:
    talk.worker.send(RunJob(EndlessJob()))
    talk.worker.send(Stop())
    assert await talk.until(RequestFailed, Progressed) == RequestFailed("stopped", interrupted=True)
    talk.worker.send(RunJob(NoisyJob()))
    assert await talk.until(JobFinished, RequestFailed) == JobFinished([])


async def test_a_stop_ends_the_answer_and_not_what_waits_behind_it(talk: Talk, tiny_model: Path) -> None:
    await open_pair(talk, tiny_model, "none")
    talk.worker.send(Answer(QUESTION, 900))
    await talk.until(TokensArrived)
    talk.worker.send(ChangeMode(Mode.OFF))
    talk.worker.send(Stop())
    stopped = await talk.until(Answered, PairOpened)
    assert isinstance(stopped, Answered)
    assert stopped.stats.stopped == "interrupted"
    changed = await talk.until(PairOpened, RequestFailed)
    assert isinstance(changed, PairOpened)
    assert changed.mode is Mode.OFF


async def test_stops_at_any_time_leave_the_worker_alive(talk: Talk) -> None:
    for turn in range(60):
        talk.worker.send(RunJob(FailingJob(EdgespecError("failed"))))
        for _ in range(turn % 3 + 1):
            await asyncio.sleep(0.0004 * (turn % 7))
            talk.worker.send(Stop())
        failed = await talk.until(RequestFailed, WorkerDied)
        assert isinstance(failed, RequestFailed)
        assert failed.message in ("failed", "stopped")


async def test_files_of_the_folder_it_starts_in_are_not_taken_for_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("random", "tempfile", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong file')\n")
    monkeypatch.chdir(tmp_path)
    talk = Talk()
    talk.worker.send(RunJob(NoisyJob()))
    assert await talk.until(JobFinished, RequestFailed, WorkerDied) == JobFinished([])
    await talk.close()


async def test_a_worker_that_cannot_be_started_says_so() -> None:
    worker = WorkerProcess(["/no/such/program"])
    said = [event async for event in worker.events()]
    assert len(said) == 1
    assert isinstance(said[0], WorkerDied)
    assert "cannot be started" in said[0].cause
    await worker.close()


async def test_one_that_is_closed_while_it_starts_does_not_stay() -> None:
    talk = Talk()
    while talk.worker._starting is None:
        await asyncio.sleep(0)
    assert talk.worker.pid is None
    talk._task.cancel()
    await talk.worker.close()
    assert talk.worker.pid is not None
    assert not psutil.pid_exists(talk.worker.pid)


@pytest.mark.parametrize("job", [StubbornJob(), FloodingJob()], ids=["stubborn", "flooding"])
async def test_closing_ends_a_job_that_hears_nothing(job: StubbornJob | FloodingJob) -> None:
    talk = Talk()
    talk.worker.send(RunJob(job))
    await talk.until(JobReported)
    talk._task.cancel()  # what it says now is read by nobody
    pid = talk.worker.pid
    assert pid is not None
    await asyncio.sleep(0.5)
    async with asyncio.timeout(LIMIT_S):
        await talk.worker.close()
    assert not psutil.pid_exists(pid)


@posix_only
async def test_a_death_is_told_though_a_child_keeps_the_pipes(talk: Talk) -> None:
    talk.worker.send(RunJob(ParentJob()))
    reported = await talk.until(JobReported)
    assert isinstance(reported, JobReported) and isinstance(reported.value, int)
    assert talk.worker.pid is not None
    try:
        os.kill(talk.worker.pid, signal.SIGKILL)
        died = await talk.until(WorkerDied)
        assert isinstance(died, WorkerDied)
        assert "SIGKILL" in died.cause
    finally:
        os.kill(reported.value, signal.SIGKILL)


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


def has_begun(chat: ChatScreen) -> bool:
    """Whether the first words of the first answer have come."""
    return bool(chat.query(AnswerTurn)) and bool(chat.query_one(AnswerTurn).content)


@posix_only
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT], ids=["killed", "aborted"])
async def test_an_engine_that_dies_in_mid_answer_costs_that_answer_alone(
    number: signal.Signals, tiny_model: Path
) -> None:
    app = EdgespecApp(
        Launch(target=str(tiny_model), draft="none", max_tokens=ENDLESS_TOKENS, engine=LONG, offline=True),
        AppSettings(),
    )
    async with app.run_test(size=LARGE) as pilot:
        await wait(pilot, lambda: app.engine.is_ready)
        chat = app.screen
        assert isinstance(chat, ChatScreen)
        chat.query_one("#prompt", TextArea).load_text("once upon a time")
        await pilot.press("enter")
        await wait(pilot, lambda: has_begun(chat))
        worker = app.engine._worker
        assert isinstance(worker, WorkerProcess) and worker.pid is not None
        os.kill(worker.pid, number)
        await wait(pilot, lambda: "/restart" in status_of(app))
        assert number.name in status_of(app)
        question, answer = chat.transcript.conversation.messages
        assert question.content == "once upon a time"
        assert answer.content and answer.stopped
        assert chat.pane.store.load_all()[0].messages == chat.transcript.conversation.messages
        chat.query_one("#prompt", TextArea).load_text("/restart")
        await pilot.press("enter")
        await wait(pilot, lambda: app.engine.is_ready)
        app.launch = replace(app.launch, max_tokens=200)  # this answer is to end by itself
        chat.query_one("#prompt", TextArea).load_text("and then?")
        await pilot.press("enter")
        await wait(pilot, lambda: len(chat.transcript.conversation.messages) == 4)
        last = chat.transcript.conversation.messages[-1]
        assert last.content and last.receipt and not last.stopped
    assert worker.pid is not None and not psutil.pid_exists(worker.pid)


@posix_only
async def test_an_rpc_server_that_dies_costs_the_engine_and_its_absence_is_said(tiny_model: Path) -> None:
    with server() as (process, address):
        far = replace(LONG, rpc=parse_endpoints(address))
        launch = Launch(
            target=str(tiny_model), draft="none", max_tokens=ENDLESS_TOKENS, engine=far, offline=True
        )
        app = EdgespecApp(launch, AppSettings())
        async with app.run_test(size=LARGE) as pilot:
            await wait(pilot, lambda: app.engine.is_ready)
            assert "3 of 3 layers fit on RPC0" in status_of(app)
            chat = app.screen
            assert isinstance(chat, ChatScreen)
            chat.query_one("#prompt", TextArea).load_text("once upon a time")
            await pilot.press("enter")
            await wait(pilot, lambda: has_begun(chat))
            process.kill()
            await wait(pilot, lambda: "/restart" in status_of(app))
            assert len(chat.transcript.conversation.messages) == 2
            chat.query_one("#prompt", TextArea).load_text("/restart")
            await pilot.press("enter")
            await wait(pilot, lambda: f"no RPC server answers at {address}" in status_of(app))
