"""What a target and its drafts take once loaded: foreseen from their headers, or asked of llama.cpp where that decides."""

from dataclasses import replace

from edgespec.catalog.memory import TARGET_SNAPSHOTS, MemoryEstimate, estimate_memory
from edgespec.catalog.metadata import GgufMetadata
from edgespec.catalog.model_file import ModelFile
from edgespec.decode.policy import MAX_DRAFT
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.library import default_threads
from edgespec.llama.reservation import reserved_bytes
from edgespec.session.context_choice import choose_n_ctx
from edgespec.session.settings import EngineSettings

TARGET_ROWS = MAX_DRAFT + 1
"""Rows of logits that a target's context keeps: the longest draft's, and the target's own."""


def target_context(settings: EngineSettings, n_ctx: int) -> ContextSettings:
    """How a target's context is made: it keeps logits for a whole verification.

    Args:
        settings: Threads, types, flash attention.
        n_ctx: Tokens.
    """
    return replace(_context(settings, n_ctx, TARGET_ROWS), n_snapshots=TARGET_SNAPSHOTS)


def draft_context(settings: EngineSettings, n_ctx: int) -> ContextSettings:
    """How a draft's context is made: it keeps one row of logits.

    Args:
        settings: Threads, types, flash attention.
        n_ctx: Tokens.
    """
    return _context(settings, n_ctx, 1)


def _context(settings: EngineSettings, n_ctx: int, n_outputs: int) -> ContextSettings:
    usual = settings.context(n_ctx, settings.n_threads or default_threads(), n_outputs)
    # Drafts are far shorter than a batch, and so never reach beyond what a short cache has.
    return replace(usual, full_window=False)


def estimate_context(meta: GgufMetadata, context: ContextSettings) -> MemoryEstimate:
    """What a model takes with a context, foreseen from its header.

    Args:
        meta: The header.
        context: How its context is made.
    """
    return estimate_memory(
        meta,
        n_ctx=context.n_ctx,
        kv_bytes_per_element_k=context.type_k.bytes_per_element,
        kv_bytes_per_element_v=context.type_v.bytes_per_element,
        n_outputs=context.n_outputs_max,
        n_ubatch=context.n_batch,
        n_sequences=context.n_sequences,
        n_snapshots=context.n_snapshots,
        full_windows=context.full_window,
        flash_attention=context.flash_attention != "off",
    )


def estimate_target(target: ModelFile, settings: EngineSettings) -> MemoryEstimate:
    """What a target takes once loaded, its context and the logits of a whole verification included, from its header."""
    return estimate_context(target.meta, target_context(settings, choose_n_ctx(target, settings)))


def measure_target(target: ModelFile, settings: EngineSettings) -> MemoryEstimate:
    """The same with the buffers that llama.cpp would reserve.

    Raises:
        ModelFileError: llama.cpp cannot load the file.
        EngineError: it cannot make such a context.
    """
    return measure_context(target, target_context(settings, choose_n_ctx(target, settings)))


def measure_context(file: ModelFile, context: ContextSettings) -> MemoryEstimate:
    """What a model takes with a context, with the buffers that llama.cpp would reserve.

    Args:
        file: The model.
        context: How its context is made.

    Raises:
        ModelFileError: llama.cpp cannot load the file.
        EngineError: it cannot make such a context.
    """
    foreseen = estimate_context(file.meta, context)
    reserved = reserved_bytes(file.path, context)
    if reserved is None:
        return foreseen
    mask = min(foreseen.mask_bytes, reserved)
    return replace(foreseen, mask_bytes=mask, compute_bytes=reserved - mask)
