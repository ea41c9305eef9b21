"""A draft model that drafts for several answers at once: a pass of it has a row of each that wants another guess."""

from collections.abc import Callable, Sequence

from edgespec.decode.acceptance import Acceptance
from edgespec.decode.costs import PairCosts
from edgespec.decode.drafters.contract import Guess, Reading, Steps
from edgespec.decode.drafters.draft_model import ModelDrafter
from edgespec.decode.drafters.llama_draft import LlamaDraft
from edgespec.decode.shared.seats import Seats


class SharedModelDrafter(ModelDrafter):
    """The model drafter of one of several answers.

    Args:
        model: With a sequence of its own.
        costs: Of the pair; corrected by whoever runs the passes.
        acceptance: Of the pair.
        clock: Seconds.
        seats: Know how many answers share the passes.
    """

    def __init__(
        self,
        model: LlamaDraft,
        costs: PairCosts,
        acceptance: Acceptance,
        clock: Callable[[], float],
        seats: Seats,
    ) -> None:
        super().__init__(model, costs, acceptance, clock)
        self._own, self._seats = model, seats

    @property
    def step_s(self) -> float:
        """An answer's share of a pass with a row of each."""
        return self._draft_s(1)

    def steps(self, chain: Sequence[int], reading: Reading | None) -> Steps[list[Guess]]:
        """One guess, from a pass that others may share."""
        window = reading.n_rows if reading and reading.is_fresh else None
        yield from self._own.steps(self._history, chain, window)
        return self._take(self._own.guess(), chain, reading)

    def _draft_s(self, rows: int) -> float:
        beside = max(self._seats.drafting_n, 1)
        return super()._draft_s(rows + beside - 1) / beside
