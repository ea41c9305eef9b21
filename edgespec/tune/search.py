"""The search: record, make, predict, confirm the best, keep the winner."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from edgespec.bench.prompts import builtin_prompts, select
from edgespec.bench.statistics import geometric_mean
from edgespec.catalog.compatibility import check_draft
from edgespec.decode.acceptance import Acceptance
from edgespec.decode.calibrate import calibrate_pair, time_draft
from edgespec.decode.chat_template import ChatMessage
from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.policy import Mode
from edgespec.decode.replay import Guesses, Recording, replay
from edgespec.errors import EdgespecError, IncompatibleDraftError, UsageError
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.shortlist import FREQUENT_TOKENS, shortlist_for
from edgespec.paths import derived_file
from edgespec.session.engine import Engine, PairState
from edgespec.session.loading import TARGET_ROWS, ModelFile, open_file
from edgespec.session.settings import DraftType, EngineSettings
from edgespec.tune.blocks import best_span, find_or_make_cut
from edgespec.tune.confirm import Finalist, Measured, measure_finalists
from edgespec.tune.forms import (
    PUBLISHED,
    TARGET_TYPES,
    DraftForm,
    TargetForm,
    draft_forms,
    make_target_form,
    words_beyond,
    write_draft,
)
from edgespec.tune.outcome import Candidate, TuneOutcome, ranked, with_measurement
from edgespec.tune.recordings import (
    ANSWER_TOKENS,
    Mask,
    load_recordings,
    read_guesses,
    record_answers,
    save_recordings,
)
from quant.calibration import StageProgress, calibration_prompts

log = logging.getLogger(__name__)

LEAST_BUDGET_S: Final = 120.0
"""Less would not even record and confirm."""
_FIT_PROMPTS = 24
_JUDGE_PER_CATEGORY = 2
_CONFIRM_SHARE = 0.45
"""Of the budget, left for the benchmark at the end."""
_N_CTX = 1024
_LEAST_TOKENS = 4
"""Shorter answers say nothing about drafting."""
_FEWEST_FINALISTS = 3
_PROMPT_S, _LOAD_S = 1.5, 6.0
"""Of a finalist: reading a prompt of some hundred tokens, and loading and timing it, for a model of 1.5B on two cores."""
_CUT_SHARES = (1 / 12, 1 / 6)
"""Of a small model's blocks that are tried without."""
_OWN_CUT_SHARES = (1 / 3, 1 / 2)
"""Of the target's own, where it is to draft for itself."""
_WORTH_IT = 1.02
"""The fastest must beat what `auto` does without tuning by this much to be kept."""


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """What is to be tuned."""

    target: ModelFile
    drafts: tuple[ModelFile, ...]
    budget_s: float
    requantizes: bool = False
    n_confirmed: int = 3
    """Candidates that are confirmed besides what is done without tuning."""
    n_threads: int = 0


@dataclass(slots=True)
class _Target:
    form: TargetForm
    fit: list[Recording]
    judge: list[Recording]
    verify: CostCurve
    pads: bool


@dataclass(slots=True)
class _Draft:
    form: DraftForm
    curve: CostCurve
    pads: bool
    guesses: dict[str, list[Guesses]] = field(default_factory=dict)
    """By label of the target form, for its answers to the judging prompts."""


@dataclass(slots=True)
class _Row:
    """A candidate with what it is made of."""

    candidate: Candidate
    target: _Target
    draft: _Draft | None
    mode: Mode


