"""The values of a throughput run. JSON is made of these and of nothing else; `docs/throughput-json.md` has the contract."""

from dataclasses import dataclass, field
from typing import Final

SCHEMA: Final = "edgespec.throughput/1"
"""Name and version of the JSON contract; a field that changes its meaning changes the number."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What a model is worth on a text: the figures of `edgespec eval`."""

    perplexity: float
    perplexity_se: float
    kl_mean: float | None
    """KL divergence from the first model, in nats; None for that one."""
    top1_agreement: float | None
    text: str
    """Which text, in words."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A model of the sweep, or a model with a draft."""

    name: str
    """As in the tables, such as `dense` or `depth`."""
    model: str
    file: str
    file_bytes: int
    parameter_count: int
    method: str
    """`dense`, the method that pruned it, or `speculative`."""
    removed_share: float
    """Share of the first model's weights in blocks that this one lacks."""
    draft: str | None = None
    quality: Quality | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A batch, once. Times are wall times in seconds."""

    repeat: int
    latency_s: float
    """From the prompts to the last token of all sequences."""
    prompt_s: float
    """Of that, until every sequence had its first token."""
    engine_s: float
    """Of that, in llama.cpp's decodes."""
    draft_n: int = 0
    draft_n_accepted: int = 0


@dataclass(frozen=True, slots=True)
class Point:
    """A curve at one shape and batch size: medians of its runs, or why there are none."""

    curve: str
    prompt_n: int
    output_n: int
    batch: int
    predicted_memory_bytes: int
    """Weights, caches and buffers, computed before anything ran."""
    layout: str = ""
    """`unified` or `split`: whether the sequences shared one KV cache."""
    memory_bytes: int = 0
    """What they took in the end."""
    latency_s: float = float("nan")
    latency_s_sd: float = float("nan")
    tok_per_s: float = float("nan")
    """Throughput: batch x output_n / latency_s."""
    tok_per_s_sd: float = float("nan")
    ttft_s: float = float("nan")
    speedup: float = float("nan")
    """Throughput over that of the first curve at the same shape and batch, paired by repeat."""
    speedup_sd: float = float("nan")
    python_share: float = float("nan")
    """Of the latency, what was not llama.cpp's."""
    acceptance: float | None = None
    """Of draft tokens; None where none was tested."""
    left_out: str = ""
    """Why nothing was measured here, in words."""
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True, slots=True)
class ThroughputResult:
    """A whole sweep, finished or not (`complete` says which)."""

    run_id: str
    started_at: str
    """ISO 8601, UTC."""
    env: dict[str, object]
    settings: dict[str, object]
    curves: tuple[Curve, ...]
    """The first one is what the others are compared with."""
    points: tuple[Point, ...] = field(default=())
    complete: bool = True

    @property
    def target(self) -> str:
        """The model that all curves are about."""
        return self.curves[0].model
