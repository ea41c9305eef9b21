"""The search: record, make, predict, confirm the best, keep the winner."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgespec.catalog.compatibility import check_draft
from edgespec.decode.acceptance import Acceptance
from edgespec.decode.costs import CostCurve
from edgespec.decode.policy import Mode
from edgespec.decode.replay import Recording
from edgespec.errors import EdgespecError, IncompatibleDraftError, UsageError
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.shortlist import FREQUENT_TOKENS, shortlist_for
from edgespec.paths import derived_file
from edgespec.session.engine import Engine, PairState
from edgespec.session.loading import ModelFile, open_file
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
from edgespec.tune.outcome import WORTH_IT, TuneOutcome, ranked, verdict_of, with_measurement
from edgespec.tune.recordings import ANSWER_TOKENS
from edgespec.tune.workbench import N_CTX, Row, TimedDraft, TimedTarget, Workbench
from quant.calibration import StageProgress

LEAST_BUDGET_S: Final = 120.0
"""Less would not even record and confirm."""
_CONFIRM_SHARE = 0.45
"""Of the budget, left for the benchmark at the end."""
_FEWEST_FINALISTS = 3
_PROMPT_S, _LOAD_S = 1.5, 6.0
"""Of a finalist: reading a prompt of some hundred tokens, and loading and timing it, for a model of 1.5B on two cores."""
_CUT_SHARES = (1 / 12, 1 / 6)
"""Of a small model's blocks that are tried without."""
_OWN_CUT_SHARES = (1 / 3, 1 / 2)
"""Of the target's own, where it is to draft for itself."""


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
        self._bench = Workbench(request.drafts, request.n_threads or default_threads(), progress)

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

    # The target's forms

    def _targets(self) -> list[TimedTarget]:
        meta = self._request.target.meta
        published = self._bench.record_target(TargetForm(PUBLISHED, meta.path, None))
        targets = [published]
        if self._request.requantizes:
            text = self._text_of(published.fit)
            for label in TARGET_TYPES:
                if label == meta.quantization or not self._has_time(1 - _CONFIRM_SHARE):
                    continue
                form = make_target_form(meta, label, published.fit, text, self._progress)
                targets.append(self._bench.record_target(form))
        return targets

    def _text_of(self, recordings: Sequence[Recording]) -> str:
        with Model(self._request.target.path, weights=False) as model:
            pieces = [
                b"".join(model.token_bytes(token) for token in (*one.prompt, *one.tokens))
                for one in recordings
            ]
        return "\n".join(piece.decode("utf-8", "replace") for piece in pieces)

    # The drafts' forms

    def _drafts(self, published: TimedTarget) -> list[TimedDraft]:
        forms: list[DraftForm] = []
        for file in self._request.drafts:
            self._progress(f"making forms of {file.name}", 0, 1)
            forms += draft_forms(file.name, file.meta, published.fit)
        return [self._bench.time_form(form) for form in forms]

    # Prediction

    def _predict(self, targets: Sequence[TimedTarget], drafts: Sequence[TimedDraft]) -> list[Row]:
        self._bench.read(drafts, targets)
        rows: list[Row] = []
        for target in targets:
            rows.append(self._bench.predict(target, None, Mode.OFF))
            rows.append(self._bench.predict(target, None, Mode.NGRAM))
            rows += [self._bench.predict(target, draft, Mode.AUTO) for draft in drafts]
        return sorted(rows, key=lambda row: -row.candidate.predicted_speedup)

    # Fewer blocks

    def _cut_drafts(self, targets: Sequence[TimedTarget], rows: Sequence[Row]) -> list[TimedDraft]:
        """Drafts without some blocks, where even with no loss of acceptance they could be the fastest."""
        sources = list(self._request.drafts[:1]) or [self._request.target]
        shares = _CUT_SHARES if self._request.drafts else _OWN_CUT_SHARES
        best = rows[0].candidate.predicted_speedup
        made: list[TimedDraft] = []
        for source in sources:
            n_blocks = source.meta.block_count or 0
            for n_removed in dict.fromkeys(max(round(share * n_blocks), 1) for share in shares):
                if n_removed >= n_blocks - 1 or not self._has_time(1 - _CONFIRM_SHARE):
                    break
                if self._request.drafts and self._bound(targets, rows, n_removed / n_blocks) <= best:
                    continue
                made += self._cut(source, targets[0], n_removed)
        return made

    def _bound(self, targets: Sequence[TimedTarget], rows: Sequence[Row], share: float) -> float:
        """What the best drafts would bring with so many blocks less, if they were right as often as before."""
        found = [row for row in rows if row.draft is not None][:1]
        if not found or found[0].draft is None:
            return 0.0
        draft = found[0].draft
        cheaper = CostCurve({rows: (1 - share) * seconds for rows, seconds in draft.curve.points.items()})
        without = replace(draft, curve=cheaper)
        return max(
            self._bench.predict(target, without, Mode.AUTO).candidate.predicted_speedup for target in targets
        )

    def _cut(self, source: ModelFile, published: TimedTarget, n_removed: int) -> list[TimedDraft]:
        label = f"{source.name} without {n_removed} blocks"
        report = self._bench.stage(f"looking for {label}")
        try:
            with Model(source.path) as model:
                span = best_span(model, published.fit, n_removed, self._bench.n_threads, report)
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
        return [self._bench.time_form(form) for form in forms]

    # Confirmation

    def _confirm(self, rows: list[Row]) -> list[Row]:
        """Measures the best few beside plain decoding and what is done without tuning."""
        chosen = self._finalists(rows)
        with ExitStack() as opened:
            finalists = self._load(chosen, opened)
            report = self._bench.stage(f"measuring {len(chosen)} candidates")
            measured = measure_finalists(
                finalists, self._bench.judge_prompts, ANSWER_TOKENS, has_time=self._has_time, report=report
            )
        found = {id(row): _confirmed(row, one) for row, one in zip(chosen, measured, strict=True)}
        return [found.get(id(row), row) for row in rows]

    def _finalists(self, rows: list[Row]) -> list[Row]:
        plain = next(row for row in rows if row.mode is Mode.OFF and row.target.form.label == PUBLISHED)
        untuned = [row for row in rows if row.candidate.is_untuned][:1]
        others = [row for row in rows if row not in (plain, *untuned) and row.mode is not Mode.OFF]
        chosen = [plain, *untuned, *others[: self._request.n_confirmed]]
        # All of them answer every prompt once: as many as the time left is enough for, but always three.
        while len(chosen) > _FEWEST_FINALISTS and self._confirm_s(chosen) > self._left_s():
            chosen.pop()
        return chosen

    def _confirm_s(self, chosen: Sequence[Row]) -> float:
        """What one round will take: the answers, and about as many tokens of prompts as a target reads in a second."""
        answers_s = sum(ANSWER_TOKENS / row.candidate.predicted_tok_per_s for row in chosen)
        return len(self._bench.judge_prompts) * (answers_s + len(chosen) * _PROMPT_S) + len(chosen) * _LOAD_S

    def _load(self, chosen: Sequence[Row], opened: ExitStack) -> list[Finalist]:
        """Every target form once, with all of its drafts as they would be kept, word lists and all."""
        settings = EngineSettings(n_ctx=N_CTX, n_threads=self._bench.n_threads, draft_type=DraftType.AS_IS)
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
                opened.callback(_forget, path)
                write_draft(row.draft.form, path)
                name = row.draft.form.label
                engine.add_draft(open_file(name, path))
            state = engine.calibrate(name)
            finalists.append(Finalist(engine, row.mode, name, PairState(state.costs, Acceptance())))
        return finalists

    # The end

    def _conclude(self, rows: list[Row]) -> tuple[TuneOutcome, TargetForm, DraftForm | None]:
        candidates = ranked([row.candidate for row in rows])
        eligible = [
            one
            for one in candidates
            if one.measured_speedup is not None and (one.lowest_category or 0.0) >= 1 / WORTH_IT
        ]
        best = eligible[0] if eligible else next(one for one in candidates if one.draft == "none")
        row = next(row for row in rows if row.candidate is best)
        outcome = TuneOutcome(
            self._request.target.name,
            "",
            tuple(candidates),
            candidates.index(best),
            verdict_of(best, candidates),
            round(self._clock() - self._began, 1),
            self._request.budget_s,
        )
        return outcome, row.target.form, row.draft.form if row.draft else None


def _forget(path: Path) -> None:
    # A system that does not let go of a mapped file keeps this one in the cache; the next search writes it anew.
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _confirmed(row: Row, measured: Measured) -> Row:
    candidate = with_measurement(
        row.candidate, measured.tok_per_s, measured.speedup, measured.speedup_sd, measured.lowest_category
    )
    return replace(row, candidate=candidate)
