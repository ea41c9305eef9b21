"""What passes of each variant cost on this machine."""

from dataclasses import dataclass
from typing import Final

from edgespec.decode.costs import CostCurve
from edgespec.decode.measure_costs import TIMED_DRAFT_ROWS, TIMED_TARGET_ROWS, single_as_run
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.session.memory_needs import TARGET_ROWS
from edgespec.tune.drift import DriftCorrection
from edgespec.tune.variants import DraftVariant, TargetVariant

_N_CTX: Final = 256
"""Tokens; more than the rows that are timed, each time from a cache that is all but empty."""
_TARGET_S: Final = 6.0
_DRAFT_S: Final = 1.2


@dataclass(frozen=True, slots=True)
class TimedTarget:
    """A target variant and the cost of its passes."""

    variant: TargetVariant
    curve: CostCurve
    """Seconds of a pass by its rows."""
    pads: bool
    """Whether a single row of it is evaluated as two."""


@dataclass(frozen=True, slots=True)
class TimedDraft:
    """A draft variant and the cost of its steps."""

    variant: DraftVariant
    curve: CostCurve
    """Seconds of a pass by its rows: one of a step, more where it reads what it missed."""
    pads: bool
    """Whether a single row of it is evaluated as two."""


def time_target(variant: TargetVariant, correction: DriftCorrection) -> TimedTarget:
    """Times passes of as many rows as a round may verify.

    Raises:
        NotEnoughMemoryError: no room for a context.
    """
    settings = ContextSettings(_N_CTX, correction.n_threads, n_outputs_max=TARGET_ROWS)
    with Model(variant.path) as model, Context(model, settings) as context:
        times = correction.time_decodes(context, TIMED_TARGET_ROWS, _TARGET_S, all_outputs=True)
        return TimedTarget(variant, *single_as_run(times, context))


def time_draft(variant: DraftVariant, correction: DriftCorrection) -> TimedDraft:
    """Times steps of the draft as it would be run, with its shortlist, and reads of a few tokens.

    Raises:
        NotEnoughMemoryError: no room for a context.
    """
    settings = ContextSettings(_N_CTX, correction.n_threads)
    with Model(variant.path) as model:
        shortlist = variant.shortlist.make(model.n_vocab) if variant.shortlist else None
        with Context(model, settings, shortlist=shortlist) as context:
            times = correction.time_decodes(context, TIMED_DRAFT_ROWS, _DRAFT_S, all_outputs=False)
            return TimedDraft(variant, *single_as_run(times, context))
