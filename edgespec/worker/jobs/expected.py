"""How long a piece of the workshop's work will take, stage by stage, before it begins."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from edgespec.bench.plain_speed import N_ROUNDS, N_TOKENS
from edgespec.catalog.metadata import GgufMetadata
from edgespec.worker.jobs.paces import Paces, TimedProgress
from quant.prune.choices import Criterion, Method
from quant.prune.outcome import planned_model
from quant.prune.plan import PrunePlan
from quant.prune.run import needs_half_precision
from quant.prune.versions import QUALITY_CHUNKS
from quant.text.calibration import missing_answers
from quant.text.calibration_source import OWN_ANSWERS, CalibrationSource
from quant.text.windows import N_CTX

QUALITY_OF_DENSE: Final = "quality of the dense model"
QUALITY_OF_NEW: Final = "quality of the new model"
TIMING: Final = "timing both, token by token"
LOADING: Final = "loading the model"
WRITING: Final = "writing"
_ONE_BILLION: Final = 1e9
_HELD_OUT_ONE_IN: Final = 7
_FOLD_WINDOWS: Final = 8
_SCORE_WINDOWS: Final = 4
_GRADIENT_TOKENS: Final = 10 * 64
"""That LLM-Pruner reads; the Taylor criterion reads twice as many."""
_COMPARED_WINDOWS: Final = 3
"""Windows that a candidate reads on average: all read one, and a third of those left twice as many in each round."""


@dataclass(frozen=True, slots=True)
class Step:
    """A stage by the label that it will report, and how much there is to do in it."""

    label: str
    work: float
    """In billions of what the stage goes through: weights times tokens where it computes, bytes where it decodes or writes."""
    measures: bool = False
    """Whether it measures the result, which is written by then."""


@dataclass(frozen=True, slots=True)
class ExpectedStage:
    """A stage by the label that it will report, and the time that it will take."""

    label: str
    seconds: float
    measures: bool = False
    """Whether it measures the result, which is written by then."""
    is_learnt: bool = True
    """Whether this machine has done such a stage before."""


def expected_stages(steps: Sequence[Step], paces: Paces) -> tuple[ExpectedStage, ...]:
    """The time of every step, at this machine's paces."""
    return tuple(
        ExpectedStage(
            step.label, paces.seconds(step.label, step.work), step.measures, paces.knows(step.label)
        )
        for step in steps
    )


def learn(timed: TimedProgress, steps: Sequence[Step]) -> None:
    """Keeps the paces of stages that are over, for the next plan."""
    timed.end()
    work: dict[str, float] = {}
    for step in steps:
        work[step.label] = work.get(step.label, 0.0) + step.work
    Paces.load().keep(timed.taken_s, work)


def pruning_steps(plan: PrunePlan) -> tuple[Step, ...]:
    """What carrying out a plan goes through, from the first stage to the last."""
    return tuple(_pruning(plan))


def quantizing_steps(
    meta: GgufMetadata, source: CalibrationSource | None, n_tokens: int, made_bytes: int
) -> tuple[Step, ...]:
    """What quantizing goes through.

    Args:
        meta: Of the model.
        source: What its importance is measured on; None measures none.
        n_tokens: Of that text.
        made_bytes: Of the new model's weights.
    """
    steps = [Step(LOADING, _billions(meta.weights_bytes))] if source is not None else []
    if source is not None:
        steps += _answers(meta, (source,), n_tokens)
        steps.append(Step("measuring the importance", _billions(n_tokens * meta.parameter_count)))
    return (*steps, Step("quantizing", _billions(meta.parameter_count)), Step(WRITING, _billions(made_bytes)))


