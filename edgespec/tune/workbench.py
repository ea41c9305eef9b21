"""What predictions are made of: recorded answers, measured costs and guesses, and a candidate of each combination."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from edgespec.bench.prompts import builtin_prompts, select
from edgespec.bench.statistics import geometric_mean
from edgespec.catalog.model_file import ModelFile
from edgespec.decode.chat_template import ChatMessage
from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.measure_costs import TIMED_DRAFT_ROWS, TIMED_TARGET_ROWS, single_as_run
from edgespec.decode.policy import Mode
from edgespec.decode.replay import Guesses, Recording, replay
from edgespec.lifetime import Closes
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.llama.shortlist import shortlist_for
from edgespec.paths import derived_file
from edgespec.session.loading import TARGET_ROWS as MOST_ROWS
from edgespec.tune.drift import Yardstick
from edgespec.tune.outcome import Candidate
from edgespec.tune.recordings import Mask, load_recordings, read_guesses, record_answers, save_recordings
from edgespec.tune.variants import PUBLISHED, DraftForm, TargetForm
from quant.progress import StageProgress
from quant.text.calibration import calibration_prompts

log = logging.getLogger(__name__)

N_CTX: Final = 1024
"""Room for the longest built-in question and its answer."""
_FIT_PROMPTS: Final = 24
_JUDGE_PER_CATEGORY: Final = 2
_LEAST_TOKENS: Final = 4
"""Shorter answers say nothing about drafting."""
_TARGET_TIMING_S, _DRAFT_TIMING_S = 6.0, 1.2


@dataclass(slots=True)
class TimedTarget:
    """A form of the target, its answers to both kinds of questions, and the cost of its passes."""

    form: TargetForm
    fit: list[Recording]
    judge: list[Recording]
    answered_by: str
    """Label of the form whose answers these are: the published one's stand for those of a form that nothing speaks for."""
    verify: CostCurve
    pads: bool


@dataclass(slots=True)
class TimedDraft:
    """A form of a draft, and the cost of its steps."""

    form: DraftForm
    curve: CostCurve
    pads: bool
    guesses: dict[str, list[Guesses]] = field(default_factory=dict)
    """By label of the target form that answered, for its answers to the judging prompts."""


@dataclass(slots=True)
class Row:
    """A candidate with what it is made of."""

    candidate: Candidate
    target: TimedTarget
    draft: TimedDraft | None
    mode: Mode


