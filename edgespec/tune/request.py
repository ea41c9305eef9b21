"""What a search is asked for."""

from dataclasses import dataclass
from typing import Final

from edgespec.catalog.compatibility import check_draft, check_writes_text
from edgespec.catalog.model_file import ModelFile
from edgespec.errors import IncompatibleDraftError, UsageError
from edgespec.ranges import check_ranges

LEAST_BUDGET_S: Final = 120.0
"""Less would not even record and confirm."""


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """What is to be tuned, and what may be tried."""

    target: ModelFile
    drafts: tuple[ModelFile, ...]
    """Small models, the one first that `auto` would take; empty: the target drafts for itself."""
    budget_s: float
    n_threads: int
    requantizes: bool = False
    """Whether the target is tried in other types too."""
    distills: bool = False
    """Whether the first draft is also trained on what the target says."""
    n_confirmed: int = 3
    """Candidates that are confirmed besides what is done without tuning."""

    @property
    def auto_draft(self) -> str | None:
        """Name of the model that `auto` drafts with; None where it drafts from the text alone."""
        return self.drafts[0].name if self.drafts else None

    def check(self) -> None:
        """Refuses what cannot be done.

        Raises:
            UsageError: a budget too small to measure anything, a number outside its range, or nothing to distill into.
            IncompatibleDraftError: a draft that was named and cannot serve the target.
            ModelFileError: the target writes no text.
        """
        check_ranges(budget=self.budget_s, threads=self.n_threads)
        if self.budget_s < LEAST_BUDGET_S:
            raise UsageError(
                f"a budget of {self.budget_s:.0f} seconds is too small to measure anything",
                f"give at least `budget` {LEAST_BUDGET_S / 60:.0f}m",
            )
        check_writes_text(self.target.name, self.target.meta)
        for draft in self.drafts:
            self._check_draft(draft)
        if self.distills and not self.drafts:
            raise UsageError(
                f"`distill` teaches a small model, and there is none for {self.target.name}",
                "name one with `draft`",
            )

    def _check_draft(self, draft: ModelFile) -> None:
        verdict = check_draft(self.target.meta, draft.meta)
        if verdict.kind == "same-vocabulary":
            return
        reason = "tune reads drafts of the target's own vocabulary only" if verdict.ok else verdict.reason
        raise IncompatibleDraftError(
            f"{draft.name} cannot be tuned for {self.target.name}: {reason}",
            "name another `draft`, or none and the target, not a pair, for drafts made from the target itself",
        )
