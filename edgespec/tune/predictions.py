"""What every target variant with every draft variant would bring, without running any of them together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgespec.bench.statistics import geometric_mean
from edgespec.catalog.entries import NGRAM
from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.policy import Mode
from edgespec.decode.replay import Guesses, Recording, Replay
from edgespec.lifetime import Closes
from edgespec.llama.model import Model
from edgespec.progress import SILENT, Progress
from edgespec.tune.answers import Answers, find_or_record_answers
from edgespec.tune.confirm import FinalistFigures
from edgespec.tune.drift import DriftCorrection
from edgespec.tune.guesses import read_guesses
from edgespec.tune.outcome import NO_DRAFT, Candidate
from edgespec.tune.request import TuneRequest
from edgespec.tune.timing import TimedDraft, TimedTarget, time_draft, time_target
from edgespec.tune.variants import DraftVariant, PairVariant, TargetVariant


@dataclass(frozen=True, slots=True, eq=False)
class CandidatePrediction:
    """A candidate, and what it is made of."""

    candidate: Candidate
    target: TimedTarget
    draft: TimedDraft | None
    mode: Mode

    @property
    def speedup(self) -> float:
        """Predicted, over plain decoding of the published target."""
        return self.candidate.predicted_speedup

    @property
    def pair(self) -> PairVariant:
        """Its files."""
        return PairVariant(self.target.variant, self.draft.variant if self.draft else None)

    def measured(self, figures: FinalistFigures) -> "CandidatePrediction":
        """The same with what the benchmark said of it."""
        candidate = replace(
            self.candidate,
            measured_tok_per_s=figures.tok_per_s,
            measured_speedup=figures.speedup,
            measured_sd=figures.speedup_sd,
            lowest_category=figures.lowest_category,
        )
        return replace(self, candidate=candidate)


class PredictionTable(Closes):
    """Timed variants, the targets' answers and the drafts' guesses, and predictions made of them.

    Args:
        request: Whose target is what times and speed-ups refer to.
        progress: A stage for every variant that is timed, recorded or asked to guess.

    Raises:
        NotEnoughMemoryError: no room for the target.
    """

    def __init__(self, request: TuneRequest, progress: Progress = SILENT) -> None:
        self._request, self._progress = request, progress
        self._targets: list[TimedTarget] = []
        self._drafts: list[TimedDraft] = []
        self._answers: dict[TargetVariant, Answers] = {}
        self._guesses: dict[tuple[DraftVariant, TargetVariant], list[Guesses]] = {}
        """At the held-out answers, by whose those are."""
        progress.stage(f"loading {request.target.name}")
        self._correction = DriftCorrection(request.target.path, request.n_threads)

    def close(self) -> None:
        """Frees the published target; predictions can still be made."""
        self._correction.close()

    @property
    def published(self) -> TimedTarget:
        """The first target variant."""
        return self._targets[0]

    @property
    def answers(self) -> Answers:
        """Those of the published target."""
        return self._answers[self.published.variant]

    def add_target(self, variant: TargetVariant) -> None:
        """Times a target variant: the published one first, whose answers stand for those of the others.

        Raises:
            NotEnoughMemoryError: no room for a context.
        """
        self._progress.stage(f"timing target {variant.label}")
        self._targets.append(time_target(variant, self._correction))
        if variant is self.published.variant:
            self.record_answers(variant)

    def record_answers(self, variant: TargetVariant) -> None:
        """Lets a target variant be judged by its own answers from now on.

        Raises:
            NotEnoughMemoryError: no room for a context.
        """
        self._answers[variant] = find_or_record_answers(variant, self._request.n_threads, self._progress)

    def add_draft(self, variant: DraftVariant) -> None:
        """Times a draft variant.

        Raises:
            NotEnoughMemoryError: no room for a context.
        """
        self._progress.stage(f"timing {variant.label}")
        self._drafts.append(time_draft(variant, self._correction))

    def predict(self) -> list[CandidatePrediction]:
        """Every combination, plain decoding and drafts from the text included; the one first that promises most.

        Raises:
            NotEnoughMemoryError: no room for a draft that has yet to guess.
        """
        self._read_guesses()
        found: list[CandidatePrediction] = []
        for target in self._targets:
            found += [self._predict(target, None, mode) for mode in (Mode.OFF, Mode.NGRAM)]
            found += [self._predict(target, draft, Mode.AUTO) for draft in self._drafts]
        return sorted(found, key=lambda one: -one.speedup)

    def speedup_at(self, cost_share: float, draft: TimedDraft) -> float:
        """What a draft would bring at a share of its cost, if it were right as often: the best over all targets."""
        points = {rows: cost_share * seconds for rows, seconds in draft.curve.points.items()}
        cheaper = replace(draft, curve=CostCurve(points))
        return max(self._predict(target, cheaper, Mode.AUTO).speedup for target in self._targets)

    def _read_guesses(self) -> None:
        """Those that are not known yet: one pass over a target's answers for all shortlists of a file."""
        for answers in self._answers.values():
            lacking: dict[str, list[DraftVariant]] = {}
            for draft in self._drafts:
                if (draft.variant, answers.by) not in self._guesses:
                    lacking.setdefault(str(draft.variant.path), []).append(draft.variant)
            for variants in lacking.values():
                self._read(variants, answers)

    def _read(self, variants: Sequence[DraftVariant], answers: Answers) -> None:
        """Lets variants of one file guess at the held-out answers."""
        self._progress.stage(f"guessing with {variants[0].label}", len(answers.held_out))
        with Model(variants[0].path) as model:
            masks = [one.shortlist.mask(model.n_vocab) if one.shortlist else None for one in variants]
            found = read_guesses(model, answers.held_out, masks, self._request.n_threads, self._progress)
        self._guesses |= {(one, answers.by): own for one, own in zip(variants, found, strict=True)}

    def _predict(self, target: TimedTarget, draft: TimedDraft | None, mode: Mode) -> CandidatePrediction:
        answers = self._answers.get(target.variant, self.answers)
        guesses = self._guesses[draft.variant, answers.by] if draft else None
        candidate = predict(target, draft, answers.held_out, guesses, mode, self.published.curve.cost(1))
        is_untuned = target is self.published and self._is_untuned(draft, mode)
        return CandidatePrediction(replace(candidate, is_untuned=is_untuned), target, draft, mode)

    def _is_untuned(self, draft: TimedDraft | None, mode: Mode) -> bool:
        """Whether `auto` does it by itself: with the first draft as it would have it, or with the text alone."""
        if draft is None:
            return mode is Mode.NGRAM and self._request.auto_draft is None
        return draft.variant.is_untuned and draft.variant.source == self._request.auto_draft


