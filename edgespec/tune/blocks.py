"""Drafts with fewer blocks: which contiguous blocks a draft misses least, by how often it then agrees with the target.

Acceptance and not perplexity is what counts (docs/tune.md); spans are tried in memory, and only a promising one is
repaired and written.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from edgespec.catalog.derived import find_or_make
from edgespec.catalog.metadata import GgufMetadata
from edgespec.decode.replay import Recording
from edgespec.files import scratch_folder
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.quantizer import requantize_file
from edgespec.paths import derived_file
from edgespec.progress import SILENT, Progress
from edgespec.session.fast_draft import FAST_TYPE
from quant.measure.ablation import Bypass, ablated
from quant.prune.amount import Amount
from quant.prune.blocks import BlockSpan
from quant.prune.plan import plan_pruning
from quant.prune.prune import prune
from quant.prune.settings import PruneSettings

_ANSWERS: Final = 4
"""Answers that every span is tried on."""
_FIRST: Final = 1
"""Without its first block a model says nothing."""
_CALIBRATION_TOKENS: Final = 2048


def best_span(
    model: Model,
    recordings: Sequence[Recording],
    n_removed: int,
    n_threads: int,
    progress: Progress = SILENT,
) -> BlockSpan:
    """The span of `n_removed` contiguous blocks without which the draft agrees with the target most.

    Args:
        model: The draft, on the CPU.
        recordings: Of the target; some of them are read once for every span.
        n_removed: Fewer than the draft has blocks.
        n_threads: Of the CPU.
        progress: A stage of its own.

    Raises:
        NotEnoughMemoryError: no room for a context.
    """
    sample = recordings[:: max(len(recordings) // _ANSWERS, 1)][:_ANSWERS]
    starts = range(_FIRST, model.n_layer - n_removed + 1)
    progress.stage(f"looking for the {n_removed} blocks that are missed least", len(starts))
    acceptances: dict[BlockSpan, float] = {}
    for first in starts:
        span = BlockSpan(first, first + n_removed - 1)
        acceptances[span] = acceptance_without(model, span, sample, n_threads)
        progress.advance()
    return max(acceptances, key=acceptances.__getitem__)


def acceptance_without(
    model: Model, span: BlockSpan, recordings: Sequence[Recording], n_threads: int
) -> float:
    """Share of the target's tokens that the draft guesses without the blocks of a span.

    Raises:
        NotEnoughMemoryError: no room for a context.
    """
    longest = max(len(one.prompt) + len(one.tokens) for one in recordings)
    settings = ContextSettings(longest, n_threads, n_outputs_max=longest, n_batch=longest)
    right = total = 0
    with Context(model, settings, callback=ablated([Bypass(span.first, span.last)])) as context:
        for one in recordings:
            context.clear()
            text = [*one.prompt, *one.tokens[:-1]]
            # All rows: the last block computes only those that are asked for, and whole residuals are replaced.
            context.decode(text, outputs=len(text))
            guesses = context.logits(len(text))[-len(one.tokens) :].argmax(axis=1)
            right += int((guesses == np.array(one.tokens)).sum())
            total += len(one.tokens)
    return right / total


def find_or_make_pruned(meta: GgufMetadata, span: BlockSpan, text: str, progress: Progress = SILENT) -> Path:
    """The draft without a span of blocks in Q4_0, the rest refitted on the target's text; made once.

    Args:
        meta: Of the draft as published.
        span: What leaves.
        text: The target's.
        progress: Several stages.

    Raises:
        EdgespecError: any error of `plan_pruning` and `prune`.
    """
    file = derived_file(meta.path, f"tune-{span.first}-{span.last}.{FAST_TYPE.lower()}.gguf")
    return find_or_make(file, lambda: _make_pruned(meta, span, text, file, progress), progress)


def _make_pruned(meta: GgufMetadata, span: BlockSpan, text: str, file: Path, progress: Progress) -> None:
    with scratch_folder(file.parent) as inside:
        calibration = inside / "target-text.txt"
        calibration.write_text(text, encoding="utf-8")
        settings = PruneSettings(
            Amount(n_blocks=len(span.blocks)),
            blocks=tuple(span.blocks),
            calibration=(calibration,),
            n_tokens=_CALIBRATION_TOKENS,
        )
        pruned = inside / "pruned.gguf"
        prune(plan_pruning(meta, settings), pruned, progress=progress)
        requantize_file(pruned, file, FAST_TYPE, n_threads=default_threads())
