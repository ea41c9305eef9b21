"""How large the contexts of a pair are that many callers share."""

from dataclasses import dataclass, replace
from typing import Final

from edgespec.catalog.block_kinds import kinds_of_blocks
from edgespec.catalog.memory import available_memory_bytes
from edgespec.catalog.model_file import ModelFile
from edgespec.llama.context_settings import ContextSettings
from edgespec.session.memory_needs import TARGET_ROWS, draft_context, estimate_context, target_context
from edgespec.session.settings import EngineSettings

_ROWS_EACH: Final = 6
"""Rows of logits that every answer may have beside the longest draft of one alone: five drafted tokens each, where eight write at once.
A row of 152k tokens is 0.6 MB."""
_HELD: Final = 24
"""Sequences for conversations that have ended, at least: they share cells, and each costs a row of logits."""
_MOST_SEQUENCES: Final = 256
"""Of llama.cpp, which rounds the rows of a batch up to a multiple of them: a power of two."""
_FEW_HELD: Final = 4
"""The same of a memory of which every sequence takes a part of its own, as a recurrent state."""
_CACHE_BYTES: Final = 512 << 20
"""Of the caches of both models together that nobody asked for, where one conversation takes less."""
_MEMORY_SHARE: Final = 4
"""Of what is free beside the weights, they take a quarter at most."""
_CELLS_STEP: Final = 256
_IDLE_SHARE, _LEAST_IDLE_CELLS = 0.01, 512
_LOOK_S, _CELLS_A_LOOK = 24e-9, 16
_PASSED_S = 5e-9
"""See `choose_idle_cells`; a short conversation or two always stay."""
_KEPT_SHARE, _MOST_KEPT_BYTES = 8, 2 << 30
"""Of what is free when all is loaded, an eighth for copies of conversations, and no more than 2 GiB: chosen."""
DRAFT_SEATS: Final = 4
"""Answers that a draft model drafts for at a time: with more, rows of the target cost more than they bring."""


@dataclass(frozen=True, slots=True)
class SharedSize:
    """The contexts of a pair, and what a conversation may have of them."""

    n_each: int
    """Tokens of a conversation."""
    target: ContextSettings
    draft: ContextSettings
    n_each_draft: int


def choose_size(
    target: ModelFile, drafts: list[ModelFile], settings: EngineSettings, n_parallel: int
) -> SharedSize:
    """As many cells as the caches may take, of one whole conversation at least and one of each answer at most.

    Args:
        target: Its file.
        drafts: The draft's, if there is one.
        settings: With the length of a conversation (`settle_context`).
        n_parallel: Answers at a time.
    """
    n_each = settings.n_ctx
    seats = min(n_parallel, DRAFT_SEATS)
    cells = n_each * n_parallel
    cell_bytes = _bytes_of(target, settings, n_each) + sum(
        _bytes_of(draft, settings, n_each) for draft in drafts
    )
    weights = sum(file.meta.weights_bytes for file in (target, *drafts))
    free = max(0, available_memory_bytes() - weights)
    most = min(_CACHE_BYTES, free // _MEMORY_SHARE)
    if cell_bytes:
        cells = min(cells, int(most / cell_bytes))
    cells = max(cells // _CELLS_STEP * _CELLS_STEP, n_each)
    own, n_sequences = target_context(settings, cells), _sequences(target, n_parallel)
    target_settings = replace(
        own,
        n_sequences=n_sequences,
        kv_unified=True,
        # llama.cpp ends the process where there are fewer rows of logits than sequences.
        n_outputs_max=max(TARGET_ROWS + _ROWS_EACH * n_parallel, n_sequences),
        # Their places move where sequences have unlike numbers of rows.
        n_snapshots=0,
    )
    draft_settings = replace(
        draft_context(settings, min(cells, n_each * min(seats, 2))),
        n_sequences=seats,
        kv_unified=True,
        n_outputs_max=seats,
    )
    return SharedSize(n_each, target_settings, draft_settings, draft_settings.n_ctx // seats)


def choose_idle_cells(target: ModelFile, step_s: float, n_threads: int, *, are_passed: bool) -> int:
    """Cells for conversations that wait in the cache for their next turn, so that a plain step is a hundredth slower at most.

    Where attention passes over what a row does not see, 7,000 cells of others took 0.03 ms of a step of SmolLM2 on Zen 4, nearly all of it
    for llama.cpp's mask. Else every row looks over all cells in use, sixteen at a time, in every block that has a cache and for
    each of its heads: there the same cells took 0.94 ms on one thread (90 such heads), 0.024 us a head and look.

    Args:
        target: Its file.
        step_s: Of a plain step.
        n_threads: Of the CPU.
        are_passed: Whether attention passes over cells that a row does not see.
    """
    if are_passed:
        return max(int(_IDLE_SHARE * step_s / _PASSED_S), _LEAST_IDLE_CELLS)
    kinds = kinds_of_blocks(target.meta)
    heads = sum(kinds.kv_heads[block] for block in kinds.cached)
    looks = _IDLE_SHARE * step_s * max(n_threads, 1) / (_LOOK_S * heads) if heads else 0.0
    return max(int(looks * _CELLS_A_LOOK), _LEAST_IDLE_CELLS)


def choose_cache_bytes() -> int:
    """What copies of conversations may take where nobody says, of what is free beside the models."""
    return min(available_memory_bytes() // _KEPT_SHARE, _MOST_KEPT_BYTES)


def _bytes_of(file: ModelFile, settings: EngineSettings, n_ctx: int) -> float:
    """What a token takes in a model's cache."""
    return estimate_context(file.meta, draft_context(settings, n_ctx)).kv_bytes / n_ctx


def _sequences(target: ModelFile, n_parallel: int) -> int:
    estimate = estimate_context(target.meta, ContextSettings(_CELLS_STEP, 1))
    if estimate.state_bytes:
        return n_parallel + _FEW_HELD
    return min(1 << (n_parallel + _HELD - 1).bit_length(), _MOST_SEQUENCES)