def predict(
    target: TimedTarget,
    draft: TimedDraft | None,
    recordings: Sequence[Recording],
    guesses: Sequence[Guesses] | None,
    mode: Mode,
    plain_step_s: float,
) -> Candidate:
    """A candidate by replaying what the target answered.

    Args:
        target: Whose passes verify.
        draft: None: the text alone, or nothing, as `mode` says.
        recordings: The target's answers to the held-out questions.
        guesses: The draft's, one for each answer.
        mode: Of the policy.
        plain_step_s: Of the published target, in seconds: what the speed-up refers to.
    """
    costs = PairCosts(
        target.curve,
        draft.curve if draft else None,
        target_pads=target.pads,
        draft_pads=draft.pads if draft else False,
    )
    rate = geometric_mean([one.tok_per_s for one in Replay(costs, mode).run(recordings, guesses)])
    acceptance = None
    if guesses is not None:
        shares = [own.acceptance(one) for own, one in zip(guesses, recordings, strict=True)]
        acceptance = float(np.mean(shares))
    without_draft = NO_DRAFT if mode is Mode.OFF else NGRAM
    distance = target.variant.distance
    return Candidate(
        target=target.variant.label,
        draft=draft.variant.label if draft else without_draft,
        acceptance=acceptance,
        draft_step_share=costs.draft_step_s / costs.step_s if draft else None,
        predicted_tok_per_s=rate,
        predicted_speedup=rate * plain_step_s,
        kl=distance.kl_mean if distance else None,
        top1_agreement=distance.top1_agreement if distance else None,
    )
