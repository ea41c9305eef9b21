"""Blocks taken out in memory: the tap overwrites what they computed, so that no file is written to score a cut.

The removed blocks are still computed; only what they add is dropped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgespec.llama.eval_callback import EvalCallback, Handler, Node
from edgespec.llama.model import Model
from edgespec.llama.native_context import Logits
from quant.measure.activations import run_windows
from quant.measure.evaluate import nll
from quant.progress import ChunkProgress
from quant.text.windows import Tokens

Matrix = NDArray[np.float32]
Part = Literal["block", "attention"]
_SLAB_ROWS = 16
"""Rows whose probabilities are in the processor's cache at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Bypass:
    """Blocks `first` to `last`, or the attention of one block, leave the stream as it was before them.

    With a transform T (n_embd, n_embd), the output of the FFN before them is multiplied with it (ReplaceMe's fold).
    """

    first: int
    last: int
    transform: Matrix | None = None
    part: Part = "block"


def ablated(bypasses: Sequence[Bypass]) -> EvalCallback:
    """The tap that takes these spans out; they do not overlap."""
    handlers: dict[str, list[Handler]] = {}
    for bypass in sorted(bypasses, key=lambda one: one.first):
        for name, handler in _Detour(bypass).handlers().items():
            handlers.setdefault(name, []).append(handler)
    return EvalCallback(nodes={name: _in_turn(several) for name, several in handlers.items()})


def score_blocks(
    model: Model,
    windows: Tokens,
    *,
    measure: Literal["ppl", "kl"],
    part: Part = "block",
    n_threads: int | None = None,
    progress: ChunkProgress | None = None,
) -> NDArray[np.float64]:
    """What the model loses without each block, or without each one's attention, on its own, (n_blocks,).

    Args:
        model: The dense model, on the CPU.
        windows: (n_windows, n_ctx) tokens; every position but the last is scored.
        measure: Perplexity, or the mean KL divergence from the dense model in nats.
        part: What is taken out of a block.
        n_threads: None takes the physical cores.
        progress: Told after every block of every window.

    Raises:
        NotEnoughMemoryError: no room for the context.
    """
    sums = np.zeros(model.n_layer)
    for number, tokens in enumerate(windows):
        window = tokens[None]
        score = _likelihood(tokens) if measure == "ppl" else _divergence(model, window, n_threads)
        for block in range(model.n_layer):
            sums[block] += _score_once(model, window, Bypass(block, block, part=part), score, n_threads)
            if progress is not None:
                progress(number * model.n_layer + block + 1, len(windows) * model.n_layer)
    means = sums / (len(windows) * (windows.shape[1] - 1))
    return np.asarray(np.exp(means) if measure == "ppl" else means)


def _score_once(
    model: Model, window: Tokens, bypass: Bypass, score: Callable[[Logits], float], n_threads: int | None
) -> float:
    scores: list[float] = []

    def visit(_window: int, logits: Logits) -> None:
        scores.append(score(logits[:-1]))

    run_windows(model, window, ablated([bypass]), n_threads=n_threads, visit=visit)
    return scores[0]


class _Detour:
    """Carries the stream around one span."""

    def __init__(self, bypass: Bypass) -> None:
        self._bypass = bypass
        self._kept: dict[str, Matrix] = {}

    def handlers(self) -> dict[str, Handler]:
        before = self._bypass.first - 1
        if self._bypass.transform is not None:
            sources = [f"ffn_inp-{before}", f"ffn_out-{before}"]
        else:
            sources = ["embd" if before < 0 else f"l_out-{before}"]
        end = "ffn_inp" if self._bypass.part == "attention" else "l_out"
        return {**dict.fromkeys(sources, self._keep), f"{end}-{self._bypass.last}": self._overwrite}

    def _keep(self, node: Node) -> None:
        self._kept[node.name.split("-")[0]] = node.output.copy()

    def _overwrite(self, node: Node) -> None:
        transform = self._bypass.transform
        if transform is None:
            (stream,) = self._kept.values()
        else:
            stream = self._kept["ffn_inp"] + self._kept["ffn_out"] @ transform
        node.output[:] = stream


def _in_turn(handlers: Sequence[Handler]) -> Handler:
    """One handler for a node where a span ends and the next begins: the order of the spans."""

    def call_all(node: Node) -> None:
        for handler in handlers:
            handler(node)

    return call_all


def _likelihood(tokens: NDArray[np.int32]) -> Callable[[Logits], float]:
    return lambda logits: float(nll(logits, tokens[1:]).sum())


def _divergence(model: Model, window: Tokens, n_threads: int | None) -> Callable[[Logits], float]:
    """Gives the summed KL divergence of a model's logits from the dense ones, whose probabilities are kept.

    sum p log(p / q) = sum p log p - sum p z + log sum exp z, with z the other model's logits: one exponential a weight.
    """
    kept: list[tuple[Logits, NDArray[np.float64]]] = []

    def keep(_window: int, logits: Logits) -> None:
        for start in range(0, len(logits) - 1, _SLAB_ROWS):
            rows = logits[start : min(start + _SLAB_ROWS, len(logits) - 1)]
            shifted = rows - rows.max(axis=1, keepdims=True)
            weights = np.exp(shifted)
            sums = weights.sum(axis=1, dtype=np.float64)
            entropy = (weights * shifted).sum(axis=1, dtype=np.float64) / sums - np.log(sums)
            kept.append((weights / sums[:, None].astype(np.float32), entropy))

    run_windows(model, window, n_threads=n_threads, visit=keep)

    def score(logits: Logits) -> float:
        total, start = 0.0, 0
        for probabilities, entropy in kept:
            rows = logits[start : start + len(probabilities)]
            start += len(probabilities)
            best = rows.max(axis=1)
            log_sums = np.log(np.exp(rows - best[:, None]).sum(axis=1, dtype=np.float64)) + best
            total += float((entropy - np.einsum("ij,ij->i", probabilities, rows) + log_sums).sum())
        return total

    return score
