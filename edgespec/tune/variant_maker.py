"""Makes the forms that a search compares: of the target, of drafts, with fewer blocks, or taught."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from edgespec.catalog.model_file import ModelFile, open_file
from edgespec.decode.costs import CostCurve
from edgespec.decode.policy import Mode
from edgespec.decode.replay import Recording
from edgespec.errors import EdgespecError, UsageError
from edgespec.llama.model import Model
from edgespec.llama.shortlist import FREQUENT_TOKENS, shortlist_for
from edgespec.tune.blocks import best_span, find_or_make_cut
from edgespec.tune.distillation import find_or_make_taught
from edgespec.tune.request import TuneRequest
from edgespec.tune.variants import (
    PUBLISHED,
    TARGET_TYPES,
    DraftForm,
    TargetForm,
    draft_forms,
    make_target_form,
    words_beyond,
)
from edgespec.tune.workbench import Row, TimedDraft, TimedTarget, Workbench
from quant.progress import StageProgress

_CUT_SHARES = (1 / 12, 1 / 6)
"""Of a small model's blocks that are tried without."""
_OWN_CUT_SHARES = (1 / 3, 1 / 2)
"""Of the target's own, where it is to draft for itself."""


class Maker:
    """Makes and times forms.

    Args:
        request: What is to be tuned.
        bench: Times what is made.
        progress: Told about every stage.
        has_time: Whether another form may be begun.
    """

    def __init__(
        self,
        request: TuneRequest,
        bench: Workbench,
        progress: StageProgress,
        has_time: Callable[[], bool],
    ) -> None:
        self._request, self._bench, self._progress, self._has_time = request, bench, progress, has_time

    # The target's forms

    def targets(self) -> list[TimedTarget]:
        """The published file with its answers, and the others with their costs.

        Raises:
            EdgespecError: whatever quantizing raises.
        """
        meta = self._request.target.meta
        published = self._bench.time_target(TargetForm(PUBLISHED, meta.path, None))
        targets = [published]
        if self._request.requantizes:
            text = self._text_of(published.fit)
            for label in TARGET_TYPES:
                if label == meta.quantization or not self._has_time():
                    continue
                form = make_target_form(meta, label, published.fit, text, self._progress)
                targets.append(self._bench.time_target(form, published))
        return targets

    def _text_of(self, recordings: Sequence[Recording]) -> str:
        with Model(self._request.target.path, weights=False) as model:
            pieces = [
                b"".join(model.token_bytes(token) for token in (*one.prompt, *one.tokens))
                for one in recordings
            ]
        return "\n".join(piece.decode("utf-8", "replace") for piece in pieces)

    # The drafts' forms

    def drafts(self, published: TimedTarget) -> list[TimedDraft]:
        """Every small model in the forms of `draft_forms`."""
        forms: list[DraftForm] = []
        for file in self._request.drafts:
            self._progress(f"making forms of {file.name}", 0, 1)
            forms += draft_forms(file.name, file.meta, published.fit)
        return [self._bench.time_form(form) for form in forms]

    # Fewer blocks

    def cut_drafts(self, targets: Sequence[TimedTarget], rows: Sequence[Row]) -> list[TimedDraft]:
        """Drafts without some blocks, where even with no loss of acceptance they could be the fastest."""
        sources = list(self._request.drafts[:1]) or [self._request.target]
        shares = _CUT_SHARES if self._request.drafts else _OWN_CUT_SHARES
        best = rows[0].candidate.predicted_speedup
        made: list[TimedDraft] = []
        for source in sources:
            n_blocks = source.meta.block_count or 0
            for n_removed in dict.fromkeys(max(round(share * n_blocks), 1) for share in shares):
                if n_removed >= n_blocks - 1 or not self._has_time():
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

    # Taught by the target

    def taught_drafts(self, rows: Sequence[Row]) -> list[TimedDraft]:
        """The first small model, taught by the form of the target that promises most, with the word list that does best."""
        source, teacher = self._request.drafts[0], rows[0].target.form
        forms = (row.draft.form for row in rows if row.draft is not None)
        like = next(
            (one for one in forms if one.source == source.name and one.kind in {"copy", "list"}), None
        )
        if like is None:
            return []
        try:
            path = find_or_make_taught(
                source.meta,
                like.path,
                teacher,
                self._bench.n_threads,
                self._progress,
                self._has_time,
            )
        except UsageError as err:
            # An architecture without gradients is no reason to lose the rest.
            self._progress(f"{like.label}, taught: {err}", 0, 1)
            return []
        taught = replace(like, label=f"{like.label}, taught", path=path, kind="taught", is_untuned=False)
        return [self._bench.time_form(taught)]
