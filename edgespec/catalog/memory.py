"""How much memory a model will want, estimated from its header, against what this machine has free.

Caches and states are counted block by block, as llama.cpp makes them (`cache_layout`). Weights count in full although
they are mapped, because a decode reads all of them, of experts too within a few tokens: what is not resident is read
again for every token. A tensor that llama.cpp rearranges for the CPU (its buffer CPU_REPACK, beside CPU_Mapped) counts once: the
pages of the file that it was read from may go. Buffers are counted for flash attention, llama.cpp's default where the backend has it,
unless it is off.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from edgespec.catalog.cache_layout import CacheNeeds, cache_layout
from edgespec.catalog.compute_buffers import buffer_bytes
from edgespec.catalog.metadata import GgufMetadata
from edgespec.control_groups import headroom_bytes
from edgespec.errors import NotEnoughMemoryError

TARGET_OUTPUTS: Final = 16
"""Rows of logits that a target is opened with: 15 drafted tokens and its own; a test holds it to `session.memory_needs`."""
TARGET_SNAPSHOTS: Final = 7
"""Older states that a recurrent target is opened with, where llama.cpp can keep them, and then its longest draft. A pass of 8 rows
with 4 kept costs 1.83 times as much without them, and each takes as much memory as the state."""
_SPARE_BYTES: Final = 128 * 2**20
"""Beside weights and cache, of a model of which only the size is known."""
_DOUBT: Final = 2
"""Times its estimate that a buffer takes at most."""
_FLOAT_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes that one loaded model takes, by purpose."""

    weights_bytes: int
    kv_bytes: int
    logits_bytes: int
    compute_bytes: int
    mask_bytes: int = 0
    """The attention mask, and scores where they are computed apart: like the KV cache, they grow with the context."""
    state_bytes: int = 0
    """Recurrent states: the same whatever the context."""

    @property
    def context_bytes(self) -> int:
        """What grows with the context."""
        return self.kv_bytes + self.mask_bytes

    @property
    def total_bytes(self) -> int:
        """All of them."""
        fixed = self.weights_bytes + self.state_bytes + self.logits_bytes + self.compute_bytes
        return fixed + self.context_bytes

    @property
    def beside_weights_bytes(self) -> int:
        """What a context adds to the weights."""
        return self.total_bytes - self.weights_bytes

    @property
    def buffers_bytes(self) -> int:
        """What llama.cpp decides of by itself, and an estimate may miss."""
        return self.compute_bytes + self.mask_bytes

    def share_weights(self, part: float) -> "MemoryEstimate":
        """The same with a part of the weights."""
        return replace(self, weights_bytes=round(part * self.weights_bytes))

    def share(self, part: float) -> "MemoryEstimate":
        """The same with a part of the blocks: of their weights, caches and states."""
        return replace(
            self.share_weights(part),
            kv_bytes=round(part * self.kv_bytes),
            state_bytes=round(part * self.state_bytes),
        )


def estimate_memory(
    meta: GgufMetadata,
    *,
    n_ctx: int,
    kv_bytes_per_element_k: float = 2,
    kv_bytes_per_element_v: float = 2,
    n_outputs: int,
    n_ubatch: int = 512,
    n_sequences: int = 1,
    n_snapshots: int = 0,
    full_windows: bool = False,
    flash_attention: bool = True,
) -> MemoryEstimate:
    """Estimate what a model takes once loaded.

    Args:
        meta: Header of the model.
        n_ctx: Tokens of context; rounded up to 256 as llama.cpp does.
        kv_bytes_per_element_k: Bytes of a key element: 2 for F16, 1.0625 for Q8_0, 0.5625 for Q4_0.
        kv_bytes_per_element_v: The same for values.
        n_outputs: Rows of logits kept (`n_outputs_max`).
        n_ubatch: Tokens computed at once.
        n_sequences: Each has recurrent states of its own; they share the cells.
        n_snapshots: Older states kept beside each (`n_rs_seq`), where the architecture can.
        full_windows: Blocks with a sliding window have cells for the whole context (`swa_full`), as no session has.
        flash_attention: Without it every score of a block is held at once.

    Returns:
        Bytes by purpose. For Qwen2.5-Coder 1.5B at 4096 tokens in F16 and 16 rows of logits: 112 MiB of KV cache, 9 MiB of
        logits, 4 MiB of mask.
    """
    needs = CacheNeeds(
        n_ctx,
        kv_bytes_per_element_k,
        kv_bytes_per_element_v,
        n_ubatch,
        n_sequences,
        n_snapshots,
        full_windows,
    )
    layout, n_rows = cache_layout(meta), min(n_ubatch, needs.cells)
    compute, attention = buffer_bytes(meta, layout, needs, n_rows, n_outputs, flash_attention=flash_attention)
    return MemoryEstimate(
        weights_bytes=meta.weights_bytes,
        kv_bytes=layout.kv_bytes(needs),
        logits_bytes=n_outputs * meta.vocab_size * _FLOAT_BYTES,
        compute_bytes=compute,
        mask_bytes=attention,
        state_bytes=layout.all_states_bytes(needs),
    )