class Search:
    """One search; `run` does it all.

    Args:
        request: What is to be tuned.
        progress: Told about every stage.
        clock: Seconds; another one in tests.

    Raises:
        UsageError: a budget too small to measure anything.
        IncompatibleDraftError: a draft that was named and cannot serve the target.
    """

    def __init__(
        self, request: TuneRequest, progress: StageProgress, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if request.budget_s < LEAST_BUDGET_S:
            raise UsageError(
                f"a budget of {request.budget_s:.0f} seconds is too small to measure anything",
                f"give at least --budget {LEAST_BUDGET_S / 60:.0f}m",
            )
        for draft in request.drafts:
            verdict = check_draft(request.target.meta, draft.meta)
            if verdict.kind != "same-vocabulary":
                reason = (
                    verdict.reason
                    if not verdict.ok
                    else "tune reads drafts of the target's own vocabulary only"
                )
                raise IncompatibleDraftError(
                    f"{draft.name} cannot be tuned for {request.target.name}: {reason}",
                    "name another --draft, or none for drafts made from the target itself",
                )
        self._request, self._progress, self._clock = request, progress, clock
        self._began = clock()
        self._n_threads = request.n_threads or default_threads()
        self._judge_prompts = list(select(builtin_prompts(), limit=_JUDGE_PER_CATEGORY))
        self._plain_step_s = 0.0

    def run(self) -> tuple[TuneOutcome, TargetForm, DraftForm | None]:
        """Searches; the outcome is not stored yet.

        Returns:
            The outcome, and the forms of the winner.

        Raises:
            EdgespecError: whatever a stage raises; what was made is kept for the next search.
        """
        targets = self._targets()
        drafts = self._drafts(targets[0])
        rows = self._predict(targets, drafts)
        if self._has_time(1 - _CONFIRM_SHARE):
            drafts += self._cut_drafts(targets, rows)
            rows = self._predict(targets, drafts)
        rows = self._confirm(rows)
        return self._conclude(rows)

    def _left_s(self) -> float:
        return self._request.budget_s - (self._clock() - self._began)

    def _has_time(self, share: float = 1.0) -> bool:
        """Whether less than that share of the budget is used."""
        return self._clock() - self._began < share * self._request.budget_s

    def _stage(self, label: str) -> Callable[[int, int], None]:
        return lambda done, total: self._progress(label, done, total)

    # The target's forms

    def _targets(self) -> list[_Target]:
        meta = self._request.target.meta
        published = self._target(TargetForm(PUBLISHED, meta.path, None))
        self._plain_step_s = PairCosts(published.verify, target_pads=published.pads).step_s
        targets = [published]
        if self._request.requantizes:
            text = self._text_of(published.fit)
            for label in TARGET_TYPES:
                if label == meta.quantization or not self._has_time(1 - _CONFIRM_SHARE):
                    continue
                form = make_target_form(meta, label, published.fit, text, self._progress)
                targets.append(self._target(form))
        return targets

    def _target(self, form: TargetForm) -> _Target:
        store = derived_file(form.path, "tune-answers.npz")
        fit = [(ChatMessage("user", question),) for question in calibration_prompts()[:_FIT_PROMPTS]]
        asked = [*fit, *(prompt.messages for prompt in self._judge_prompts)]
        with Model(form.path) as model:
            known = load_recordings(store)
            if len(known) != len(asked):
                report = self._stage(f"recording answers, target {form.label}")
                known = record_answers(model, asked, self._n_threads, report)
                try:
                    store.parent.mkdir(parents=True, exist_ok=True)
                    save_recordings(store, known)
                except OSError as err:
                    log.info("the recorded answers are not kept: %s", err)
            self._progress(f"timing target {form.label}", 0, 1)
            settings = ContextSettings(_N_CTX, self._n_threads, n_outputs_max=TARGET_ROWS)
            with Context(model, settings) as context:
                costs = calibrate_pair(context, None)
        long_enough = [len(one.tokens) >= _LEAST_TOKENS for one in known]
        first, second = (
            [one for one, long in zip(part, enough, strict=True) if long]
            for part, enough in (
                (known[: len(fit)], long_enough[: len(fit)]),
                (known[len(fit) :], long_enough[len(fit) :]),
            )
        )
        return _Target(form, first, second, costs.verify, costs.target_pads)

    def _text_of(self, recordings: Sequence[Recording]) -> str:
        with Model(self._request.target.path, weights=False) as model:
            pieces = [
                b"".join(model.token_bytes(token) for token in (*one.prompt, *one.tokens))
                for one in recordings
            ]
        return "\n".join(piece.decode("utf-8", "replace") for piece in pieces)

    # The drafts' forms

    def _drafts(self, published: _Target) -> list[_Draft]:
        forms: list[DraftForm] = []
        for file in self._request.drafts:
            self._progress(f"making forms of {file.name}", 0, 1)
            forms += draft_forms(file.name, file.meta, published.fit)
        return [self._timed(form) for form in forms]

    def _timed(self, form: DraftForm) -> _Draft:
        self._progress(f"timing {form.label}", 0, 1)
        with Model(form.path) as model:
            listed = None
            if form.n_frequent is not None:
                listed = shortlist_for(model.n_vocab, form.n_frequent, form.extra)
            with Context(model, ContextSettings(_N_CTX, self._n_threads), shortlist=listed) as context:
                curve, pads = time_draft(context, 1.2)
        return _Draft(form, curve, pads)

    def _read(self, drafts: Sequence[_Draft], targets: Sequence[_Target]) -> None:
        """Guesses that are not known yet: one pass over a target's answers for all lists of a file."""
        for path in dict.fromkeys(draft.form.path for draft in drafts):
            own = [draft for draft in drafts if draft.form.path == path]
            for target in targets:
                lacking = [draft for draft in own if target.form.label not in draft.guesses]
                if not lacking:
                    continue
                report = self._stage(f"reading with {lacking[0].form.label}")
                with Model(path) as model:
                    masks = [_mask(draft.form, model.n_vocab) for draft in lacking]
                    found = read_guesses(model, target.judge, masks, self._n_threads, report)
                for draft, guesses in zip(lacking, found, strict=True):
                    draft.guesses[target.form.label] = guesses

    # Prediction

    def _predict(self, targets: Sequence[_Target], drafts: Sequence[_Draft]) -> list[_Row]:
        self._read(drafts, targets)
        rows: list[_Row] = []
        for target in targets:
            rows.append(self._row(target, None, Mode.OFF))
            rows.append(self._row(target, None, Mode.NGRAM))
            rows += [self._row(target, draft, Mode.AUTO) for draft in drafts]
        return sorted(rows, key=lambda row: -row.candidate.predicted_speedup)

    def _row(self, target: _Target, draft: _Draft | None, mode: Mode) -> _Row:
        costs = PairCosts(
            target.verify,
            draft.curve if draft else None,
            target_pads=target.pads,
            draft_pads=draft.pads if draft else False,
        )
        guesses = draft.guesses[target.form.label] if draft else None
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
            is_untuned=target.form.label == PUBLISHED and _is_untuned(draft, mode, self._request.drafts),
            kl=distance.kl_mean if distance else None,
            top1_agreement=distance.top1_agreement if distance else None,
        )
        return _Row(candidate, target, draft, mode)

    # Fewer blocks

    def _cut_drafts(self, targets: Sequence[_Target], rows: Sequence[_Row]) -> list[_Draft]:
        """Drafts without some blocks, where even with no loss of acceptance they could be the fastest."""
        sources = list(self._request.drafts[:1]) or [self._request.target]
        shares = _CUT_SHARES if self._request.drafts else _OWN_CUT_SHARES
        best = rows[0].candidate.predicted_speedup
        made: list[_Draft] = []
        for source in sources:
            n_blocks = source.meta.block_count or 0
            for n_removed in dict.fromkeys(max(round(share * n_blocks), 1) for share in shares):
                if n_removed >= n_blocks - 1 or not self._has_time(1 - _CONFIRM_SHARE):
                    break
                if self._request.drafts and self._bound(targets, rows, n_removed / n_blocks) <= best:
                    continue
                made += self._cut(source, targets[0], n_removed)
        return made

    def _bound(self, targets: Sequence[_Target], rows: Sequence[_Row], share: float) -> float:
        """What the best drafts would bring with so many blocks less, if they were right as often as before."""
        found = [row for row in rows if row.draft is not None][:1]
        if not found or found[0].draft is None:
            return 0.0
        draft = found[0].draft
        cheaper = CostCurve({rows: (1 - share) * seconds for rows, seconds in draft.curve.points.items()})
        without = replace(draft, curve=cheaper)
        return max(self._row(target, without, Mode.AUTO).candidate.predicted_speedup for target in targets)

    def _cut(self, source: ModelFile, published: _Target, n_removed: int) -> list[_Draft]:
        label = f"{source.name} without {n_removed} blocks"
        report = self._stage(f"looking for {label}")
        try:
            with Model(source.path) as model:
                span = best_span(model, published.fit, n_removed, self._n_threads, report)
            path = find_or_make_cut(source.meta, span, self._text_of(published.fit), self._progress)
        except (EdgespecError, ValueError) as err:
            # An architecture that cannot be cut is no reason to lose the rest.
            self._progress(f"{label}: {err}", 0, 1)
            return []
        blocks = f"{span.first} to {span.last}" if n_removed > 1 else str(span.first)
        forms = [
            DraftForm(
                f"{source.name} without blocks {blocks}, Q4_0",
                source.name,
                path,
                "cut",
                removed_blocks=span.blocks,
            )
        ]
        vocab = open_file(label, path).meta.vocab_size
        if shortlist_for(vocab) is not None:
            words = words_beyond(published.fit, FREQUENT_TOKENS)
            forms = [
                replace(
                    forms[0],
                    label=f"{forms[0].label}, {FREQUENT_TOKENS // 1024}k words",
                    n_frequent=FREQUENT_TOKENS,
                    extra=words,
                )
            ]
        return [self._timed(form) for form in forms]

    # Confirmation

    def _confirm(self, rows: list[_Row]) -> list[_Row]:
        """Measures the best few beside plain decoding and what is done without tuning."""
        chosen = self._finalists(rows)
        with ExitStack() as opened:
            finalists = self._load(chosen, opened)
            report = self._stage(f"measuring {len(chosen)} candidates")
            measured = measure_finalists(
                finalists, self._judge_prompts, ANSWER_TOKENS, has_time=self._has_time, report=report
            )
        found = {id(row): _confirmed(row, one) for row, one in zip(chosen, measured, strict=True)}
        return [found.get(id(row), row) for row in rows]

    def _finalists(self, rows: list[_Row]) -> list[_Row]:
        plain = next(row for row in rows if row.mode is Mode.OFF and row.target.form.label == PUBLISHED)
        untuned = [row for row in rows if row.candidate.is_untuned][:1]
        others = [row for row in rows if row not in (plain, *untuned) and row.mode is not Mode.OFF]
        chosen = [plain, *untuned, *others[: self._request.n_confirmed]]
        # All of them answer every prompt once: as many as the time left is enough for, but always three.
        while len(chosen) > _FEWEST_FINALISTS and self._confirm_s(chosen) > self._left_s():
            chosen.pop()
        return chosen

    def _confirm_s(self, chosen: Sequence[_Row]) -> float:
        """What one round will take: the answers, and about as many tokens of prompts as a target reads in a second."""
        answers_s = sum(ANSWER_TOKENS / row.candidate.predicted_tok_per_s for row in chosen)
        return len(self._judge_prompts) * (answers_s + len(chosen) * _PROMPT_S) + len(chosen) * _LOAD_S

    def _load(self, chosen: Sequence[_Row], opened: ExitStack) -> list[Finalist]:
        """Every target form once, with all of its drafts as they would be kept, word lists and all."""
        settings = EngineSettings(n_ctx=_N_CTX, n_threads=self._n_threads, draft_type=DraftType.AS_IS)
        engines: dict[str, Engine] = {}
        finalists = []
        for number, row in enumerate(chosen):
            form = row.target.form
            if form.label not in engines:
                engines[form.label] = opened.enter_context(
                    Engine(open_file(form.label, form.path), [], settings)
                )
            engine, name = engines[form.label], None
            if row.draft is not None:
                path = derived_file(row.draft.form.path, f"tune-finalist-{number}.gguf")
                opened.callback(path.unlink, missing_ok=True)
                write_draft(row.draft.form, path)
                name = row.draft.form.label
                engine.add_draft(open_file(name, path))
            state = engine.calibrate(name)
            finalists.append(Finalist(engine, row.mode, name, PairState(state.costs, Acceptance())))
        return finalists

    # The end

    def _conclude(self, rows: list[_Row]) -> tuple[TuneOutcome, TargetForm, DraftForm | None]:
        candidates = ranked([row.candidate for row in rows])
        eligible = [
            one
            for one in candidates
            if one.measured_speedup is not None and (one.lowest_category or 0.0) >= 1 / _WORTH_IT
        ]
        best = eligible[0] if eligible else next(one for one in candidates if one.draft == "none")
        row = next(row for row in rows if row.candidate is best)
        outcome = TuneOutcome(
            self._request.target.name,
            "",
            tuple(candidates),
            candidates.index(best),
            _verdict(best, candidates),
            round(self._clock() - self._began, 1),
            self._request.budget_s,
        )
        return outcome, row.target.form, row.draft.form if row.draft else None


