"""The search: record, make, predict, confirm the best, keep the winner."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from statistics import mean

from edgespec.bench.arm import ArmSpec
from edgespec.bench.old_progress import ReportedProgress
from edgespec.catalog.model_file import open_file
from edgespec.decode.policy import Mode
from edgespec.llama.library import default_threads
from edgespec.paths import derived_file
from edgespec.session.engine import Engine
from edgespec.session.settings import DraftType, EngineSettings
from edgespec.tune.confirm import FinalistFigures, measure_finalists
from edgespec.tune.outcome import WORTH_IT, TuneOutcome, ranked, verdict_of, with_measurement
from edgespec.tune.recordings import ANSWER_TOKENS
from edgespec.tune.request import TuneRequest
from edgespec.tune.variant_maker import Maker
from edgespec.tune.variants import (
    PUBLISHED,
    DraftForm,
    TargetForm,
    write_draft,
)
from edgespec.tune.workbench import N_CTX, Row, TimedDraft, TimedTarget, Workbench
from quant.progress import StageProgress

_CONFIRM_SHARE = 0.45
"""Of the budget, left for the benchmark at the end."""
_FEWEST_FINALISTS = 3
_SPARE = 0.1
"""Of the time left, not planned with: ten finalists took 4 % of the budget more than was reckoned."""
_LOAD_S = 6.0
"""Of a finalist: loading and timing it, for a model of 1.5B on two cores."""
_PROMPT_ROWS = 16
"""A prompt's tokens cost no more each than those of so many rows."""


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
        request.check()
        self._request, self._progress, self._clock = request, progress, clock
        self._began = clock()
        self._bench = Workbench(
            request.target.path, request.drafts, request.n_threads or default_threads(), progress
        )
        self._make = Maker(request, self._bench, progress, self._has_time)

    def run(self) -> tuple[TuneOutcome, TargetForm, DraftForm | None]:
        """Searches; the outcome is not stored yet.

        Returns:
            The outcome, and the forms of the winner.

        Raises:
            EdgespecError: whatever a stage raises; what was made is kept for the next search.
        """
        with self._bench:
            targets = self._make.targets()
            drafts = self._make.drafts(targets[0])
            rows = self._predict(targets, drafts)
            if self._has_time():
                drafts += self._make.cut_drafts(targets, rows)
                rows = self._predict(targets, drafts)
            if self._has_time():
                targets = self._record_best(targets, rows)
                rows = self._predict(targets, drafts)
            if self._request.distills:
                drafts += self._make.taught_drafts(rows)
                rows = self._predict(targets, drafts)
        rows = self._confirm(rows)
        return self._conclude(rows)

    def _left_s(self) -> float:
        return self._request.budget_s - (self._clock() - self._began)

    def _has_time(self) -> bool:
        """Whether enough is left to confirm what is known after one more form."""
        return self._left_s() > _CONFIRM_SHARE * self._request.budget_s

    def _record_best(self, targets: Sequence[TimedTarget], rows: Sequence[Row]) -> list[TimedTarget]:
        """The targets, with answers of its own for the form that promises most: only that one is worth the time."""
        best = rows[0].target
        return [self._bench.record(one) if one is best else one for one in targets]

    # Prediction

    def _predict(self, targets: Sequence[TimedTarget], drafts: Sequence[TimedDraft]) -> list[Row]:
        self._bench.read(drafts, targets)
        rows: list[Row] = []
        for target in targets:
            rows.append(self._bench.predict(target, None, Mode.OFF))
            rows.append(self._bench.predict(target, None, Mode.NGRAM))
            rows += [self._bench.predict(target, draft, Mode.AUTO) for draft in drafts]
        return sorted(rows, key=lambda row: -row.candidate.predicted_speedup)

    # Confirmation

    def _confirm(self, rows: list[Row]) -> list[Row]:
        """Measures the best few beside plain decoding and what is done without tuning."""
        chosen = self._finalists(rows)
        with ExitStack() as opened:
            finalists = self._load(chosen, opened)
            measured = measure_finalists(
                finalists,
                self._bench.judge_prompts,
                ANSWER_TOKENS,
                has_time=lambda: self._left_s() > 0,
                progress=ReportedProgress(self._progress),
            )
        # One that wrote what its target would not have written is not a candidate, however fast.
        found = {
            id(row): _confirmed(row, one)
            for row, one in zip(chosen, measured, strict=True)
            if one.is_faithful
        }
        return [found.get(id(row), row) for row in rows]

    def _finalists(self, rows: list[Row]) -> list[Row]:
        plain = next(row for row in rows if row.mode is Mode.OFF and row.target.form.label == PUBLISHED)
        untuned = [row for row in rows if row.candidate.is_untuned][:1]
        others = [row for row in rows if row not in (plain, *untuned) and row.mode is not Mode.OFF]
        chosen = [plain, *untuned, *others[: self._request.n_confirmed]]
        # All of them answer a prompt of every kind: as many as the time left is enough for, but always three.
        while len(chosen) > _FEWEST_FINALISTS and self._confirm_s(chosen) > (1 - _SPARE) * self._left_s():
            chosen.pop()
        return chosen

    def _confirm_s(self, chosen: Sequence[Row]) -> float:
        """What one prompt of every category will take, as an average one does, and loading before."""
        seconds = sum(
            row.target.verify.cost(_PROMPT_ROWS)
            / _PROMPT_ROWS
            * mean(len(one.prompt) for one in row.target.judge)
            + ANSWER_TOKENS / row.candidate.predicted_tok_per_s
            for row in chosen
        )
        n_categories = len({one.category for one in self._bench.judge_prompts})
        return n_categories * seconds + len(chosen) * _LOAD_S

    def _load(self, chosen: Sequence[Row], opened: ExitStack) -> list[ArmSpec]:
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
            state = engine.measure_costs(name)
            label = f"{row.candidate.target} + {row.candidate.draft}"
            finalists.append(ArmSpec(label, engine, row.mode, name, state))
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


def _confirmed(row: Row, measured: FinalistFigures) -> Row:
    candidate = with_measurement(
        row.candidate, measured.tok_per_s, measured.speedup, measured.speedup_sd, measured.lowest_category
    )
    return replace(row, candidate=candidate)
