"""Drafts with fewer blocks: which contiguous blocks a draft misses least, by how often the target then agrees.

Acceptance and not perplexity is what counts (docs/tune.md); candidates are tried in memory, and only a promising one
is repaired and written.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgespec.catalog.metadata import GgufMetadata, is_whole
from edgespec.decode.replay import Recording
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.quantizer import requantize_file
from edgespec.paths import derived_file, derived_models_dir
from edgespec.session.fast_draft import FAST_TYPE
from quant.measure.ablation import Bypass, ablated
from quant.progress import FromStages, StageProgress
from quant.prune.amount import Amount
from quant.prune.plan import plan_pruning
from quant.prune.prune import prune
from quant.prune.settings import PruneSettings

_ANSWERS = 4
"""Answers that every span is tried on."""
_FIRST = 1
"""Without its first block a model says nothing."""
CALIBRATION_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class Span:
    """Blocks `first` to `last`, and the share of the target's tokens that a draft without them still guesses."""

    first: int
    last: int
    acceptance: float

    @property
    def blocks(self) -> tuple[int, ...]:
        """Their numbers."""
        return tuple(range(self.first, self.last + 1))


def best_span(
    model: Model,
    recordings: Sequence[Recording],
    n_removed: int,
    n_threads: int,
    report: Callable[[int, int], None],
) -> Span:
    """The span of `n_removed` contiguous blocks without which the draft agrees with the target most.

    Raises:
        NotEnoughMemoryError: no room for a context.
    """
    starts = range(_FIRST, model.n_layer - n_removed + 1)
    sample = recordings[:: max(len(recordings) // _ANSWERS, 1)][:_ANSWERS]
    found: list[Span] = []
    for done, first in enumerate(starts, 1):
        last = first + n_removed - 1
        found.append(Span(first, last, _acceptance_without(model, sample, first, last, n_threads)))
        report(done, len(starts))
    return max(found, key=lambda span: span.acceptance)


def _acceptance_without(
    model: Model, recordings: Sequence[Recording], first: int, last: int, n_threads: int
) -> float:
    longest = max(len(one.prompt) + len(one.tokens) for one in recordings)
    settings = ContextSettings(longest, n_threads, n_outputs_max=longest, n_batch=longest)
    right = total = 0
    with Context(model, settings, tap=ablated([Bypass(first, last)])) as context:
        for one in recordings:
            context.clear()
            text = [*one.prompt, *one.tokens[:-1]]
            # All rows: the last block computes only those that are asked for, and the tap replaces whole streams.
            context.decode(text, outputs=len(text))
            guesses = context.logits(len(text))[-len(one.tokens) :].argmax(axis=1)
            right += int((guesses == np.array(one.tokens)).sum())
            total += len(one.tokens)
    return right / total


def find_or_make_cut(meta: GgufMetadata, span: Span, text: str, progress: StageProgress) -> Path:
    """The draft without a span of blocks in Q4_0, the rest refitted on the target's text; made once.

    Raises:
        EdgespecError: any error of `plan_pruning` and `prune`.
    """
    file = derived_file(meta.path, f"tune-{span.first}-{span.last}.{FAST_TYPE.lower()}.gguf")
    if is_whole(file):
        return file
    folder = derived_models_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tune-", dir=folder) as inside:
        calibration = Path(inside) / "target-text.txt"
        calibration.write_text(text, encoding="utf-8")
        settings = PruneSettings(
            Amount(n_blocks=len(span.blocks)),
            blocks=span.blocks,
            calibration=(calibration,),
            n_tokens=CALIBRATION_TOKENS,
        )
        pruned = Path(inside) / "pruned.gguf"
        prune(plan_pruning(meta, settings), pruned, progress=FromStages(progress))
        requantize_file(pruned, file, FAST_TYPE, n_threads=default_threads())
    return file
