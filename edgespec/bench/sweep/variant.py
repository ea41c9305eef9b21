"""A curve's files, and what contexts they are measured in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgespec.bench.throughput.result import Curve
from edgespec.bench.throughput.shapes import Batch, Layout, Shape
from edgespec.catalog.memory import check_fits, estimate_memory
from edgespec.catalog.model_file import ModelFile
from edgespec.decode.batched_speculative import MOST_DRAFTED
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.library import default_threads
from edgespec.llama.sequences import cache_tokens
from edgespec.session.memory_needs import estimate_context
from edgespec.session.settings import EngineSettings

_ROWS: Final = 512
"""Rows of a prompt that are evaluated together at most, as in llama.cpp's own tools."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A curve and the files that it is measured with."""

    curve: Curve
    model: ModelFile
    draft: ModelFile | None = None

    @property
    def name(self) -> str:
        """Of the curve."""
        return self.curve.name

    @property
    def rows_each(self) -> int:
        """Rows of each sequence in one decode of the model: drafts are verified together."""
        return MOST_DRAFTED + 1 if self.draft else 1


def check_weights(variants: Sequence[Variant]) -> None:
    """Compares the weights of all files with the memory of this machine, before anything is loaded.

    Raises:
        NotEnoughMemoryError: they do not fit together.
    """
    files = {file.path: file for one in variants for file in (one.model, one.draft) if file}
    estimates = [(file.name, estimate_memory(file.meta, n_ctx=1, n_outputs=1)) for file in files.values()]
    check_fits(estimates, first_alone="fewer models")


def context_settings(
    engine: EngineSettings, batch: Batch, layout: Layout, rows_each: int = 1
) -> ContextSettings:
    """Of a context that holds a batch's prompts with their answers, and no token more than it must.

    Args:
        engine: Threads, types, flash attention.
        batch: Its sequences all have the same prompt.
        layout: Of the cache.
        rows_each: Rows of each sequence in one decode, with logits on all.
    """
    shape, unified = batch.shape, layout is Layout.UNIFIED
    spare = rows_each - 1
    return ContextSettings(
        n_ctx=cache_tokens(batch.size, shape.prompt_n, shape.output_n + spare, unified=unified, shared=True),
        n_threads=engine.n_threads or default_threads(),
        n_outputs_max=batch.size * rows_each,
        n_batch=max(min(shape.prompt_n, _ROWS), batch.size * (rows_each + (rows_each > 1))),
        type_k=engine.kv_type_k,
        type_v=engine.kv_type_v,
        flash_attention=engine.flash_attention,
        kv_offload=engine.kv_offload,
        n_sequences=batch.size,
        kv_unified=unified,
        n_snapshots=spare,
    )


def largest_context(
    engine: EngineSettings, shapes: Sequence[Shape], sizes: Sequence[int], rows_each: int = 1
) -> ContextSettings:
    """Of a sweep over these shapes and batch sizes, the context that takes the most memory.

    Args:
        engine: Threads, types, flash attention.
        shapes: Of its prompts and answers.
        sizes: Of its batches.
        rows_each: As of `context_settings`.
    """
    contexts = (
        context_settings(engine, Batch(shape, size), Layout.UNIFIED if size == 1 else Layout.SPLIT, rows_each)
        for shape in shapes
        for size in sizes
    )
    return max(contexts, key=lambda context: context.n_ctx)


def predict_context_bytes(variant: Variant, engine: EngineSettings, batch: Batch, layout: Layout) -> int:
    """Bytes that the contexts of a point take: caches, and the buffers of the decodes."""
    rows_each = variant.rows_each
    needs = [(variant.model.meta, context_settings(engine, batch, layout, rows_each))]
    if variant.draft:
        needs.append((variant.draft.meta, context_settings(engine, batch, Layout.UNIFIED, rows_each)))
    return sum(estimate_context(meta, context).beside_weights_bytes for meta, context in needs)
