"""Quantizes a model with llama.cpp's own quantizer, and puts the recipe into the file."""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from edgespec.catalog.gguf_types import BLOCKS
from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.catalog.model_file import ModelFile
from edgespec.errors import ModelFileError, UsageError
from edgespec.files import scratch_folder
from edgespec.llama.library import default_threads
from edgespec.llama.quantizer import (
    ALIGNMENT_KEY,
    QuantizeSettings,
    file_types,
    planned_types,
    quantize_file,
)
from edgespec.llama.tensor_types import TYPE_NUMBERS
from edgespec.progress import SILENT, Progress
from edgespec.text import human_bytes
from quant.convert.wishes import (
    FLOATS,
    NEVER_NEED_IMPORTANCE,
    check_rows,
    describe_unmet,
    importance_warnings,
    unmet_wishes,
)
from quant.gguf.plan import copy_of
from quant.gguf.recipe import RECIPE_KEY, Step, stamp
from quant.gguf.sizes import bytes_read_per_token
from quant.gguf.writer import check_destination, check_free_space, write_gguf

NEED_IMPORTANCE: Final = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "Q2_K_S", "IQ3_XXS"})
"""llama.cpp refuses these without an importance matrix (tools/quantize/quantize.cpp)."""

_TYPES_THAT_NEED_IMPORTANCE: Final = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS"})
"""Of single tensors (`tensor_requires_imatrix` in src/llama-quant.cpp)."""


