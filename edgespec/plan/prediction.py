"""What a target does on a machine, plain and with each draft."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from edgespec.catalog.cache_layout import cache_layout
from edgespec.catalog.memory import (
    TARGET_SNAPSHOTS,
    MemoryEstimate,
    estimate_as_draft,
    estimate_as_target,
)
from edgespec.catalog.metadata import GgufMetadata
from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.policy import MAX_DRAFT
from edgespec.plan.acceptance import AcceptanceRate
from edgespec.plan.models import PlannedModel, PlannedPair
from edgespec.plan.speedup import Rollback, best_length, break_even, predict_rate
from edgespec.plan.workload import Workload, workload_of

_ROWS_APART: Final = 8
"""Rows between which the price of one that is read again is taken."""
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
    """What models would run on: a row of the table, or this machine."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def description(self) -> str:
        """What it is."""

    @property
    def total_memory_bytes(self) -> int:
        """What models may take."""

    def draft_workload(self, meta: GgufMetadata) -> Workload:
        """What a step of a draft moves there, where it may run as another file than the published one."""

    def predict_curve(self, work: Workload, beside_bytes: int = 0) -> CostCurve:
        """Seconds of a decode by its rows, where another model of so many bytes takes turns with it."""


@dataclass(frozen=True, slots=True)
class DraftPrediction:
    """A target with one draft."""

    name: str
    acceptance: AcceptanceRate
    costs: PairCosts
    rollback: Rollback
    """What taking wrong guesses back costs."""
    reads_again: tuple[str, ...]
    """Of target and draft, those that read again what was right in a draft of which something was wrong."""
    memory_bytes: int
    """Of both models, with their caches and buffers."""
    fits: bool
    length: int
    """The best fixed K; 0 where drafting does not pay."""
    tok_per_s: float
    break_even: float | None
    """Acceptance from which some draft length pays; None where none does."""

    @property
    def speedup(self) -> float:
        """Over plain decoding of the target."""
        return self.tok_per_s * self.costs.step_s

    @property
    def step_share(self) -> float:
        """Cost of a draft step in plain steps of the target."""
        return self.costs.draft_step_s / self.costs.step_s


@dataclass(frozen=True, slots=True)
class Prediction:
    """A target on a machine, plain and with each draft."""

    machine: str
    machine_description: str
    machine_memory_bytes: int
    target: PlannedModel
    memory_bytes: int
    """Of the target, with its cache and buffers."""
    fits: bool
    fitting: tuple[str, ...]
    """Quantizations whose file would fit, the best first."""
    verify_s: Mapping[int, float]
    """Seconds of a decode by its rows."""
    drafts: tuple[DraftPrediction, ...]
    """The fastest first."""

    @property
    def tok_per_s(self) -> float:
        """Of plain decoding."""
        return 1.0 / self.verify_s[1]


def predict(
    pair: PlannedPair,
    machine: Machine,
    *,
    n_ctx: int,
    acceptance_of: Callable[[PlannedModel], AcceptanceRate],
) -> Prediction:
    """Predicts plain decoding and every draft.

    Args:
        pair: The model to run, and models that would draft for it.
        machine: Where.
        n_ctx: Tokens of context that memory is counted for.
        acceptance_of: What share of a draft's tokens to reckon with.
    """
    target, memory_bytes = pair.target, machine.total_memory_bytes
    work = workload_of(target.meta)
    verify = machine.predict_curve(work)
    own_bytes = _memory_bytes(target, estimate_as_target(target.meta, n_ctx))
    rows = []
    for draft in pair.drafts:
        draft_curve = machine.predict_curve(machine.draft_workload(draft.meta), work.n_bytes)
        both_bytes = own_bytes + _memory_bytes(draft, estimate_as_draft(draft.meta, n_ctx))
        costs = PairCosts(verify, draft_curve)
        rows.append(_predict_draft(target, draft, acceptance_of(draft), costs, both_bytes, memory_bytes))
    return Prediction(
        machine=machine.name,
        machine_description=machine.description,
        machine_memory_bytes=memory_bytes,
        target=target,
        memory_bytes=own_bytes,
        fits=own_bytes <= memory_bytes,
        fitting=_fitting(target, own_bytes, memory_bytes),
        verify_s=dict(verify.points),
        drafts=tuple(sorted(rows, key=lambda row: -row.speedup)),
    )


def _predict_draft(
    target: PlannedModel,
    draft: PlannedModel,
    acceptance: AcceptanceRate,
    costs: PairCosts,
    both_bytes: int,
    memory_bytes: int,
) -> DraftPrediction:
    rollback, reads_again = _rollback(target, draft, costs)
    return DraftPrediction(
        name=draft.name,
        acceptance=acceptance,
        costs=costs,
        rollback=rollback,
        reads_again=reads_again,
        memory_bytes=both_bytes,
        fits=both_bytes <= memory_bytes,
        length=best_length(costs, acceptance.rate, rollback),
        tok_per_s=predict_rate(costs, acceptance.rate, rollback),
        break_even=break_even(costs, rollback),
    )


def _rollback(
    target: PlannedModel, draft: PlannedModel, costs: PairCosts
) -> tuple[Rollback, tuple[str, ...]]:
    """What taking back costs, and who reads again: a recurrent state has no cells to drop. A target keeps older states beside it
    where llama.cpp can; a draft keeps none.
    """
    ahead, behind = cache_layout(target.meta), cache_layout(draft.meta)
    row_s, names, longest = 0.0, [], MAX_DRAFT
    if ahead.state_bytes and ahead.keeps_snapshots:
        longest = TARGET_SNAPSHOTS
    elif ahead.state_bytes:
        row_s += _row_s(costs.verify)
        names.append(target.name)
    if behind.state_bytes and costs.draft:
        row_s += _row_s(costs.draft)
        names.append(draft.name)
    return Rollback(row_s, longest), tuple(names)


def _row_s(curve: CostCurve) -> float:
    """Seconds of one row more in a pass that is made anyway."""
    return max(0.0, curve.cost(_ROWS_APART) - curve.cost(1)) / (_ROWS_APART - 1)


def _memory_bytes(model: PlannedModel, estimate: MemoryEstimate) -> int:
    """What a model takes loaded. The weights of one that is not here count as its published file, which knows more than a sketch."""
    if model.is_here:
        return estimate.total_bytes
    return estimate.total_bytes - estimate.weights_bytes + model.meta.file_bytes


def _fitting(target: PlannedModel, own_bytes: int, memory_bytes: int) -> tuple[str, ...]:
    weights_bytes = target.meta.weights_bytes if target.is_here else target.meta.file_bytes
    beside_bytes = own_bytes - weights_bytes
    params = target.meta.parameter_count
    return tuple(
        label for label, bits in BITS_PER_WEIGHT.items() if params * bits / 8 + beside_bytes <= memory_bytes
    )
