"""The worker process for real, on tiny models: what it answers, how it is stopped, and how it ends."""

import asyncio
import errno
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from edgespec.chat.messages import ChatMessage
from edgespec.chat.thinking import AS_IT_LIKES, Thinking
from edgespec.decode.policy import Mode
from edgespec.errors import EdgespecError
from edgespec.session.settings import EngineSettings
from edgespec.worker.frames import pack
from edgespec.worker.process import WorkerProcess
from edgespec.worker.protocol import (
    Answer,
    Answered,
    AnyEvent,
    ChangeDraft,
    ChangeMode,
    CountTokens,
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
    TokensCounted,
    WorkerDied,
)
from tests.scripted_model import make_scripted_model
from tests.worker.worker_jobs import (
    CountingJob,
    EndlessJob,
    FailingJob,
    FloodingJob,
    NoisyJob,
    ParentJob,
    StubbornJob,
)

LIMIT_S = 60.0
SETTINGS = EngineSettings(n_ctx=1024, n_threads=1)
QUESTION = (ChatMessage("user", "once upon a time"),)
posix_only = pytest.mark.skipif(os.name != "posix", reason="signals of another process are POSIX")


class FollowedWorker(WorkerProcess):
    """A worker process, and what it has said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[AnyEvent] = []
        self._new = asyncio.Event()
        self.listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for event in self.events():
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
        await super().close()
        with suppress(asyncio.CancelledError):
            await self.listening


@pytest.fixture
async def worker() -> AsyncIterator[FollowedWorker]:
    one = FollowedWorker()
    yield one
    await one.close()


async def open_pair(worker: FollowedWorker, target: Path, draft: str) -> PairOpened:
    worker.send(OpenPair(str(target), draft, SETTINGS, offline=True))
    opened = await worker.until(PairOpened, RequestFailed)
    assert isinstance(opened, PairOpened), opened
    return opened


async def test_a_pair_opens_answers_and_says_what_it_cost(
    worker: FollowedWorker, tiny_model: Path, tiny_draft: Path
) -> None:
    opened = await open_pair(worker, tiny_model, str(tiny_draft))
    assert (opened.target, opened.draft, opened.mode, opened.n_ctx) == ("tiny", "tiny-draft", Mode.AUTO, 1024)
    assert opened.plain_tok_per_s > 0
    assert opened.memory_bytes > 0
    worker.send(Answer(QUESTION, 24))
    text = ""
    while not isinstance(event := await worker.until(TokensArrived, Answered), Answered):
        assert isinstance(event, TokensArrived)
        text += event.text
    assert event.stats.predicted_n == 24
    assert event.stats.stopped == "length"
    assert text


async def test_a_pair_is_drafted_for_as_it_is_opened_as_far_as_its_draft_allows(
    worker: FollowedWorker, tiny_model: Path, tiny_draft: Path
) -> None:
    for draft, mode, found in (
        (str(tiny_draft), Mode.MODEL, Mode.MODEL),
        ("none", Mode.NGRAM, Mode.NGRAM),
        ("none", Mode.MODEL, Mode.OFF),
    ):
        worker.send(OpenPair(str(tiny_model), draft, SETTINGS, offline=True, mode=mode))
        opened = await worker.until(PairOpened)
        assert isinstance(opened, PairOpened) and opened.mode is found


async def test_tokens_are_counted_without_an_answer(worker: FollowedWorker, tiny_model: Path) -> None:
    await open_pair(worker, tiny_model, "none")
    worker.send(CountTokens(QUESTION, ("", "the cat " * 2000)))
    counted = await worker.until(TokensCounted)
    assert isinstance(counted, TokensCounted)
    worker.send(Answer(QUESTION, 1))
    answered = await worker.until(Answered)
    assert isinstance(answered, Answered) and counted.prompt_n == answered.stats.prompt_n
    assert counted.text_n[0] == 0
    assert counted.text_n[1] > 1024


async def test_a_thought_travels_apart_from_the_answer(worker: FollowedWorker, tmp_path: Path) -> None:
    script = ("<think>", "Hm", ".", "</think>", "\n\n", "Yes", " sir")
    await open_pair(worker, make_scripted_model(tmp_path / "m.gguf", script), "none")
    for thinking, told in ((AS_IT_LIKES, 0), (Thinking("off"), 1), (Thinking("off"), 0)):
        worker.send(Answer(QUESTION, 24, thinking=thinking))
        text = thought = ""
        while not isinstance(event := await worker.until(TokensArrived, Answered), Answered):
            assert isinstance(event, TokensArrived)
            text, thought = text + event.text, thought + event.thought
        assert (thought, text, event.stats.thought_n) == ("Hm.", "Yes sir", 4)
        assert len(event.notes) == told


async def test_modes_and_drafts_change_while_the_target_stays(
    worker: FollowedWorker, tiny_model: Path, tiny_draft: Path
) -> None:
    await open_pair(worker, tiny_model, "none")
    worker.send(ChangeMode(Mode.NGRAM))
    changed = await worker.until(PairOpened)
    assert isinstance(changed, PairOpened)
    assert (changed.mode, changed.draft) == (Mode.NGRAM, None)
    worker.send(ChangeDraft(str(tiny_draft)))
    changed = await worker.until(PairOpened)
    assert isinstance(changed, PairOpened)
    assert (changed.mode, changed.draft) == (Mode.AUTO, "tiny-draft")
    worker.send(ChangeMode(Mode.MODEL))
    worker.send(Answer(QUESTION, 40))
    answered = await worker.until(Answered)
    assert isinstance(answered, Answered)
    assert "tiny-draft" in answered.stats.why
    worker.send(ChangeDraft("none"))
    changed = await worker.until(PairOpened)
    while isinstance(changed, PairOpened) and changed.draft is not None:
        changed = await worker.until(PairOpened)
    worker.send(Answer(QUESTION, 8))
    answered = await worker.until(Answered)
    assert isinstance(answered, Answered)
    assert answered.stats.predicted_n == 8


async def test_a_stop_keeps_what_came_and_the_next_answer_works(
    worker: FollowedWorker, tiny_model: Path
) -> None:
    await open_pair(worker, tiny_model, "none")
    worker.send(Answer(QUESTION, 900))
    await worker.until(TokensArrived)
    worker.send(Stop())
    stopped = await worker.until(Answered, RequestFailed)
    assert isinstance(stopped, Answered)
    assert stopped.stats.stopped == "interrupted"
    assert 0 < stopped.stats.predicted_n < 900
    worker.send(Answer(QUESTION, 8))
    again = await worker.until(Answered, RequestFailed)
    assert isinstance(again, Answered)
    assert again.stats.stopped == "length"


async def test_a_stop_that_comes_too_late_does_no_harm(worker: FollowedWorker, tiny_model: Path) -> None:
    await open_pair(worker, tiny_model, "none")
    for _ in range(5):
        worker.send(Stop())
    worker.send(Answer(QUESTION, 8))
    answered = await worker.until(Answered, RequestFailed)
    assert isinstance(answered, Answered)


async def test_what_cannot_be_done_is_said_and_the_worker_lives(
    worker: FollowedWorker, tiny_model: Path
) -> None:
    worker.send(Answer(QUESTION, 8))
    failed = await worker.until(RequestFailed)
    assert isinstance(failed, RequestFailed)
    assert "no model is loaded" in failed.message
    worker.send(OpenPair("no-such-model", "auto", SETTINGS, offline=True))
    failed = await worker.until(RequestFailed)
    assert isinstance(failed, RequestFailed)
    assert "no-such-model" in failed.message
    await open_pair(worker, tiny_model, "none")
    worker.send(Answer((ChatMessage("user", "a " * 4000),), 8))
    failed = await worker.until(RequestFailed)
    assert isinstance(failed, RequestFailed)
    assert "context" in failed.message
    worker.send(Answer(QUESTION, 8))
    assert isinstance(await worker.until(Answered), Answered)


async def test_a_race_runs_all_arms_from_empty_caches(
    worker: FollowedWorker, tiny_model: Path, tiny_draft: Path
) -> None:
    await open_pair(worker, tiny_model, str(tiny_draft))
    modes = (Mode.OFF, Mode.MODEL, Mode.AUTO)
    worker.send(RunRace("once upon a time", modes, 16))
    advanced: list[RaceAdvanced] = []
    while not advanced or not advanced[-1].is_last:
        event = await worker.until(RaceAdvanced, RequestFailed)
        assert isinstance(event, RaceAdvanced), event
        advanced.append(event)
    assert [one.arm for one in advanced] == ["plain", "tiny-draft", "auto"]
    texts = {arm.name: arm.samples[0].tokens for arm in advanced[-1].result.arms}
    assert texts["plain"] == texts["tiny-draft"] == texts["auto"]
    assert all(one.stats.prompt_evaluated_n == one.stats.prompt_n for one in advanced)
    worker.send(RunRace("once upon a time", modes, 16, advanced[-1].result))
    while not isinstance(event, RaceAdvanced) or not event.is_last or event is advanced[-1]:
        event = await worker.until(RaceAdvanced)
    assert {len(arm.samples) for arm in event.result.arms} == {2}


async def test_native_noise_does_no_harm_and_the_worker_knows_no_terminal(worker: FollowedWorker) -> None:
    worker.send(RunJob(NoisyJob()))
    assert await worker.until(JobReported) == JobReported("between")
    assert await worker.until(JobFinished, RequestFailed) == JobFinished([])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (EdgespecError("the disk is full", "free some"), "the disk is full"),
        (MemoryError(), "ran out of memory"),
        (OSError(errno.EIO, "Input/output error", "m.gguf"), "cannot use 'm.gguf': input/output error"),
        (ZeroDivisionError("oops"), "ZeroDivisionError: oops"),
    ],
)
async def test_a_job_that_fails_says_why(error: Exception, said: str, worker: FollowedWorker) -> None:
    for _ in range(2):
        worker.send(RunJob(FailingJob(error)))
        failed = await worker.until(RequestFailed)
        assert isinstance(failed, RequestFailed)
        assert said in failed.message
        assert not failed.interrupted


async def test_a_job_pauses_goes_on_and_stops(worker: FollowedWorker) -> None:
    worker.send(RunJob(EndlessJob()))
    await worker.until(Progressed)
    worker.send(Pause())
    await asyncio.sleep(0.5)
    worker.said.clear()
    await asyncio.sleep(0.5)
    assert not worker.said
    worker.send(Resume())
    await worker.until(Progressed)
    worker.send(Pause())
    worker.send(Stop())
    assert await worker.until(RequestFailed) == RequestFailed("stopped", interrupted=True)


async def test_progress_arrives_with_label_done_and_total_up_to_the_last_step(worker: FollowedWorker) -> None:
    n_steps = 5000
    worker.send(RunJob(CountingJob(n_steps)))
    told: list[Progressed] = []
    while isinstance(event := await worker.until(Progressed, JobFinished, RequestFailed), Progressed):
        told.append(event)
    assert event == JobFinished(n_steps)
    first, second = ([one for one in told if one.label == label] for label in ("counting", "counting again"))
    assert first + second == told
    for stage in (first, second):
        done = [one.done for one in stage]
        assert done == sorted(done)
        assert (done[0], done[-1]) == (0, n_steps)
        assert {(one.total, one.unit) for one in stage} == {(n_steps, "steps")}
        assert len(stage) < n_steps


async def test_a_stop_while_python_still_starts_is_heard(worker: FollowedWorker) -> None:
    worker.send(RunJob(EndlessJob()))
    worker.send(Stop())
    assert await worker.until(RequestFailed, Progressed) == RequestFailed("stopped", interrupted=True)
    worker.send(RunJob(NoisyJob()))
    assert await worker.until(JobFinished, RequestFailed) == JobFinished([])


async def test_a_stop_ends_the_answer_and_not_what_waits_behind_it(
    worker: FollowedWorker, tiny_model: Path
) -> None:
    await open_pair(worker, tiny_model, "none")
    worker.send(Answer(QUESTION, 900))
    await worker.until(TokensArrived)
    worker.send(ChangeMode(Mode.OFF))
    worker.send(Stop())
    stopped = await worker.until(Answered, PairOpened)
    assert isinstance(stopped, Answered)
    assert stopped.stats.stopped == "interrupted"
    changed = await worker.until(PairOpened, RequestFailed)
    assert isinstance(changed, PairOpened)
    assert changed.mode is Mode.OFF


async def test_stops_at_any_time_leave_the_worker_alive(worker: FollowedWorker) -> None:
    for turn in range(60):
        worker.send(RunJob(FailingJob(EdgespecError("failed"))))
        for _ in range(turn % 3 + 1):
            await asyncio.sleep(0.0004 * (turn % 7))
            worker.send(Stop())
        failed = await worker.until(RequestFailed, WorkerDied)
        assert isinstance(failed, RequestFailed)
        assert failed.message in ("failed", "stopped")


async def test_files_of_the_folder_it_starts_in_are_not_taken_for_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("random", "tempfile", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong file')\n")
    monkeypatch.chdir(tmp_path)
    worker = FollowedWorker()
    worker.send(RunJob(NoisyJob()))
    assert await worker.until(JobFinished, RequestFailed, WorkerDied) == JobFinished([])
    await worker.close()


async def test_a_worker_that_cannot_be_started_says_so() -> None:
    worker = WorkerProcess(["/no/such/program"])
    said = [event async for event in worker.events()]
    assert len(said) == 1
    assert isinstance(said[0], WorkerDied)
    assert "cannot be started" in said[0].cause
    await worker.close()


async def test_one_that_is_closed_while_it_starts_does_not_stay() -> None:
    worker = FollowedWorker()
    while worker._starting is None:
        await asyncio.sleep(0)
    assert worker.pid is None
    worker.listening.cancel()
    await worker.close()
    assert worker.pid is not None
    assert not psutil.pid_exists(worker.pid)


@pytest.mark.parametrize("job", [StubbornJob(), FloodingJob()], ids=["stubborn", "flooding"])
async def test_closing_ends_a_job_that_hears_nothing(job: StubbornJob | FloodingJob) -> None:
    worker = FollowedWorker()
    worker.send(RunJob(job))
    await worker.until(JobReported)
    worker.listening.cancel()  # what it says now is read by nobody
    pid = worker.pid
    assert pid is not None
    await asyncio.sleep(0.5)
    async with asyncio.timeout(LIMIT_S):
        await worker.close()
    assert not psutil.pid_exists(pid)


@posix_only
async def test_a_death_is_told_though_a_child_keeps_the_pipes(worker: FollowedWorker) -> None:
    worker.send(RunJob(ParentJob()))
    reported = await worker.until(JobReported)
    assert isinstance(reported, JobReported) and isinstance(reported.value, int)
    assert worker.pid is not None
    try:
        os.kill(worker.pid, signal.SIGKILL)
        died = await worker.until(WorkerDied)
        assert isinstance(died, WorkerDied)
        assert "SIGKILL" in died.cause
    finally:
        os.kill(reported.value, signal.SIGKILL)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
async def test_closing_ends_the_process(busy: bool, tiny_model: Path) -> None:
    worker = FollowedWorker()
    await open_pair(worker, tiny_model, "none")
    if busy:
        worker.send(Answer(QUESTION, 900))
        await worker.until(TokensArrived)
    pid = worker.pid
    assert pid is not None
    await worker.close()
    assert not psutil.pid_exists(pid)
    assert not any(isinstance(event, WorkerDied) for event in worker.said)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
@pytest.mark.parametrize(
    "last_words",
    [b"", pack(Stop())[:2], pack(Stop())[:-1], b"\x05\x00\x00\x00what?"],
    ids=["nothing", "half a length", "half a value", "no value"],
)
async def test_a_worker_ends_with_the_app_whatever_that_said_last(last_words: bytes, busy: bool) -> None:
    worker = FollowedWorker()
    if busy:
        worker.send(RunJob(EndlessJob()))
        await worker.until(Progressed)
    while worker._process is None:
        await asyncio.sleep(0.01)
    process = worker._process
    stdin = process.get_pipe_transport(0)
    assert isinstance(stdin, asyncio.WriteTransport)
    stdin.write(last_words)
    if not last_words.endswith(b"what?"):
        stdin.close()  # as the system does for an app that was killed
    async with asyncio.timeout(LIMIT_S):
        while process.get_returncode() is None:
            await asyncio.sleep(0.01)
    assert process.get_returncode() == 0
    await worker.close()