@dataclass(frozen=True, slots=True)
class PlannedType:
    """What a quantization will store in one type."""

    n_tensors: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class PlannedTypes:
    """What a quantization will give."""

    types: Mapping[str, PlannedType]
    """By the type's name."""
    n_bytes: int
    """Of all weights."""
    n_params: int
    predicted_speedup: float
    """Bytes that decoding reads for a token, those of the source over those of the result."""
    unmet: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Patterns that give some of their tensors another type than they say, with these tensors."""
    warnings: tuple[str, ...] = ()
    """What of the settings does not come as it was asked."""

    @property
    def bpw(self) -> float:
        """Mean bits per weight."""
        return 8 * self.n_bytes / self.n_params


def check_settings(settings: QuantizeSettings, *, has_importance: bool) -> None:
    """Refuses types and patterns that llama.cpp does not know.

    Args:
        settings: Those of the run; their importance may still be to be measured.
        has_importance: Whether there is or will be an importance matrix.

    Raises:
        UsageError: names the value and its nearest neighbours.
    """
    _check_name("`type`", settings.file_type, list(file_types()))
    for setting, name in (
        ("`output_type`", settings.output_type),
        ("`embedding_type`", settings.embedding_type),
    ):
        if name is not None:
            _check_name(setting, name, list(TYPE_NUMBERS))
    for pattern, name in settings.tensor_types:
        _check_name("`tensor`", name, list(TYPE_NUMBERS))
        try:
            re.compile(pattern)
        except re.error as error:
            raise UsageError(
                f"`tensor` {pattern!r} is not a regular expression: {error}", "such as ffn_down=Q6_K"
            ) from None
    if settings.file_type in NEED_IMPORTANCE and not has_importance:
        raise UsageError(
            f"{settings.file_type} needs an importance matrix", "give `imatrix` FILE or `calibrate` TEXT"
        )


def plan_types(
    meta: GgufMetadata, settings: QuantizeSettings, *, importance_follows: bool = False
) -> PlannedTypes:
    """The types and sizes that come of it, by llama.cpp's dry run.

    Args:
        meta: Of the source.
        settings: Checked by `check_settings`.
        importance_follows: The importance matrix is still to be measured.

    Raises:
        ModelFileError: the file has no weights.
        UsageError: a tensor's type needs an importance matrix (`tensor_requires_imatrix` in llama-quant.cpp), the matrix is
            of another model, or a wish for some tensors has no effect.
        EngineError: llama.cpp refused.
    """
    if not meta.weights_bytes:
        raise ModelFileError(
            f"{meta.path.name} is a file without weights, of which nothing can be quantized",
            "name the model itself; `edgespec show` lists what a file holds",
        )
    check_rows(meta, settings)
    changed = planned_types(meta.path, settings)
    importance_said = importance_warnings(meta, settings.importance, changed)
    if not importance_follows:
        _check_importance(changed, settings.importance)
    chosen = {tensor.name: changed.get(tensor.name, tensor.ggml_type) for tensor in meta.tensors}
    unmet = unmet_wishes(meta, settings, chosen)
    warnings = [*describe_unmet(unmet, chosen), *importance_said]
    types: dict[str, PlannedType] = {}
    before = {tensor.name: tensor.n_bytes for tensor in meta.tensors}
    after: dict[str, int] = {}
    for tensor in meta.tensors:
        name = chosen[tensor.name]
        block, block_bytes = BLOCKS[name]
        after[tensor.name] = size = tensor.n_elements // block * block_bytes
        so_far = types.get(name, PlannedType(0, 0))
        types[name] = PlannedType(so_far.n_tensors + 1, so_far.n_bytes + size)
    speedup = bytes_read_per_token(before) / max(1, bytes_read_per_token(after))
    return PlannedTypes(types, sum(after.values()), meta.parameter_count, speedup, unmet, tuple(warnings))


def describe_types(file: ModelFile, file_type: str, planned: PlannedTypes) -> list[tuple[str, str]]:
    """What is to be said of a quantization, each with a word for what it is."""
    meta = file.meta
    lines = [
        ("model", f"{file.name}, {meta.quantization}, {human_bytes(meta.weights_bytes)} of weights"),
        ("becomes", f"{file_type}, {human_bytes(planned.n_bytes)} of weights, {planned.bpw:.2f} bpw"),
        *(
            ("", f"{name:<7} {one.n_tensors:>4} tensors, {human_bytes(one.n_bytes)}")
            for name, one in planned.types.items()
        ),
        ("predicted", f"{planned.predicted_speedup:.2f} times the decoding speed, by the bytes read"),
    ]
    note = source_note(meta)
    return [*lines, *(("warning", text) for text in planned.warnings), *([("note", note)] if note else [])]


def quantized_name(source: Path, file_type: str) -> str:
    """What the new file is called when nobody names it."""
    return f"{source.stem}-{file_type}.gguf"


def source_note(meta: GgufMetadata) -> str:
    """What a source that is quantized already means for the result; empty where most of it is in floats."""
    in_floats = sum(tensor.n_bytes for tensor in meta.tensors if tensor.ggml_type in FLOATS)
    if 2 * in_floats >= meta.weights_bytes:
        return ""
    return (
        f"the source is {meta.quantization} already, and its errors add to the new ones; "
        "the F16 original would lose less"
    )


def quantize_model(
    meta: GgufMetadata,
    settings: QuantizeSettings,
    destination: Path,
    *,
    calibration: str = "",
    force: bool = False,
    progress: Progress = SILENT,
) -> GgufMetadata:
    """Writes the model in other types, with its recipe continued.

    Args:
        meta: Of the source.
        settings: Checked by `check_settings`.
        destination: The new file; it appears only when it is whole.
        calibration: Where the importance came from, for the recipe.
        force: Replace an existing file.
        progress: Gets the stages "quantizing", in tensors, and "writing", in bytes.

    Returns:
        The new file's header.

    Raises:
        UsageError: the destination exists or cannot be.
        EngineError: llama.cpp refused.
        DiskSpaceError: the disk has no room for the file.
    """
    planned = plan_types(meta, settings)
    check_place(destination, planned.n_bytes, force=force)
    step: Step = {
        "step": "quantize",
        "type": settings.file_type,
        "output_type": settings.output_type,
        "embedding_type": settings.embedding_type,
        "pure": settings.pure,
        "overrides": [f"{pattern}={name}" for pattern, name in settings.tensor_types],
        "importance": calibration or "none",
    }
    if planned.unmet:
        step["overrides_unmet"] = {wish: list(names) for wish, names in planned.unmet.items()}
    with scratch_folder(destination.parent) as folder:
        raw = folder / "quantized.gguf"
        progress.stage("quantizing", len(meta.tensors))
        quantize_file(meta.path, raw, settings, n_threads=default_threads(), progress=progress)
        recipe = stamp(copy_of(meta), step).edits[RECIPE_KEY]
        plan = copy_of(read_metadata(raw))
        # What the quantizer adds says nothing new where the source left it out.
        unsaid = {} if ALIGNMENT_KEY in meta.fields else {ALIGNMENT_KEY: None}
        plan = replace(plan, edits={**plan.edits, **unsaid, RECIPE_KEY: recipe})
        write_gguf(plan, destination, force=force, progress=progress)
    return read_metadata(destination)


def check_place(destination: Path, n_bytes: int, *, force: bool) -> None:
    """Refuses a place where no quantized file of that size can be.

    Raises:
        UsageError: it exists and `force` is not set, is a folder, or has no folder.
        DiskSpaceError: the disk has no room.
    """
    check_destination(destination, force)
    # llama.cpp's file and its copy with the recipe are both there for a moment.
    check_free_space(destination, 2 * n_bytes)


def _check_importance(types: Mapping[str, str], known: Container[str]) -> None:
    for name, type_name in types.items():
        if (
            type_name in _TYPES_THAT_NEED_IMPORTANCE
            and name not in NEVER_NEED_IMPORTANCE
            and name not in known
        ):
            raise UsageError(
                f"{name} would become {type_name}, which needs an importance matrix"
                + (", and the one that is given says nothing of it" if known else ""),
                "give `imatrix` FILE or `calibrate` TEXT",
            )


def _check_name(setting: str, name: str, known: list[str]) -> None:
    if name in known:
        return
    near = get_close_matches(name, known, n=4, cutoff=0.4) or sorted(known)
    raise UsageError(f"{setting} {name!r} is not a type that llama.cpp writes", f"near it: {', '.join(near)}")