def is_worth_keeping(outcome: TuneOutcome) -> bool:
    """Whether the fastest is clearly faster than what `auto` does without tuning."""
    best = outcome.best
    untuned = next((one for one in outcome.candidates if one.is_untuned and one.measured_speedup), None)
    reference = max(untuned.measured_speedup or 1.0, 1.0) if untuned else 1.0
    return (
        not best.is_untuned
        and best.draft != "none"
        and (best.measured_speedup or 0.0) > _WORTH_IT * reference
    )


def _verdict(best: Candidate, candidates: Sequence[Candidate]) -> str:
    untuned = next((one for one in candidates if one.is_untuned and one.measured_speedup), None)
    if best.measured_speedup is None or best.measured_speedup <= _WORTH_IT:
        return "nothing beats plain decoding of the published file here"
    sentence = f"{best.label}: {best.measured_speedup:.2f}x plain decoding of the published file"
    if best.is_untuned:
        return f"{sentence}; that is what auto does without tuning"
    if untuned is not None and untuned.measured_speedup:
        sentence += f", {best.measured_speedup / untuned.measured_speedup:.2f}x what auto does without tuning"
    if best.kl is not None:
        sentence += f"; its text is that of {best.target}, KL {best.kl:.3f} from the published file"
    return sentence


def _confirmed(row: _Row, measured: Measured) -> _Row:
    candidate = with_measurement(
        row.candidate, measured.tok_per_s, measured.speedup, measured.speedup_sd, measured.lowest_category
    )
    return replace(row, candidate=candidate)


def _is_untuned(draft: _Draft | None, mode: Mode, drafts: Sequence[ModelFile]) -> bool:
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
