"""The search: make variants, predict, confirm the best, conclude."""

import time
from collections.abc import Callable, Sequence

from edgespec.bench.arm_loop import TokenizedPrompt
from edgespec.llama.trial import kept_helper
from edgespec.progress import SILENT, Progress
from edgespec.tune.budget import TimeBudget
from edgespec.tune.confirm import measure_finalists
from edgespec.tune.draft_variants import (
    distilled_variant,
    pruned_variant,
    published_variants,
    removable_counts,
)
from edgespec.tune.finalists import choose_finalists, choose_prompts, loaded_finalists
from edgespec.tune.outcome import TuneOutcome, conclude
from edgespec.tune.predictions import CandidatePrediction, PredictionTable
from edgespec.tune.questions import read_proof_prompts
from edgespec.tune.recordings import ANSWER_TOKENS
from edgespec.tune.request import TuneRequest
from edgespec.tune.target_variants import TARGET_TYPES, requantized_target
from edgespec.tune.variants import PUBLISHED, PairVariant, TargetVariant


class Search:
    """One search; `run` does it all. Its time begins when it is made.

    Args:
        request: What is to be tuned.
        progress: A stage for everything that takes time.
        clock: Seconds; another one in tests.

    Raises:
        UsageError: a budget too small to measure anything, or nothing to distill into.
        IncompatibleDraftError: a draft that was named and cannot serve the target.
    """

    def __init__(
        self,
        request: TuneRequest,
        progress: Progress = SILENT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        request.check()
        self._request, self._progress = request, progress
        self._budget = TimeBudget(request.budget_s, clock)

    def run(self) -> tuple[TuneOutcome, PairVariant]:
        """Searches; nothing is saved but what makes the next search shorter.

        Returns:
            The outcome, and the winner's variants.

        Raises:
            EdgespecError: whatever a stage raises.
        """
        with kept_helper(), PredictionTable(self._request, self._progress) as table:
            self._add_targets(table)
            self._add_published_drafts(table)
            predictions = table.predict()
            if self._budget.allows_another():
                self._add_pruned_drafts(table, predictions)
                predictions = table.predict()
            if self._budget.allows_another():
                # The published file's answers stand for the others'; only the best one is worth the time.
                table.record_answers(predictions[0].target.variant)
                predictions = table.predict()
            if self._request.distills:
                self._add_distilled_draft(table, predictions)
                predictions = table.predict()
        return self._prove(predictions)

    # Variants

    def _add_targets(self, table: PredictionTable) -> None:
        meta = self._request.target.meta
        table.add_target(TargetVariant(PUBLISHED, meta.path))
        if not self._request.requantizes:
            return
        for type_label in TARGET_TYPES:
            if type_label != meta.quantization and self._budget.allows_another():
                table.add_target(requantized_target(meta, type_label, table.answers, self._progress))

    def _add_published_drafts(self, table: PredictionTable) -> None:
        variants = []
        for file in self._request.drafts:
            self._progress.stage(f"making variants of {file.name}")
            variants += published_variants(file, table.answers.fit)
        for variant in variants:
            table.add_draft(variant)

    def _add_pruned_drafts(self, table: PredictionTable, predictions: Sequence[CandidatePrediction]) -> None:
        """Drafts with fewer blocks, where even with no loss of acceptance they could be the fastest."""
        request = self._request
        source = request.drafts[0] if request.drafts else request.target
        best_draft = next((one.draft for one in predictions if one.draft is not None), None)
        n_blocks = source.meta.block_count or 0
        for n_removed in removable_counts(n_blocks, drafts_for_itself=not request.drafts):
            if not self._budget.allows_another():
                return
            if best_draft is not None:
                promised = table.speedup_at(1 - n_removed / n_blocks, best_draft)
                if promised <= predictions[0].speedup:
                    continue
            variant = pruned_variant(source, n_removed, table.answers, request.n_threads, self._progress)
            if variant is not None:
                table.add_draft(variant)

    def _add_distilled_draft(
        self, table: PredictionTable, predictions: Sequence[CandidatePrediction]
    ) -> None:
        """The first small model in the variant that does best so far, trained on what the best target says."""
        source = self._request.drafts[0]
        own = (
            one.draft.variant for one in predictions if one.draft and one.draft.variant.source == source.name
        )
        like = next((one for one in own if one.kind in {"fast copy", "shortlist"}), None)
        if like is None:
            return
        variant = distilled_variant(
            source,
            like,
            predictions[0].target.variant,
            self._request.n_threads,
            self._budget.allows_another,
            self._progress,
        )
        if variant is not None:
            table.add_draft(variant)

    # Proof

    def _prove(self, predictions: Sequence[CandidatePrediction]) -> tuple[TuneOutcome, PairVariant]:
        """Lets the best predictions answer prompts that none of them was made from."""
        left_s = self._budget.left_s
        prompts = read_proof_prompts(self._request.target.path)
        finalists = choose_finalists(predictions, self._request.n_confirmed, left_s, prompts)
        prompts = choose_prompts(finalists, left_s, prompts)
        confirmed = dict(zip(finalists, self._confirm(finalists, prompts), strict=True))
        return self._conclude([confirmed.get(one, one) for one in predictions], prompts)

    def _confirm(
        self, finalists: Sequence[CandidatePrediction], prompts: Sequence[TokenizedPrompt]
    ) -> list[CandidatePrediction]:
        """Measures the finalists beside the first of them, which is plain decoding.

        One that wrote what its target would not have written gets no measurement, however fast it was.
        """
        with loaded_finalists(finalists, prompts, self._request.n_threads) as loaded:
            measured = measure_finalists(
                loaded,
                prompts,
                ANSWER_TOKENS,
                has_time=lambda: self._budget.left_s > 0,
                progress=self._progress,
            )
        return [
            one.measured(figures) if figures.is_faithful else one
            for one, figures in zip(finalists, measured, strict=True)
        ]

    def _conclude(
        self, predictions: Sequence[CandidatePrediction], prompts: Sequence[TokenizedPrompt]
    ) -> tuple[TuneOutcome, PairVariant]:
        outcome = conclude(
            self._request.target.name,
            [one.candidate for one in predictions],
            round(self._budget.used_s, 1),
            self._request.budget_s,
            [prompt.id for prompt in prompts],
        )
        winner = next(one for one in predictions if one.candidate is outcome.best)
        return outcome, winner.pair
