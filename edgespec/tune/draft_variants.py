"""The variants of a draft: a copy in a fast type, shortlists, fewer blocks, and the distilled one."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from edgespec.catalog.metadata import read_metadata
from edgespec.catalog.model_file import ModelFile
from edgespec.decode.replay import Recording
from edgespec.errors import EdgespecError, UsageError
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.shortlist import FREQUENT_TOKENS, shortlist_for
from edgespec.progress import SILENT, Progress
from edgespec.session.fast_draft import FAST_TYPE, find_or_make_fast_copy, wants_fast_copy
from edgespec.tune.answers import Answers
from edgespec.tune.blocks import best_span, find_or_make_pruned
from edgespec.tune.distillation import find_or_make_distilled
from edgespec.tune.variants import DraftVariant, ShortlistSettings, TargetVariant

SHORTLIST_SIZES: Final = (16_384, 32_768, 65_536)
"""Leading tokens of a draft's shortlist; what the target wrote beyond them is listed besides."""
_REMOVED_SHARES: Final = (1 / 12, 1 / 6)
"""Of a small model's blocks that are tried without."""
_OWN_REMOVED_SHARES: Final = (1 / 3, 1 / 2)
"""Of the target's own, where it is to draft for itself."""


def published_variants(file: ModelFile, recordings: Sequence[Recording]) -> list[DraftVariant]:
    """A small model with all of its blocks: as published, as a Q4_0 copy, and with shortlists.

    Args:
        file: The small model.
        recordings: What the target wrote, for the shortlists.
    """
    name, meta = file.name, file.meta
    is_fast = not wants_fast_copy(meta)
    published = DraftVariant(f"{name}, {meta.quantization}", name, meta.path, "published", is_untuned=is_fast)
    if is_fast and meta.quantization != FAST_TYPE:
        return [published]
    path = meta.path if is_fast else find_or_make_fast_copy(meta.path, n_threads=default_threads())
    label = f"{name}, {FAST_TYPE}"
    listed = DraftVariant(label, name, path, "shortlist")
    variants = [published]
    if not is_fast:
        auto_lists = shortlist_for(meta.vocab_size) is not None
        variants.append(replace(listed, kind="fast copy", is_untuned=not auto_lists))
        if auto_lists:
            shortlist = ShortlistSettings(FREQUENT_TOKENS)
            variants.append(
                replace(listed, label=f"{label}, auto's words", is_untuned=True, shortlist=shortlist)
            )
    for size in SHORTLIST_SIZES:
        if shortlist_for(meta.vocab_size, size) is not None:
            variants.append(with_shortlist(listed, size, recordings))
    return variants


def with_shortlist(variant: DraftVariant, n_frequent: int, recordings: Sequence[Recording]) -> DraftVariant:
    """The variant with a shortlist of the leading tokens and of all others that the target wrote."""
    shortlist = ShortlistSettings(n_frequent, tokens_beyond(recordings, n_frequent))
    return replace(variant, label=f"{variant.label}, {n_frequent // 1024}k words", shortlist=shortlist)


def tokens_beyond(recordings: Sequence[Recording], n_frequent: int) -> tuple[int, ...]:
    """Tokens from `n_frequent` on that the target wrote, the most frequent first."""
    counts = Counter(token for one in recordings for token in one.tokens if token >= n_frequent)
    return tuple(token for token, _ in counts.most_common())


def removable_counts(n_blocks: int, *, drafts_for_itself: bool) -> Iterator[int]:
    """How many blocks of a draft are removed in turn.

    A small model of 24 blocks is tried without 2 and without 4 of them; a target of 30 that is to draft for itself
    without 10 and without 15.
    """
    shares = _OWN_REMOVED_SHARES if drafts_for_itself else _REMOVED_SHARES
    for n_removed in dict.fromkeys(max(round(share * n_blocks), 1) for share in shares):
        if n_removed < n_blocks - 1:
            yield n_removed


def pruned_variant(
    source: ModelFile,
    n_removed: int,
    answers: Answers,
    n_threads: int,
    progress: Progress = SILENT,
) -> DraftVariant | None:
    """A model without those of its blocks that it misses least, in Q4_0; None where it cannot be pruned.

    Args:
        source: A small model, or the target itself.
        n_removed: Blocks.
        answers: Of the target.
        n_threads: Of the CPU.
        progress: Several stages; says why where nothing is made.
    """
    name = source.name
    try:
        with Model(source.path) as model:
            span = best_span(model, answers.fit, n_removed, n_threads, progress)
        path = find_or_make_pruned(source.meta, span, answers.fit_text(), progress)
    except (EdgespecError, ValueError) as err:
        # An architecture that cannot be pruned is not a reason to lose the rest.
        progress.stage(f"{name} without {n_removed} blocks: {err}")
        return None
    blocks = f"{span.first} to {span.last}" if n_removed > 1 else f"{span.first}"
    label = f"{name} without blocks {blocks}, {FAST_TYPE}"
    variant = DraftVariant(label, name, path, "pruned", removed_blocks=tuple(span.blocks))
    if shortlist_for(read_metadata(path).vocab_size) is None:
        return variant
    return with_shortlist(variant, FREQUENT_TOKENS, answers.fit)


def distilled_variant(
    source: ModelFile,
    like: DraftVariant,
    target: TargetVariant,
    n_threads: int,
    has_time: Callable[[], bool],
    progress: Progress = SILENT,
) -> DraftVariant | None:
    """A variant of a small model with its last blocks trained on what the target says; None where it cannot be.

    Args:
        source: The small model as published.
        like: In Q4_0; its shortlist is taken over.
        target: The target variant that is to be agreed with.
        n_threads: Of the CPU.
        has_time: Whether more distillation data may be written.
        progress: Several stages; says why where nothing is made.
    """
    label = f"{like.label}, taught"
    try:
        path = find_or_make_distilled(source.meta, like.path, target, n_threads, has_time, progress)
    except UsageError as err:
        # An architecture without gradients is not a reason to lose the rest.
        progress.stage(f"{label}: {err}")
        return None
    return replace(like, label=label, path=path, kind="distilled", is_untuned=False)
