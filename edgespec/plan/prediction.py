"""What a target does on a machine, plain and with each draft."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from edgespec.catalog.metadata import GgufMetadata
from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.llama.context_settings import ContextSettings
from edgespec.plan.acceptance import AcceptanceRate
from edgespec.plan.models import PlannedModel, PlannedPair
from edgespec.plan.speedup import best_length, break_even, predict_rate
from edgespec.plan.workload import Workload, workload_of
from edgespec.session.memory_needs import draft_context, estimate_context, target_context
from edgespec.session.settings import EngineSettings

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
    settings = EngineSettings()
    own_bytes = _memory_bytes(target, target_context(settings, n_ctx))
    rows = []
    for draft in pair.drafts:
        draft_curve = machine.predict_curve(machine.draft_workload(draft.meta), work.n_bytes)
        both_bytes = own_bytes + _memory_bytes(draft, draft_context(settings, n_ctx))
        costs = PairCosts(verify, draft_curve)
        rows.append(_predict_draft(draft.name, acceptance_of(draft), costs, both_bytes, memory_bytes))
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
    name: str, acceptance: AcceptanceRate, costs: PairCosts, both_bytes: int, memory_bytes: int
) -> DraftPrediction:
    return DraftPrediction(
        name=name,
        acceptance=acceptance,
        costs=costs,
        memory_bytes=both_bytes,
        fits=both_bytes <= memory_bytes,
        length=best_length(costs, acceptance.rate),
        tok_per_s=predict_rate(costs, acceptance.rate),
        break_even=break_even(costs),
    )


def _memory_bytes(model: PlannedModel, context: ContextSettings) -> int:
    """What a model takes loaded; its weights count as the file, which a sketch knows better than its tensors."""
    return estimate_context(model.meta, context).beside_weights_bytes + model.meta.file_bytes


def _fitting(target: PlannedModel, own_bytes: int, memory_bytes: int) -> tuple[str, ...]:
    beside_bytes = own_bytes - target.meta.file_bytes
    params = target.meta.parameter_count
    return tuple(
        label for label, bits in BITS_PER_WEIGHT.items() if params * bits / 8 + beside_bytes <= memory_bytes
    )
