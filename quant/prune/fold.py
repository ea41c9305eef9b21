"""The least-squares fold: what removed blocks did, put into the FFN before the gap.

ReplaceMe (arXiv 2505.02819): with M the output of the FFN before a removed span and D what the span adds to the
residual stream, T = argmin |M T - (M + D)|^2 + a |T - I|^2 takes the span's place, and `ffn_down' = T' ffn_down`
holds it without a weight more. The ridge pulls towards the identity, which repairs nothing, where the published one pulls
towards zero. Position 0 of every window belongs in: its massive activations dominate the residual stream.

The architecture must add `ffn_down`'s output to the residual stream as it is, as those in COMPUTED_ARCHITECTURES do;
gemma3 normalizes it first.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgespec.llama.eval_callback import EvalCallback, Node
from edgespec.llama.model import Model
from edgespec.progress import SILENT, Progress
from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import computed, find_tensor, planned_weights, replace_tensors
from quant.measure.activations import run_windows
from quant.prune.blocks import BlockSpan
from quant.text.windows import Tokens

DEFAULT_RIDGE: Final = 1e-4
"""Of the mean diagonal of M'M; larger ones lose the small directions (measured in docs/pruning.md)."""

_BUDGET_BYTES: Final = 1 << 30
"""For the statistics of all spans that are followed in one pass over the windows: a laptop has that beside the model."""

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class FoldStatistics:
    """Sums over the tokens seen, of a span."""

    gram: Matrix
    """M'M, `[n_embd, n_embd]`."""
    cross: Matrix
    """M'D, `[n_embd, n_embd]`."""

    def solve(self, ridge: float = DEFAULT_RIDGE) -> Matrix:
        """T, `[n_embd, n_embd]`: rows of the FFN's output times T stand for FFN and span together.

        With T = I + X, the sum above is |M X - D|^2 + a |X|^2, so that X = (M'M + a)^-1 M'D.
        """
        scale = ridge * float(np.trace(self.gram)) / len(self.gram)
        damped = self.gram.astype(np.float64) + scale * np.eye(len(self.gram))
        solution = np.linalg.solve(damped, self.cross.astype(np.float64))
        return np.asarray(solution + np.eye(len(solution)), dtype=np.float32)


def fold_statistics(
    model: Model, windows: Tokens, spans: Sequence[BlockSpan], *, progress: Progress = SILENT
) -> dict[BlockSpan, FoldStatistics]:
    """Reads the windows and sums what every span's fold needs; spans may overlap.

    Args:
        model: The dense model, on the CPU.
        windows: `[n_windows, n_ctx]` tokens, 4,096 of them at least: fewer leave directions of the residual stream unseen,
            and the fold then ruins the model.
        spans: None may begin at block 0, which has no FFN before it.
        progress: Gets the stage "reading the calibration text", in windows of every pass.

    Raises:
        NotEnoughMemoryError: the context does not fit.
    """
    per_pass = max(1, _BUDGET_BYTES // (8 * model.n_embd**2))
    groups = [spans[start : start + per_pass] for start in range(0, len(spans), per_pass)]
    progress.stage("reading the calibration text", len(groups) * len(windows))
    result: dict[BlockSpan, FoldStatistics] = {}
    for group in groups:
        watcher = _SpanWatcher(group, model.n_embd)
        run_windows(model, windows, EvalCallback(nodes=watcher.handlers()), progress=progress)
        result.update(watcher.statistics())
    return result


def fold(plan: GgufPlan, transforms: Mapping[int, Matrix]) -> GgufPlan:
    """The plan with T folded into the `ffn_down` of some blocks: `ffn_down' = T' ffn_down`.

    `ffn_down` is `[n_embd, n_ff]` and makes rows h of activations into rows h ffn_down'. Folded, it makes them into
    h ffn_down' T: what FFN and span added together. Blocks 4 and 5 are replaced by

        transform = fold_statistics(model, windows, [BlockSpan(4, 5)])[BlockSpan(4, 5)].solve()
        plan = remove_blocks(fold(plan, {3: transform}), [4, 5])

    Args:
        plan: Before or after the blocks were removed; its present block numbers count.
        transforms: T, `[n_embd, n_embd]`, by the block that comes before the gap.

    Raises:
        KeyError: a block has no `ffn_down`.
    """
    changed = {}
    for block, transform in transforms.items():
        name = f"blk.{block}.ffn_down.weight"
        tensor = find_tensor(plan, name)
        if tensor is None:
            raise KeyError(name)
        changed[name] = computed(tensor, tensor.shape, partial(_folded, plan, name, transform))
    return replace_tensors(plan, changed)


def _folded(plan: GgufPlan, name: str, transform: Matrix) -> Matrix:
    product: Matrix = transform.T @ planned_weights(plan, name)
    return product


class _SpanWatcher:
    """Follows the residual stream through a pass; holds what the open spans of the running window need."""

    def __init__(self, spans: Sequence[BlockSpan], n_embd: int) -> None:
        self._spans = spans
        self._gram = {span.first: np.zeros((n_embd, n_embd), np.float32) for span in spans}
        self._cross = {span: np.zeros((n_embd, n_embd), np.float32) for span in spans}
        self._last_use = {first: max(s.last for s in spans if s.first == first) for first in self._gram}
        self._before: dict[int, tuple[Matrix, Matrix]] = {}
        """By a span's first block: the FFN's output M, and the residual after it, `[n_ctx, n_embd]` both."""

    def handlers(self) -> dict[str, Callable[[Node], None]]:
        nodes: dict[str, Callable[[Node], None]] = {}
        for first in self._gram:
            nodes[f"ffn_out-{first - 1}"] = partial(self._take_ffn, first)
        for block in {span.first - 1 for span in self._spans} | {span.last for span in self._spans}:
            nodes[f"l_out-{block}"] = partial(self._take_residual, block)
        return nodes

    def statistics(self) -> Iterator[tuple[BlockSpan, FoldStatistics]]:
        for span in self._spans:
            yield span, FoldStatistics(self._gram[span.first], self._cross[span])

    def _take_ffn(self, first: int, node: Node) -> None:
        ffn_output = node.output.copy()
        self._gram[first] += ffn_output.T @ ffn_output
        self._before[first] = (ffn_output, ffn_output)

    def _take_residual(self, block: int, node: Node) -> None:
        residual = node.output.copy()
        for span in self._spans:
            if span.last == block:
                ffn_output, before = self._before[span.first]
                self._cross[span] += ffn_output.T @ (residual - before)
        for first, (ffn_output, _) in list(self._before.items()):
            if self._last_use[first] == block:
                del self._before[first]
            elif first == block + 1:
                self._before[first] = (ffn_output, residual)
