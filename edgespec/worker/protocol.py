"""What a front door says to a worker process and what the process says back: plain values that pickle."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from edgespec.bench.result import BenchResult
from edgespec.chat.messages import ChatMessage
from edgespec.chat.structure import Structure
from edgespec.chat.thinking import AS_IT_LIKES, Thinking
from edgespec.chat.tools import NO_TOOLS, CallDelta, Toolbox
from edgespec.decode.policy import Mode
from edgespec.decode.token import DraftSource, GenerationStats
from edgespec.llama.sampler import Sampling
from edgespec.llama.sampling_wish import NO_WISH, AnySampling
from edgespec.progress import Progress, Unit
from edgespec.session.settings import EngineSettings

BATCH_S: Final = 0.1
"""Text of this long travels together: of an answer that is written alone, a front door hears ten times a second at most. Each time takes
it and whoever reads some 0.7 ms of the cores that compute: at twenty a second a 1.5B pair on two cores wrote 1 to 2 % slower than
without any of it."""

# What is asked for.


@dataclass(frozen=True, slots=True)
class OpenPair:
    """Load a target and its draft; an open pair is closed first. Answered by `PairOpened` or `RequestFailed`."""

    target: str | None
    draft: str
    settings: EngineSettings
    offline: bool = False
    mode: Mode | None = None
    """How answers are drafted, as far as the draft allows; None as `draft` says."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer a conversation. `TokensArrived` come, then `Answered` or `RequestFailed`."""

    messages: tuple[ChatMessage, ...]
    max_tokens: int
    sampling: AnySampling = NO_WISH
    drop_oldest: bool = False
    """The oldest turns may be left out where the conversation is too long."""
    thinking: Thinking = AS_IT_LIKES
    toolbox: Toolbox = NO_TOOLS
    """What the answer may call; the calls come in `TokensArrived`, whoever asks runs them."""
    structure: Structure | None = None
    """What the answer must look like, where it is no call."""
    continues: bool = False
    """The last message is an answer that was cut, and goes on where it ends: what is new of it comes."""


@dataclass(frozen=True, slots=True)
class CountTokens:
    """How many tokens would a conversation take, and some texts alone? Answered by `TokensCounted` or `RequestFailed`."""

    messages: tuple[ChatMessage, ...]
    texts: tuple[str, ...] = ()


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
        """Does it; the value arrives as `JobFinished`.

        Raises:
            EdgespecError: why it cannot be done; arrives as `RequestFailed`.
        """


@dataclass(frozen=True, slots=True)
class RunJob:
    """Do this. Answered by `Progressed` on the way, and `JobFinished` or `RequestFailed`."""

    job: Job


Request = (
    OpenPair | Answer | CountTokens | ChangeMode | ChangeDraft | RunRace | Stop | Pause | Resume | RunJob
)


# What the worker says.


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far a stage of the work is, as `edgespec.progress.Progress` was told."""

    label: str
    """What is being done, in a few words."""
    done: float
    total: float | None
    """How much there is to do, in `unit`; None when nobody knows."""
    unit: Unit = "steps"


@dataclass(frozen=True, slots=True)
class PairOpened:
    """A pair is loaded, or is drafted for in another way than before."""

    target: str
    draft: str | None
    mode: Mode
    n_ctx: int
    plain_tok_per_s: float
    """From the measured cost of a plain step."""
    memory_bytes: int
    """Resident, of the worker process."""
    note: str = ""
    """Where the layers of each model went; empty when all of them are on the CPU."""
    sampling: Sampling = field(default_factory=Sampling)
    """How the target's tokens are picked where nobody says."""
    server: str = ""
    """The address of the server that answers; empty for the engine of a worker. Figures that it does not tell are 0."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that came from one source."""

    text: str
    source: DraftSource


@dataclass(frozen=True, slots=True)
class TokensArrived:
    """Tokens since the last such event, with the figures of the answer so far, as the engine timed them."""

    pieces: tuple[Piece, ...]
    predicted_n: int
    decode_s: float
    draft_n: int
    draft_n_accepted: int
    target_passes: int
    plain_tok_per_s: float
    """By the cost of a plain step in this answer so far."""
    memory_bytes: int
    arm: str = ""
    """In a race: whose they are."""
    thought: str = ""
    """What the model thought; `pieces` are of the answer alone."""
    thought_n: int = 0
    """Tokens of the thought so far."""
    thought_s: float = 0.0
    calls: tuple[CallDelta, ...] = ()
    """More of the tools that the answer calls."""
    prompt_n: int = 0
    """Tokens of the prompt: with `predicted_n`, what the conversation takes of the context; 0 where nobody tells."""
    speedup: float = 0.0
    """Times plain decoding so far, as the answer's receipt will say it; 0 before it is known."""

    @property
    def text(self) -> str:
        """The text of all pieces."""
        return "".join(piece.text for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer ended: whole, at its limit, or stopped."""

    stats: GenerationStats
    memory_bytes: int
    notes: tuple[str, ...] = ()
    """What the chat template could not do as it was asked; each is told once."""


@dataclass(frozen=True, slots=True)
class TokensCounted:
    """Of what is far too long for the context only the beginning was counted, so it has that many at least."""

    prompt_n: int
    """Of the conversation, in the model's template."""
    text_n: tuple[int, ...] = ()
    """Of each text."""


@dataclass(frozen=True, slots=True)
class RaceAdvanced:
    """A round is over: an arm's own figures of it, with the result of all rounds, whose texts have been audited."""

    result: BenchResult
    arm: str
    stats: GenerationStats
    is_last: bool


@dataclass(frozen=True, slots=True)
class JobReported:
    """A value that a job shows on its way, such as a benchmark's figures so far."""

    value: object


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
    """It was stopped, which is not a fault."""
    context_full: bool = False
    """The conversation does not fit the context: without its oldest turns it might (`Answer.drop_oldest`)."""
    is_beside: bool = False
    """Another pair was looked for: what is loaded, and an answer that it writes, go on."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A line of the native log, or of a warning."""

    line: str


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """The process ended without having been asked to."""

    cause: str
    """In a clause, such as `crashed (SIGSEGV)`."""


AnyEvent = (
    Progressed
    | PairOpened
    | TokensArrived
    | Answered
    | TokensCounted
    | RaceAdvanced
    | JobReported
    | JobFinished
    | RequestFailed
    | Logged
    | WorkerDied
)
"""What a worker says. Jobs say values of their own besides, as `JobReported`."""


class Link(Protocol):
    """What a piece of work in the process sees of whoever asked for it."""

    @property
    def progress(self) -> Progress:
        """Sends `Progressed`, ten times a second at most; a step of it waits while the work is paused."""

    def send(self, event: AnyEvent) -> None:
        """Says something; whole frames go out, also when a stop comes in the middle."""


class Worker(Protocol):
    """A worker as a front door sees it: a process, or a script in tests."""

    def send(self, request: Request) -> None:
        """Asks for something; never waits."""

    def events(self) -> AsyncIterator[AnyEvent]:
        """Starts the worker and yields what it says until it is closed or dies."""

    async def close(self) -> None:
        """Ends the worker. What it had learnt is kept if that takes no more than three seconds."""
