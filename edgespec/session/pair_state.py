"""What is known of a target with a draft, or with none."""

from dataclasses import dataclass

from edgespec.decode.acceptance import Acceptance
from edgespec.decode.costs import PairCosts


@dataclass(slots=True)
class PairState:
    """Costs and acceptance; they are corrected as the pair runs."""

    costs: PairCosts
    acceptance: Acceptance
    unmeasured: str = ""
    """Why only plain steps were timed, so that nothing is drafted; empty where all was measured."""
