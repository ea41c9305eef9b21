"""What the app says to a worker process and what the process says back. All of it is plain values that pickle."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from edgespec.bench.result import BenchResult
from edgespec.catalog.sources import ProgressCallback
from edgespec.decode.chat_template import ChatMessage
from edgespec.decode.policy import Mode
from edgespec.decode.token import GenerationStats, Source
from edgespec.llama.sampler import Sampling
from edgespec.session.settings import EngineSettings

Unit = Literal["steps", "bytes", "seconds"]


# What the app asks for.


@dataclass(frozen=True, slots=True)
class OpenPair:
    """Load a target and its draft; an open pair is closed first. Answered by `PairOpened` or `RequestFailed`."""

    target: str | None
    draft: str
    settings: EngineSettings
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer a conversation. `TokensArrived` come, then `Answered` or `RequestFailed`."""

    messages: tuple[ChatMessage, ...]
    max_tokens: int
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class ChangeMode:
    """Let answers from now on be drafted in another way. Answered by `PairOpened`."""

    mode: Mode


@dataclass(frozen=True, slots=True)
class ChangeDraft:
    """Draft with another model, or with `none`; the target stays. Answered by `PairOpened` or `RequestFailed`."""

    draft: str
    offline: bool = False


@dataclass(frozen=True, slots=True)
class RunRace:
    """Answer one prompt with all arms side by side. `TokensArrived` alternate between the arms and carry whose they are;
    when all are in, `RaceAdvanced` comes for each of them.
    """

    prompt: str
    modes: tuple[Mode, ...]
    max_tokens: int
    earlier: BenchResult | None = None
    """Rounds of the same prompt that these are added to."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End what is being done; what was finished is kept."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Hold the work at its next step."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on."""


class Job(Protocol):
    """A piece of work for a process of its own, picklable."""

    def run(self, link: "Link") -> object:
        """Does it; the value arrives as `JobFinished`."""


@dataclass(frozen=True, slots=True)
class RunJob:
    """Do this. Answered by `Progressed` on the way, and `JobFinished` or `RequestFailed`."""

    job: Job


Request = OpenPair | Answer | ChangeMode | ChangeDraft | RunRace | Stop | Pause | Resume | RunJob


# What the worker says.


@dataclass(frozen=True, slots=True)
class Noted:
    """What is being done now, in a few words."""

    text: str


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far a piece of work is."""

    label: str
    done: float
    total: float
    unit: Unit = "steps"


@dataclass(frozen=True, slots=True)
class PairOpened:
    """A pair is loaded, or is drafted for in another way than before."""

    target: str
    draft: str | None
    mode: Mode
    n_ctx: int
    vanilla_tok_per_s: float
    """From the calibrated cost of a plain step."""
    memory_bytes: int
    """Resident, of the worker process."""
    note: str = ""
    """Where the layers went, or which copy drafts."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that came from one source."""

    text: str
    source: Source


@dataclass(frozen=True, slots=True)
class TokensArrived:
    """Tokens since the last such event, with the figures of the answer so far, as the engine timed them."""

    pieces: tuple[Piece, ...]
    predicted_n: int
    decode_s: float
    draft_n: int
    draft_n_accepted: int
    target_passes: int
    vanilla_tok_per_s: float
    """By the cost of a plain step as it is reckoned now."""
    memory_bytes: int
    arm: str = ""
    """In a race: whose they are."""

    @property
    def text(self) -> str:
        """The text of all pieces."""
        return "".join(piece.text for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer ended: whole, at its limit, or stopped."""

    stats: GenerationStats
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class RaceAdvanced:
    """A round is over: an arm's own figures of it, with the result of all rounds, whose texts have been audited."""

    result: BenchResult
    arm: str
    stats: GenerationStats
    is_last: bool


@dataclass(frozen=True, slots=True)
class JobFinished:
    """A job is done."""

    result: object


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """What was asked for could not be done. The worker lives on."""

    message: str
    hint: str = ""
    interrupted: bool = False
    """It was stopped, which is no fault."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A line of the native log, or of a warning."""

    line: str


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """The process ended without having been asked to."""

    cause: str
    """In a clause, such as `killed by signal 9 (out of memory?)`."""


Event = (
    Noted
    | Progressed
    | PairOpened
    | TokensArrived
    | Answered
    | RaceAdvanced
    | JobFinished
    | RequestFailed
    | Logged
    | WorkerDied
)
"""Jobs may send values of their own besides: they arrive as `JobReported`."""


@dataclass(frozen=True, slots=True)
class JobReported:
    """A value that a job shows on its way, such as a benchmark's figures so far."""

    value: object


AnyEvent = Event | JobReported


class Link(Protocol):
    """What a piece of work in the process sees of the app."""

    def send(self, event: AnyEvent) -> None:
        """Tells the app something."""

    def report(self, label: str, done: float, total: float, unit: Unit = "steps") -> None:
        """Tells how far the work is, ten times a second at most, and waits here while the app has paused it."""


def report_bytes(link: Link) -> ProgressCallback:
    """For what fetches models: tells the app how many bytes have come."""
    return lambda done, total, label: link.report(label, done, total, "bytes")


class Worker(Protocol):
    """A worker as the app sees it: a process, or a script in tests."""

    def send(self, request: Request) -> None:
        """Asks for something; never waits."""

    def events(self) -> AsyncIterator[AnyEvent]:
        """Starts the worker and yields what it says until it is closed or dies."""

    async def close(self) -> None:
        """Ends the worker. What it had learnt is kept if it can be had within a second."""
