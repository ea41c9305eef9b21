"""A worker that follows a script, in the app's own process: what it says is fixed, so screens can be compared."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace

from edgespec.bench.result import Audit, BenchResult, MeasuredCosts
from edgespec.bench.summary import arm_name, sample_of, summarize_arm
from edgespec.decode.policy import Mode
from edgespec.decode.token import DraftSource, GenerationStats
from edgespec.session.choice import NGRAM, NONE
from edgespec.worker.jobs.find import FindJob
from edgespec.worker.protocol import (
    Answer,
    Answered,
    AnyEvent,
    ChangeDraft,
    ChangeMode,
    CountTokens,
    JobFinished,
    Logged,
    OpenPair,
    PairOpened,
    Pause,
    Piece,
    RaceAdvanced,
    Request,
    RequestFailed,
    Resume,
    RunJob,
    RunRace,
    Stop,
    TokensArrived,
    TokensCounted,
    WorkerDied,
)

MIB = 1 << 20
ANSWER = (
    Piece(
        "A palindrome reads the same both ways.\n\n```python\ndef is_palindrome(text):\n", DraftSource.TARGET
    ),
    Piece("    return text == text[::-1]\n```\n\n", DraftSource.MODEL),
    Piece("It compares the text with ", DraftSource.NGRAM),
    Piece("its **reverse**.", DraftSource.TARGET),
)
NOT_THERE = RequestFailed(
    "there is no model 'nosuch' in the catalogue and no file of that name",
    "did you mean small or smaller? `edgespec models` lists all names; a path or owner/repo:Q4_K_M works too",
)
"""What is said of the target `nosuch` before anything is loaded."""
TOO_LARGE = RequestFailed("too-large needs 40 GiB, and 4 GiB are free", "take a smaller model")
"""What is said of the target `too-large`, whose file is here."""
PAIR = PairOpened("target-1b", "draft-100m", Mode.AUTO, 4096, 12.5, 900 * MIB)


def finished_stats(stopped: str = "eog") -> GenerationStats:
    """The figures of the scripted answer."""
    return GenerationStats(
        prompt_n=20,
        prompt_evaluated_n=20,
        predicted_n=41,
        prefill_s=0.5,
        ttft_s=0.5,
        decode_s=2.0,
        draft_n=20,
        draft_n_accepted=16,
        target_passes=25,
        plain_step_s=0.08,
        accepted_at=[16],
        tested_at=[20],
        by_source={DraftSource.MODEL: (20, 16)},
        stopped=stopped,
        why="speculation on: 16 of 20 tokens from draft-100m accepted",
    )


def tokens(pieces: tuple[Piece, ...], predicted_n: int = 21, arm: str = "") -> TokensArrived:
    """A batch in the middle of the scripted answer."""
    return TokensArrived(pieces, predicted_n, 1.0, 10, 8, 12, 12.5, 950 * MIB, arm, speedup=1.6)


class ScriptedWorker:
    """Answers every request at once. `hold` leaves answers open until they are stopped; `jobs` does what jobs ask;
    `says` is the answer, in place of the usual one, and `then` every later one.

    Everything that was asked is in `requests`.
    """

    def __init__(
        self,
        *,
        hold: bool = False,
        pair: PairOpened | None = PAIR,
        job: Callable[[RunJob], Iterable[AnyEvent]] = lambda _request: (),
        says: Sequence[AnyEvent] = (),
        then: Sequence[AnyEvent] = (),
    ) -> None:
        self.requests: list[Request] = []
        self.hold = hold
        self.refuse: RequestFailed | None = None
        """What is said to questions instead of an answer."""
        self.closed = False
        self._pair = pair
        self._job = job
        self.script(says, then)
        self._events: asyncio.Queue[AnyEvent | None] = asyncio.Queue()

    def send(self, request: Request) -> None:
        self.requests.append(request)
        for event in self._answers(request):
            self.say(event)

    def script(self, says: Sequence[AnyEvent], then: Sequence[AnyEvent] = ()) -> None:
        """The next answer, and those after it."""
        self._says, self._then = says, then

    def say(self, event: AnyEvent) -> None:
        """Says something unasked."""
        self._events.put_nowait(event)

    def die(self, cause: str = "crashed (SIGABRT)") -> None:
        """Ends as a crashed process does."""
        self.say(WorkerDied(cause))
        self._events.put_nowait(None)

    async def events(self) -> AsyncIterator[AnyEvent]:
        while (event := await self._events.get()) is not None:
            yield event

    async def close(self) -> None:
        self.closed = True
        self._events.put_nowait(None)

    def _answers(self, request: Request) -> Iterable[AnyEvent]:
        match request:
            case OpenPair(target):
                yield Logged("llama_model_loader: loaded meta data")
                yield (
                    TOO_LARGE
                    if target == "too-large"
                    else self._pair
                    or RequestFailed("there is no model 'nonsense'", "`edgespec models` lists them")
                )
            case CountTokens(messages, texts):
                counts = [len(text) // 4 for text in texts]
                yield TokensCounted(sum(len(one.content) // 4 for one in messages), tuple(counts))
            case Answer() if self.refuse is not None:
                yield self.refuse
            case Answer() if self._says:
                says, self._says = self._says, self._then or self._says
                yield from says
            case Answer():
                yield tokens(ANSWER[:2])
                if not self.hold:
                    yield tokens(ANSWER[2:], 41)
                    yield Answered(finished_stats(), 960 * MIB)
            case Stop():
                yield Answered(finished_stats("interrupted"), 960 * MIB)
            case ChangeMode(mode):
                self._pair = replace(self._pair or PAIR, mode=mode)
                yield self._pair
            case ChangeDraft(draft):
                self._pair = replace(self._pair or PAIR, draft=None if draft in (NONE, NGRAM) else draft)
                yield self._pair
            case RunRace():
                yield from race_events(request)
            case RunJob(FindJob(target)):
                yield NOT_THERE if target == "nosuch" else JobFinished(None)
            case RunJob():
                yield from self._job(request)
            case Pause() | Resume():
                pass


def race_events(request: RunRace) -> Iterable[AnyEvent]:
    """The arms write piece by piece in turn; each is faster than the one before, and all texts are the same."""
    names = [arm_name(mode, "draft-100m") for mode in request.modes]
    for piece in ANSWER:
        for name in names:
            yield tokens((piece,), arm=name)
    samples = {arm.name: list(arm.samples) for arm in request.earlier.arms} if request.earlier else {}
    stats = {name: replace(finished_stats(), decode_s=3.2 - 0.6 * place) for place, name in enumerate(names)}
    for name in names:
        rounds = samples.setdefault(name, [])
        rounds.append(sample_of(stats[name], "race", "race", len(rounds), (1, 2, 3)))
    n_compared = len(samples["plain"]) * (len(names) - 1)
    result = BenchResult(
        "20260101-000000-0000",
        "2026-01-01T00:00:00+00:00",
        "target-1b",
        {},
        {},
        tuple(
            summarize_arm(arm, None, own, samples["plain"], peak_memory_bytes=900 * MIB)
            for arm, own in samples.items()
        ),
        Audit(compared=n_compared, identical=n_compared),
        MeasuredCosts(),
    )
    for name in names:
        yield RaceAdvanced(result, name, stats[name], name == names[-1])