def measuring_steps(dense: GgufMetadata, made_parameters: int, made_bytes: int) -> tuple[Step, ...]:
    """What measuring both models goes through.

    Args:
        dense: Of the first.
        made_parameters: Of the new one.
        made_bytes: Of the new one's weights.
    """
    read, n_dense = QUALITY_CHUNKS * N_CTX, dense.parameter_count
    n_bytes = N_ROUNDS * N_TOKENS * (dense.weights_bytes + made_bytes)
    return (
        Step(QUALITY_OF_DENSE, _billions(read * n_dense), measures=True),
        Step(QUALITY_OF_NEW, _billions(read * (n_dense + made_parameters)), measures=True),
        Step(TIMING, _billions(n_bytes), measures=True),
    )


def _pruning(plan: PrunePlan) -> Iterator[Step]:
    dense, settings = plan.dense, plan.settings
    n_parameters = dense.parameter_count
    if plan.reads_text:
        yield Step(LOADING, _billions(dense.weights_bytes))
        yield from _answers(dense, settings.calibration, settings.n_tokens)
    n_windows = max(2, settings.n_tokens // N_CTX)
    if settings.method is Method.DEPTH:
        yield from _choosing_blocks(plan)
    elif settings.method is Method.FLAP:
        n_fit = n_windows - n_windows // _HELD_OUT_ONE_IN
        yield from _half_precision(dense)
        yield _reading(n_fit * N_CTX * n_parameters)
    else:
        yield Step("computing gradients", _billions(_GRADIENT_TOKENS * n_parameters))
    if plan.repairs:
        yield Step("repairing blocks", _billions(n_windows * N_CTX * n_parameters))
    yield Step(WRITING, _billions(plan.gguf.file_bytes))
    if settings.file_type is not None:
        yield Step("quantizing", _billions(plan.gguf.parameter_count))
        yield Step(WRITING, _billions(planned_model(plan).weights_bytes))


def _choosing_blocks(plan: PrunePlan) -> Iterator[Step]:
    """By the criterion of method depth; named blocks need no choice."""
    amount, dense, criterion = plan.block_amount, plan.dense, plan.settings.block_criterion
    if amount is None or criterion is Criterion.MAGNITUDE:
        return
    a_window = N_CTX * dense.parameter_count
    n_candidates = len(amount.allowed) - amount.n_removed + 1
    if criterion is Criterion.TAYLOR:
        yield Step("computing gradients", _billions(2 * _GRADIENT_TOKENS * dense.parameter_count))
        return
    yield from _half_precision(dense)
    match criterion:
        case Criterion.WINDOW:
            if plan.repairs:
                yield _reading(_FOLD_WINDOWS * a_window)
            work = _billions(_COMPARED_WINDOWS * n_candidates * a_window)
            yield Step("comparing windows of blocks", work)
        case Criterion.GREEDY:
            for number in range(1, amount.n_removed + 1):
                n_left = len(amount.allowed) - number + 1
                label = f"choosing block {number} of {amount.n_removed}"
                yield Step(label, _billions(n_left * a_window))
        case Criterion.PPL | Criterion.KL:
            n_blocks = dense.block_count or 1
            yield Step("scoring blocks", _billions(_SCORE_WINDOWS * n_blocks * a_window))
        case _:
            yield Step("scoring blocks", _billions(_SCORE_WINDOWS * a_window))


def _answers(meta: GgufMetadata, texts: Sequence[CalibrationSource], n_tokens: int) -> list[Step]:
    """Decoding the answers that the model still has to write."""
    if OWN_ANSWERS not in texts:
        return []
    missing = missing_answers(meta.path, n_tokens // len(texts))
    return [Step("writing answers", _billions(missing * meta.weights_bytes))] if missing else []


def _half_precision(meta: GgufMetadata) -> list[Step]:
    """The copy that a model of small types is scored from."""
    if not needs_half_precision(meta):
        return []
    return [Step("making a copy in half precision", _billions(meta.parameter_count))]


def _reading(weights_times_tokens: int) -> Step:
    return Step("reading the calibration text", _billions(weights_times_tokens))


def _billions(n: float) -> float:
    return n / _ONE_BILLION