class Workbench(Closes):
    """Records, times and predicts.

    Args:
        target: The published file, in whose plain steps everything is timed.
        drafts: The small models, the one first that `auto` would take.
        n_threads: Of the CPU.
        progress: Told about every stage.
    """

    def __init__(
        self, target: Path, drafts: Sequence[ModelFile], n_threads: int, progress: StageProgress
    ) -> None:
        self._target, self._drafts, self.n_threads, self._progress = target, drafts, n_threads, progress
        self._opened_yardstick: Yardstick | None = None
        self.judge_prompts = list(select(builtin_prompts(), limit=_JUDGE_PER_CATEGORY))
        self._plain_step_s = 0.0

    def stage(self, label: str) -> Callable[[int, int], None]:
        """Progress inside one stage."""
        return lambda done, total: self._progress(label, done, total)

    @property
    def _yardstick(self) -> Yardstick:
        if self._opened_yardstick is None:
            self._opened_yardstick = Yardstick(self._target, self.n_threads)
        return self._opened_yardstick

    def close(self) -> None:
        """Frees the published target."""
        if self._opened_yardstick is not None:
            self._opened_yardstick.close()
            self._opened_yardstick = None

    def time_target(self, form: TargetForm, answers: TimedTarget | None = None) -> TimedTarget:
        """What a form of the target answers and costs.

        Args:
            form: The published file first.
            answers: Whose answers are taken for its own until `record` makes those; None records them now.

        Raises:
            NotEnoughMemoryError: no room for a context.
        """
        self._progress(f"timing target {form.label}", 0, 1)
        with Model(form.path) as model:
            settings = ContextSettings(N_CTX, self.n_threads, n_outputs_max=MOST_ROWS)
            rows = TIMED_TARGET_ROWS if model.can_roll_back else (1,)
            with Context(model, settings) as context:
                times = self._yardstick.times(context, rows, _TARGET_TIMING_S, all_outputs=True)
                curve, pads = single_as_run(times, context)
        if form.label == PUBLISHED:
            self._plain_step_s = curve.cost(1)
        if answers is None:
            fit, judge = self._answers(form)
            return TimedTarget(form, fit, judge, form.label, curve, pads)
        return TimedTarget(form, answers.fit, answers.judge, answers.answered_by, curve, pads)

    def record(self, target: TimedTarget) -> TimedTarget:
        """The form with answers of its own.

        Raises:
            NotEnoughMemoryError: no room for a context.
        """
        fit, judge = self._answers(target.form)
        return replace(target, fit=fit, judge=judge, answered_by=target.form.label)

    def _answers(self, form: TargetForm) -> tuple[list[Recording], list[Recording]]:
        """To the questions for fitting and for judging; made once."""
        store = derived_file(form.path, "tune-answers.npz")
        fit = [(ChatMessage("user", question),) for question in calibration_prompts()[:_FIT_PROMPTS]]
        asked = [*fit, *(prompt.messages for prompt in self.judge_prompts)]
        known = load_recordings(store)
        if len(known) != len(asked):
            with Model(form.path) as model:
                report = self.stage(f"recording answers, target {form.label}")
                known = record_answers(model, asked, self.n_threads, report)
            try:
                store.parent.mkdir(parents=True, exist_ok=True)
                save_recordings(store, known)
            except OSError as err:
                log.info("the recorded answers are not kept: %s", err)
        first, second = (
            [one for one in part if len(one.tokens) >= _LEAST_TOKENS]
            for part in (known[: len(fit)], known[len(fit) :])
        )
        return first, second

    def time_form(self, form: DraftForm) -> TimedDraft:
        """What a form of a draft costs."""
        self._progress(f"timing {form.label}", 0, 1)
        with Model(form.path) as model:
            listed = None
            if form.n_frequent is not None:
                listed = shortlist_for(model.n_vocab, form.n_frequent, form.extra)
            with Context(model, ContextSettings(N_CTX, self.n_threads), shortlist=listed) as context:
                times = self._yardstick.times(context, TIMED_DRAFT_ROWS, _DRAFT_TIMING_S, all_outputs=False)
                curve, pads = single_as_run(times, context)
        return TimedDraft(form, curve, pads)

    def read(self, drafts: Sequence[TimedDraft], targets: Sequence[TimedTarget]) -> None:
        """Guesses that are not known yet: one pass over a target's answers for all lists of a file."""
        answering = {target.answered_by: target for target in targets}
        for path in dict.fromkeys(draft.form.path for draft in drafts):
            own = [draft for draft in drafts if draft.form.path == path]
            for label, target in answering.items():
                lacking = [draft for draft in own if label not in draft.guesses]
                if not lacking:
                    continue
                report = self.stage(f"reading with {lacking[0].form.label}")
                with Model(path) as model:
                    masks = [_mask(draft.form, model.n_vocab) for draft in lacking]
                    found = read_guesses(model, target.judge, masks, self.n_threads, report)
                for draft, guesses in zip(lacking, found, strict=True):
                    draft.guesses[label] = guesses

    def predict(self, target: TimedTarget, draft: TimedDraft | None, mode: Mode) -> Row:
        """A candidate by replaying the judging answers."""
        costs = PairCosts(
            target.verify,
            draft.curve if draft else None,
            target_pads=target.pads,
            draft_pads=draft.pads if draft else False,
        )
        guesses = draft.guesses[target.answered_by] if draft else None
        rate = geometric_mean([one.tok_per_s for one in replay(target.judge, guesses, costs, mode)])
        acceptance = None
        if guesses is not None:
            acceptance = float(
                np.mean([own.acceptance(one) for own, one in zip(guesses, target.judge, strict=True)])
            )
        distance = target.form.distance
        candidate = Candidate(
            target.form.label,
            draft.form.label if draft else {Mode.OFF: "none"}.get(mode, "ngram"),
            acceptance,
            costs.draft_step_s / costs.step_s if draft else None,
            rate,
            rate * self._plain_step_s,
            is_untuned=target.form.label == PUBLISHED and _is_untuned(draft, mode, self._drafts),
            kl=distance.kl_mean if distance else None,
            top1_agreement=distance.top1_agreement if distance else None,
        )
        return Row(candidate, target, draft, mode)


def _is_untuned(draft: TimedDraft | None, mode: Mode, drafts: Sequence[ModelFile]) -> bool:
    """What `auto` takes by itself: the first draft in the form that it would have, or the text alone."""
    if draft is None:
        return mode is Mode.NGRAM and not drafts
    return draft.form.is_untuned and draft.form.source == drafts[0].name


def _mask(form: DraftForm, n_vocab: int) -> Mask | None:
    if form.n_frequent is None:
        return None
    mask = np.zeros(n_vocab, np.bool_)
    mask[: form.n_frequent] = True
    mask[list(form.extra)] = True
    return mask
