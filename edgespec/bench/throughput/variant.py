"""A model under test: loaded once, with a context of its own for every batch size and layout of the cache."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgespec.bench.throughput.result import Curve
from edgespec.bench.throughput.shapes import Shape
from edgespec.catalog.memory import MemoryEstimate, check_fits, estimate_memory
from edgespec.catalog.model_file import ModelFile
from edgespec.decode.batched_speculative import MOST_DRAFTED
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.library import default_threads
from edgespec.llama.sequences import cache_tokens
from edgespec.session.settings import EngineSettings

_ROWS = 512
"""Rows of a prompt that are evaluated together at most, as in llama.cpp's own tools."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A curve and the files that it is measured with."""

    curve: Curve
    model: ModelFile
    draft: ModelFile | None = None

    @property
    def name(self) -> str:
        """Of the curve."""
        return self.curve.name


def check_weights(subjects: Sequence[Subject]) -> None:
    """Compares the weights of all files with the memory of this machine, before anything is loaded.

    Raises:
        NotEnoughMemoryError: they do not fit together.
    """
    files = {file.path: file for one in subjects for file in (one.model, one.draft) if file}
    estimates = [(file.name, estimate_memory(file.meta, n_ctx=1, n_outputs=1)) for file in files.values()]
    check_fits(estimates, first_alone="fewer models")


def context_settings(
    engine: EngineSettings, shape: Shape, batch: int, *, unified: bool, rows_each: int = 1
) -> ContextSettings:
    """Of a context that holds `batch` sequences of one prompt with their answers, and no token more than it must.

    Args:
        engine: Threads, types, flash attention.
        shape: Tokens in and out.
        batch: Sequences.
        unified: Whether they share one cache.
        rows_each: Rows of each sequence in one decode, with logits on all.
    """
    spare = rows_each - 1
    return ContextSettings(
        n_ctx=cache_tokens(batch, shape.prompt_n, shape.output_n + spare, unified=unified, shared=True),
        n_threads=engine.n_threads or default_threads(),
        n_outputs_max=batch * rows_each,
        n_batch=max(min(shape.prompt_n, _ROWS), batch * (rows_each + (rows_each > 1))),
        type_k=engine.kv_type,
        type_v=engine.kv_type,
        flash_attention=engine.flash_attention,
        n_sequences=batch,
        kv_unified=unified,
    )


def largest_cache(shapes: Sequence[Shape], batches: Sequence[int]) -> int:
    """Tokens of the largest cache of a sweep."""
    return max(
        cache_tokens(batch, shape.prompt_n, shape.output_n, unified=batch == 1, shared=True)
        for shape in shapes
        for batch in batches
    )


def predict_context_bytes(
    subject: Subject, engine: EngineSettings, shape: Shape, batch: int, *, unified: bool
) -> int:
    """Bytes that the contexts of a point take: caches, and the buffers of the decodes."""
    rows_each = MOST_DRAFTED + 1 if subject.draft else 1
    wanted = context_settings(engine, shape, batch, unified=unified, rows_each=rows_each)
    parts = [_estimate(subject.model, wanted)]
    if subject.draft:
        drafting = context_settings(engine, shape, batch, unified=True, rows_each=rows_each)
        parts.append(_estimate(subject.draft, drafting))
    return sum(part.total_bytes - part.weights_bytes for part in parts)


def _estimate(file: ModelFile, settings: ContextSettings) -> MemoryEstimate:
    element = settings.type_k.bytes_per_element
    return estimate_memory(
        file.meta,
        n_ctx=settings.n_ctx,
        kv_bytes_per_element_k=element,
        kv_bytes_per_element_v=element,
        n_outputs=settings.n_outputs_max,
        n_ubatch=settings.n_batch,
    )
