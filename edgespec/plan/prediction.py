"""What a target does on a machine, plain and with each draft."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from edgespec.catalog.memory import estimate_memory
from edgespec.catalog.metadata import GgufMetadata
from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.plan.acceptance import Acceptance
from edgespec.plan.speedup import best_length, break_even, predict_rate
from edgespec.plan.workload import Workload, workload_of
from edgespec.session.loading import TARGET_ROWS

BITS_PER_WEIGHT: Final[Mapping[str, float]] = {
    "F16": 16.0,
    "Q8_0": 8.50,
    "Q6_K": 6.56,
    "Q5_K_M": 5.70,
    "Q4_K_M": 4.89,
    "Q4_K_S": 4.67,
    "Q3_K_L": 4.30,
    "Q3_K_S": 3.64,
    "Q2_K": 3.16,
    "IQ2_XXS": 2.38,
    "IQ1_S": 2.00,
}
"""Bits per weight of whole files, of Llama 3.1 8B (llama.cpp, tools/quantize/README.md); the best first."""


class Machine(Protocol):
    """What predicts."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def description(self) -> str:
        """What it is."""

    @property
    def total_memory_bytes(self) -> int:
        """What models may take."""

    def predict_curve(self, work: Workload, beside_bytes: int = 0) -> CostCurve:
        """Seconds of a decode by its rows, where another model of so many bytes takes turns with it."""


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model to predict for; its header is real, or sketched where the file is not here."""

    name: str
    meta: GgufMetadata
    is_here: bool
    quantization: str


@dataclass(frozen=True, slots=True)
class DraftPrediction:
    """A target with one draft."""

    name: str
    acceptance: Acceptance
    length: int
    """The best fixed K; 0 where drafting does not pay."""
    tok_per_s: float
    speedup: float
    break_even: float | None
    """Acceptance from which some draft length pays; None where none does."""
    step_share: float
    """Cost of a draft step in steps of the target."""
    memory_bytes: int
    """Of both models."""
    fits: bool


@dataclass(frozen=True, slots=True)
class Prediction:
    """A target on a machine."""

    machine: str
    machine_description: str
    machine_memory_bytes: int
    target: PlannedModel
    memory_bytes: int
    fits: bool
    tok_per_s: float
    verify_s: Mapping[int, float]
    drafts: tuple[DraftPrediction, ...]
    fitting: tuple[str, ...]
    """Quantizations whose file would fit, the best first."""
    costs: Mapping[str, PairCosts]
    """By draft."""


def predict(
    target: PlannedModel,
    drafts: Sequence[PlannedModel],
    machine: Machine,
    *,
    n_ctx: int,
    acceptance_of: Callable[[PlannedModel], Acceptance],
    draft_workload: Callable[[GgufMetadata], Workload] = workload_of,
) -> Prediction:
    """Predicts plain decoding and every draft.

    Args:
        target: The model to run.
        drafts: Models that would draft for it.
        machine: Where.
        n_ctx: Tokens of context that memory is counted for.
        acceptance_of: The acceptance to reckon with.
        draft_workload: What a draft's step moves there.
    """
    work = workload_of(target.meta)
    verify = machine.predict_curve(work)
    own_bytes = _memory_bytes(target, n_ctx, TARGET_ROWS)
    rows: list[DraftPrediction] = []
    costs_by_draft: dict[str, PairCosts] = {}
    for draft in drafts:
        costs = PairCosts(verify, machine.predict_curve(draft_workload(draft.meta), work.n_bytes))
        acceptance = acceptance_of(draft)
        rate = predict_rate(costs, acceptance.rate)
        both = own_bytes + _memory_bytes(draft, n_ctx, 1)
        costs_by_draft[draft.name] = costs
        rows.append(
            DraftPrediction(
                draft.name,
                acceptance,
                best_length(costs, acceptance.rate),
                rate,
                rate * costs.step_s,
                break_even(costs),
                costs.draft_step_s / costs.step_s,
                both,
                both <= machine.total_memory_bytes,
            )
        )
    return Prediction(
        machine.name,
        machine.description,
        machine.total_memory_bytes,
        target,
        own_bytes,
        own_bytes <= machine.total_memory_bytes,
        1.0 / verify.cost(1),
        dict(verify.points),
        tuple(sorted(rows, key=lambda row: -row.speedup)),
        _fitting(target, own_bytes, machine.total_memory_bytes),
        costs_by_draft,
    )


def _memory_bytes(model: PlannedModel, n_ctx: int, n_outputs: int) -> int:
    estimate = estimate_memory(model.meta, n_ctx=n_ctx, n_outputs=n_outputs)
    return estimate.total_bytes - estimate.weights_bytes + model.meta.file_bytes


def _fitting(target: PlannedModel, own_bytes: int, memory_bytes: int) -> tuple[str, ...]:
    beside = own_bytes - target.meta.file_bytes
    params = target.meta.parameter_count
    return tuple(
        label for label, bits in BITS_PER_WEIGHT.items() if params * bits / 8 + beside <= memory_bytes
    )
