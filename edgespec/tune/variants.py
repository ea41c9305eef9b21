"""The forms that a target and its drafts are tried in: other types, shorter word lists, fewer blocks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np

from edgespec.catalog.metadata import GgufMetadata, is_whole, read_metadata
from edgespec.decode.replay import Recording
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from edgespec.llama.quantizer import QuantizeSettings
from edgespec.llama.shortlist import FREQUENT_TOKENS, shortlist_for
from edgespec.paths import derived_file
from edgespec.session.fast_draft import FAST_TYPE, find_or_make_fast_copy, wants_fast_copy
from edgespec.session.loading import SHORTLIST_EXTRA_KEY, SHORTLIST_KEY
from quant.convert.quantize import quantize_model
from quant.gguf.fields import FieldValue
from quant.gguf.plan import copy_of
from quant.gguf.recipe import stamp
from quant.gguf.writer import write_gguf
from quant.measure.evaluate import Distance, evaluate
from quant.measure.imatrix import importance_of, measure
from quant.progress import FromStages, StageProgress
from quant.text.windows import Tokens

PUBLISHED: Final = "as published"
LIST_SIZES: Final = (16_384, 32_768, 65_536)
"""Leading tokens of a draft's word list; what the target wrote beyond them is listed besides."""
TARGET_TYPES: Final[dict[str, QuantizeSettings]] = {
    "Q4_0": QuantizeSettings("Q4_0", pure=True),
    "Q4_K": QuantizeSettings("Q4_K_S", pure=True),
}
"""Types that a target may be rewritten in: those whose batches are cheap in llama.cpp and in edgespec's kernels."""
_WINDOW_TOKENS = 256


@dataclass(frozen=True, slots=True)
class TargetForm:
    """The target in some types."""

    label: str
    path: Path
    distance: Distance | None
    """From the published file, on what that one writes; None for the published file itself."""


@dataclass(frozen=True, slots=True)
class DraftForm:
    """A draft as it would be run."""

    label: str
    source: str
    """Name of the model that it is made from."""
    path: Path
    kind: Literal["published", "copy", "list", "cut", "taught"]
    is_untuned: bool = False
    """Whether `auto` would take it like that."""
    n_frequent: int | None = None
    """Leading tokens of its word list; None for all tokens."""
    extra: tuple[int, ...] = ()
    removed_blocks: tuple[int, ...] = ()


def make_target_form(
    meta: GgufMetadata,
    type_label: str,
    recordings: Sequence[Recording],
    text: str,
    progress: StageProgress,
) -> TargetForm:
    """The target rewritten in another type, with its importance measured on its own text; made once.

    Raises:
        EdgespecError: any error of `quant.convert.quantize.quantize_model` and `quant.measure.evaluate.evaluate`.
    """
    file = derived_file(meta.path, f"tune-{type_label.lower()}.gguf")
    if not is_whole(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with Model(meta.path, Placement()) as model:
            moments = measure(model, meta, packed_windows(recordings), progress=FromStages(progress))
        settings = replace(TARGET_TYPES[type_label], importance=importance_of(moments))
        quantize_model(
            meta,
            settings,
            file,
            calibration="the model's own answers",
            force=True,
            progress=FromStages(progress),
        )
    label = f"comparing {type_label} with the published file"
    quality = evaluate(file, text, against=meta.path, n_chunks=2, label=label, progress=FromStages(progress))
    return TargetForm(type_label, file, quality.distance)


def packed_windows(recordings: Sequence[Recording]) -> Tokens:
    """Questions and answers one after the other, cut into windows, (n, 256)."""
    tokens = np.concatenate([np.array([*one.prompt, *one.tokens], np.int32) for one in recordings])
    count = max(len(tokens) // _WINDOW_TOKENS, 1)
    return np.resize(tokens, count * _WINDOW_TOKENS).reshape(count, _WINDOW_TOKENS)


def draft_forms(name: str, meta: GgufMetadata, recordings: Sequence[Recording]) -> list[DraftForm]:
    """A small model as published, as a Q4_0 copy, and with word lists by what the target wrote."""
    is_fast = not wants_fast_copy(meta)
    published = DraftForm(f"{name}, {meta.quantization}", name, meta.path, "published", is_untuned=is_fast)
    if is_fast and meta.quantization != FAST_TYPE:
        return [published]
    copy = meta.path if is_fast else find_or_make_fast_copy(meta.path, n_threads=default_threads())
    label = f"{name}, {FAST_TYPE}"
    has_list = shortlist_for(meta.vocab_size) is not None and not is_fast
    forms = [published]
    if not is_fast:
        forms.append(DraftForm(label, name, copy, "copy", is_untuned=not has_list))
    if has_list:
        forms.append(DraftForm(f"{label}, auto's words", name, copy, "list", True, FREQUENT_TOKENS))
    for size in LIST_SIZES:
        if shortlist_for(meta.vocab_size, size) is not None:
            extra = words_beyond(recordings, size)
            forms.append(DraftForm(f"{label}, {size // 1024}k words", name, copy, "list", False, size, extra))
    return forms


def words_beyond(recordings: Sequence[Recording], n_frequent: int) -> tuple[int, ...]:
    """Tokens from `n_frequent` on that the target wrote, the most frequent first."""
    counts = Counter(token for one in recordings for token in one.tokens if token >= n_frequent)
    return tuple(token for token, _ in counts.most_common())


def write_draft(form: DraftForm, destination: Path) -> None:
    """The draft as a file that carries its word list and how it was made.

    Raises:
        DiskSpaceError: no room for the file.
        UsageError: the destination cannot be written.
    """
    meta = read_metadata(form.path)
    plan = copy_of(meta)
    step: dict[str, object] = {
        "step": "tune",
        "form": form.label,
        "removed_blocks": list(form.removed_blocks),
    }
    if form.n_frequent is not None:
        step["words"] = form.n_frequent
        plan = replace(
            plan,
            edits={
                **plan.edits,
                SHORTLIST_KEY: FieldValue("u32", form.n_frequent),
                SHORTLIST_EXTRA_KEY: FieldValue("i32", form.extra),
            },
        )
    destination.parent.mkdir(parents=True, exist_ok=True)
    write_gguf(stamp(plan, step), destination, force=True)