def estimate_as_target(meta: GgufMetadata, n_ctx: int) -> MemoryEstimate:
    """What a model takes as `run` opens it with the default settings, logits of a whole verification included.

    Args:
        meta: Header of the model.
        n_ctx: Tokens of context.
    """
    return estimate_memory(meta, n_ctx=n_ctx, n_outputs=TARGET_OUTPUTS, n_snapshots=TARGET_SNAPSHOTS)


def estimate_as_draft(meta: GgufMetadata, n_ctx: int) -> MemoryEstimate:
    """What a model takes beside a target that it drafts for, with as much context.

    Args:
        meta: Header of the model.
        n_ctx: Tokens of context.
    """
    return estimate_memory(meta, n_ctx=n_ctx, n_outputs=1)


def guess_memory_bytes(size_bytes: int) -> int:
    """What a model might take that is not here, by the size of its file alone, with a few thousand tokens of context.

    A fifth of the weights for the KV cache is usual for models that share KV heads; older ones take up to a half.
    """
    return size_bytes + size_bytes // 5 + _SPARE_BYTES


def available_memory_bytes() -> int:
    """Memory that can be taken without swapping: the system's, or less where a container limits it."""
    import psutil

    free, headroom = int(psutil.virtual_memory().available), headroom_bytes()
    return free if headroom is None else min(free, headroom)


def check_fits(
    estimates: Sequence[tuple[str, MemoryEstimate]],
    available_bytes: int | None = None,
    *,
    first_alone: str = "",
    measure: Callable[[], Sequence[tuple[str, MemoryEstimate]]] | None = None,
) -> None:
    """Check that all models fit together.

    Args:
        estimates: Name and estimate of each model; the target first, then the draft.
        available_bytes: What there is; measured when None.
        first_alone: How to have the first model alone, for the hint; empty where that is not a way.
        measure: Gives better estimates; asked where the buffers decide, because it takes its time.

    Raises:
        NotEnoughMemoryError: They do not fit; the message gives the numbers, the hint a way out.
    """
    available = available_memory_bytes() if available_bytes is None else available_bytes
    if measure is not None and _buffers_decide(estimates, available):
        estimates = measure()
    total = sum(estimate.total_bytes for _, estimate in estimates)
    if total <= available:
        return
    details = "; ".join(
        f"{name}: {_gib(estimate.weights_bytes)} weights + {_gib(estimate.kv_bytes)} KV cache"
        + (f" + {_gib(estimate.state_bytes)} recurrent state" if estimate.state_bytes else "")
        + f" + {_gib(estimate.logits_bytes + estimate.compute_bytes + estimate.mask_bytes)} buffers"
        for name, estimate in estimates
    )
    names = " and ".join(name for name, _ in estimates)
    raise NotEnoughMemoryError(
        f"{names} would take {_gib(total)} and this machine has {_gib(available)} free ({details})",
        _way_out(estimates, available, first_alone),
    )


def _buffers_decide(estimates: Sequence[tuple[str, MemoryEstimate]], available: int) -> bool:
    """Whether what is certain fits and what is not may do so or not."""
    buffers = sum(estimate.buffers_bytes for _, estimate in estimates)
    certain = sum(estimate.total_bytes for _, estimate in estimates) - buffers
    return certain <= available < certain + _DOUBT * buffers


def _way_out(estimates: Sequence[tuple[str, MemoryEstimate]], available: int, first_alone: str) -> str:
    ways = []
    without_context = sum(estimate.total_bytes - estimate.context_bytes for _, estimate in estimates)
    if without_context < available:
        ways.append("a smaller `ctx_size`")
    if first_alone and len(estimates) > 1 and estimates[0][1].total_bytes <= available:
        ways.append(first_alone)
    ways.append("a file with a smaller quantization")
    return "try " + " or ".join(ways) + ", or close other programs"


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.2f} GiB"
