"""What a server says to the engine process of a model and what that says back, beside the values of `session/shared/asked.py`.

Whatever is asked of an open pair travels as it is; what is told comes in tuples, several at a time.
"""

from dataclasses import dataclass, field
from pathlib import Path

from edgespec.llama.sampler import Sampling
from edgespec.session.settings import EngineSettings
from edgespec.session.shared.asked import Asked, Told
from edgespec.worker.protocol import Logged, Progressed, WorkerDied


@dataclass(frozen=True, slots=True)
class OpenShared:
    """Load a target and its draft for many callers. Answered by `SharedOpened` or `OpeningFailed`; comes first and once."""

    target: str | None
    draft: str
    settings: EngineSettings
    n_parallel: int
    """Answers that are computed together at most; others wait."""
    cache_bytes: int | None = None
    """For copies of conversations that have left the KV cache; None for a share of what is free."""
    cache_dir: Path | None = None
    """Where conversations are kept until the next start, if they are."""
    offline: bool = False


@dataclass(frozen=True, slots=True)
class SharedOpened:
    """A pair is loaded, and may be asked."""

    target: str
    draft: str | None
    path: str
    """Of the target's file."""
    n_ctx: int
    """Tokens that a conversation may have."""
    n_parallel: int
    plain_tok_per_s: float
    """From the measured cost of a plain step."""
    memory_bytes: int
    """Resident, of the process."""
    file_bytes: int
    """Of target and draft."""
    n_vocab: int
    n_ctx_train: int
    chat_template: str
    """Empty where the model has none."""
    bos_text: str
    eos_text: str
    n_embd: int = 0
    """Width of the target."""
    n_params: int = 0
    """Its weights."""
    quantization: str = ""
    """`Q4_K_M` and the like."""
    pooling: str = ""
    """Of an embedding model: `mean`, `cls` or `last`; of a reranker `rank`; empty for one that writes."""
    sampling: Sampling = field(default_factory=Sampling)
    """How the target's tokens are picked where nobody says."""
    note: str = ""
    """Where the layers of each model went; empty when all of them are on the CPU."""

    @property
    def ranks(self) -> bool:
        """Whether it is a reranker."""
        return self.pooling == "rank"


@dataclass(frozen=True, slots=True)
class OpeningFailed:
    """The pair cannot be opened, and the process ends."""

    message: str
    hint: str
    exit_code: int
    """Of `edgespec.errors.ExitCode`."""


@dataclass(frozen=True, slots=True)
class Alive:
    """The process runs, and has something to do."""

    rounds_n: int
    """That it has computed; one that stays the same is under way, or hangs."""


EngineRequest = OpenShared | Asked
EngineEvent = Progressed | SharedOpened | OpeningFailed | Alive | tuple[Told, ...] | Logged | WorkerDied
