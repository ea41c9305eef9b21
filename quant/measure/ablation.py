"""Blocks taken out in memory: a callback overwrites what they computed, so that no file is written to score a model.

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
from edgespec.progress import SILENT, Progress
from quant.measure.activations import run_windows
from quant.measure.likelihood import Divergence, nll
from quant.text.windows import Tokens

Matrix = NDArray[np.float32]
Part = Literal["block", "attention"]


@dataclass(frozen=True, slots=True, eq=False)
class Bypass:
    """Blocks `first` to `last`, or the attention of one block, leave the residual stream as it was before them."""

    first: int
    last: int
    transform: Matrix | None = None
    """T, `[n_embd, n_embd]`: the rows of the FFN's output before the blocks are multiplied with it (ReplaceMe's fold)."""
    part: Part = "block"


def ablated(bypasses: Sequence[Bypass]) -> EvalCallback:
    """The callback that takes these spans out; they do not overlap."""
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
    progress: Progress = SILENT,
) -> NDArray[np.float64]:
    """What the model loses without each block, or without each one's attention, on its own, `[n_blocks]`.

    Args:
        model: The dense model, on the CPU.
        windows: `[n_windows, n_ctx]` tokens; every position but the last is scored.
        measure: Perplexity, or the mean KL divergence from the dense model in nats.
        part: What is taken out of a block.
        progress: Gets a stage, in blocks of every window.

    Raises:
        NotEnoughMemoryError: the context does not fit.
    """
    label = "scoring attention" if part == "attention" else "scoring blocks"
    progress.stage(label, len(windows) * model.n_layer)
    sums = np.zeros(model.n_layer)
    for tokens in windows:
        window = tokens[None]
        score = _likelihood(tokens) if measure == "ppl" else _divergence(model, window)
        for block in range(model.n_layer):
            sums[block] += _score_once(model, window, Bypass(block, block, part=part), score)
            progress.advance()
    means = sums / (len(windows) * (windows.shape[1] - 1))
    return np.asarray(np.exp(means) if measure == "ppl" else means)


def _score_once(model: Model, window: Tokens, bypass: Bypass, score: Callable[[Logits], float]) -> float:
    scores: list[float] = []

    def visit(_window: int, logits: Logits) -> None:
        scores.append(score(logits[:-1]))

    run_windows(model, window, ablated([bypass]), visit=visit)
    return scores[0]


def _likelihood(tokens: Tokens) -> Callable[[Logits], float]:
    """Gives the summed negative log-likelihood of a window's next tokens, in nats."""
    return lambda logits: float(nll(logits, tokens[1:]).sum())


def _divergence(model: Model, window: Tokens) -> Callable[[Logits], float]:
    """Gives the summed KL divergence from what the whole model says of the window, in nats."""
    dense: list[Divergence] = []

    def save(_window: int, logits: Logits) -> None:
        dense.append(Divergence(logits[:-1]))

    run_windows(model, window, visit=save)
    return dense[0].sum_of


class _Detour:
    """Carries the residual stream around one span."""

    def __init__(self, bypass: Bypass) -> None:
        self._bypass = bypass
        self._saved: dict[str, Matrix] = {}

    def handlers(self) -> dict[str, Handler]:
        before = self._bypass.first - 1
        if self._bypass.transform is not None:
            starts = [f"ffn_inp-{before}", f"ffn_out-{before}"]
        else:
            starts = ["embd" if before < 0 else f"l_out-{before}"]
        end = "ffn_inp" if self._bypass.part == "attention" else "l_out"
        return {**dict.fromkeys(starts, self._save), f"{end}-{self._bypass.last}": self._overwrite}

    def _save(self, node: Node) -> None:
        self._saved[node.name.split("-")[0]] = node.output.copy()

    def _overwrite(self, node: Node) -> None:
        transform = self._bypass.transform
        if transform is None:
            (residual,) = self._saved.values()
        else:
            residual = self._saved["ffn_inp"] + self._saved["ffn_out"] @ transform
        node.output[:] = residual


def _in_turn(handlers: Sequence[Handler]) -> Handler:
    """One handler for a node where a span ends and the next begins: the order of the spans."""

    def call_all(node: Node) -> None:
        for handler in handlers:
            handler(node)

    return call_all
