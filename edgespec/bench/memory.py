"""What one more context takes, foreseen from a model's header."""

from edgespec.catalog.memory import estimate_memory
from edgespec.catalog.metadata import GgufMetadata
from edgespec.llama.context_settings import ContextSettings


def context_bytes(meta: GgufMetadata, settings: ContextSettings, n_ctx: int | None = None) -> int:
    """Bytes of a context: the KV cache, logits, and the buffers of its decodes.

    Args:
        meta: Header of the model.
        settings: Of the context.
        n_ctx: Tokens of it, where they are other than those of `settings`.
    """
    estimate = estimate_memory(
        meta,
        n_ctx=n_ctx or settings.n_ctx,
        kv_bytes_per_element_k=settings.type_k.bytes_per_element,
        kv_bytes_per_element_v=settings.type_v.bytes_per_element,
        n_outputs=settings.n_outputs_max,
        n_ubatch=settings.n_batch,
        n_sequences=settings.n_sequences,
        n_snapshots=settings.n_snapshots,
        full_windows=settings.full_window,
    )
    return estimate.total_bytes - estimate.weights_bytes
