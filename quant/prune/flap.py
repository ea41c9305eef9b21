"""Method flap: heads and neurons whose inputs hardly fluctuate become a bias (FLAP, arXiv 2312.11983, AAAI 2024).

The metric of an input column j of `attn_output` or `ffn_down` is the variance of the input times the squared norm of
the weight's column (WIFV). Attention's is squared once more, and each module's is brought to mean 0 and deviation 1
in its block, so that one ranking serves the whole model (structure "AL-AM"; quant/prune/width_choice.py has the others).
Under grouped-query attention the unit is a KV group, priced at its weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgespec.llama.model import Model
from edgespec.progress import SILENT, Progress
from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import planned_weights
from quant.measure.activations import Moments, input_moments
from quant.prune.run import PruneRun
from quant.prune.selection import Selection
from quant.prune.shape import ModelShape, read_shape
from quant.prune.width import BlockWidth, Matrix, spread_rows
from quant.prune.width_choice import Scores, choose_widths
from quant.text.windows import Tokens

_MODULES: Final = ("attn_output", "ffn_down")


def choose(run: PruneRun) -> Selection:
    """The heads and neurons that fluctuate least leave; their mean stays as a bias.

    Raises:
        UsageError: an architecture whose widths cannot be cut, or a ratio out of reach.
        NotEnoughMemoryError: the model or a context does not fit.
    """
    amount = run.plan.width_amount
    assert amount is not None, "the plan of this method has one"
    with run.open_model(run.plan.dense) as model:
        found = Fluctuation.measure(model, run.dense, run.calibration.fit, progress=run.progress)
    widths = choose_widths(found.shape, found.scores(), amount, run.settings.width_structure)
    return Selection((), widths, found.biases(widths))


@dataclass(frozen=True, slots=True, eq=False)
class Fluctuation:
    """How the inputs of a model's `attn_output` and `ffn_down` vary on a text."""

    gguf: GgufPlan
    shape: ModelShape
    moments: Mapping[str, Moments]
    """Of the inputs' columns, by the weight's name."""

    @classmethod
    def measure(
        cls, model: Model, gguf: GgufPlan, windows: Tokens, *, progress: Progress = SILENT
    ) -> "Fluctuation":
        """Reads the text.

        Args:
            model: On the CPU.
            gguf: Of the same model; its types may be others.
            windows: `[n_windows, n_ctx]` tokens.
            progress: Gets the stage "reading the calibration text", in windows.

        Raises:
            UsageError: an architecture whose widths cannot be cut.
            NotEnoughMemoryError: the context does not fit.
        """
        shape = read_shape(gguf)
        names = [f"blk.{block}.{name}.weight" for block in range(shape.n_blocks) for name in _MODULES]
        progress.stage("reading the calibration text", len(windows))
        return cls(gguf, shape, input_moments(model, windows, names, progress=progress))

    def scores(self) -> Scores:
        """FLAP's own scores of all heads and neurons (WIFV)."""
        return _scores(self.gguf, self.shape, {name: found.variance for name, found in self.moments.items()})

    def biases(self, widths: Sequence[BlockWidth]) -> dict[str, Matrix]:
        """What the removed columns added on average: W[:, removed] mean[removed], `[n_embd]`.

        With `ffn_down.weight` = `[[1, 2, 3], [4, 5, 6]]` and inputs of mean `[10, 1, 0.5]`, a block that keeps neuron 0 gets
        the bias `[1*2 + 0.5*3, 1*5 + 0.5*6]` = `[3.5, 8]`. A block that lost its attention whole adds what that brought
        with its FFN: `attn_output` is gone, and its bias would be.

        Args:
            widths: What each block keeps.

        Returns:
            By projection, such as `blk.3.ffn_down`; only those that lost columns.

        Raises:
            EngineError: ggml cannot read a type.
            OSError: the file cannot be read.
        """
        shape = self.shape
        group_width = shape.n_head // shape.n_head_kv * shape.head_dim
        result: dict[str, Matrix] = {}
        for number, block in enumerate(widths):
            kept = {"attn_output": spread_rows(block.kv_groups, group_width), "ffn_down": block.neurons}
            for name, columns in kept.items():
                weight = f"blk.{number}.{name}.weight"
                mean = self.moments[weight].mean.copy()
                if len(columns) < len(mean):
                    mean[columns] = 0
                    target = f"blk.{number}.{name if len(block.kv_groups) else 'ffn_down'}"
                    bias = planned_weights(self.gguf, weight) @ mean.astype(np.float32)
                    result[target] = result.get(target, np.float32(0)) + bias
        return result


def magnitude_scores(gguf: GgufPlan, shape: ModelShape) -> Scores:
    """The same ranking by the weights' columns alone, for comparison."""
    ones = {f"blk.{block}.{name}.weight": np.ones(1) for block in range(shape.n_blocks) for name in _MODULES}
    return _scores(gguf, shape, ones)


def _scores(gguf: GgufPlan, shape: ModelShape, fluctuations: Mapping[str, NDArray[np.float64]]) -> Scores:
    """From the variances of the inputs' columns, `[n_columns]`, by the weight's name."""
    groups, neurons = [], []
    for block in range(shape.n_blocks):
        metrics = []
        for module in _MODULES:
            name = f"blk.{block}.{module}.weight"
            norms = np.square(planned_weights(gguf, name)).sum(axis=0, dtype=np.float64)
            metrics.append(fluctuations[name] * norms)
        groups.append(_standardized(metrics[0] ** 2).reshape(shape.n_head_kv, -1).mean(axis=1))
        neurons.append(_standardized(metrics[1]))
    return Scores(np.array(groups), np.array(neurons))


def _standardized(values: NDArray[np.float64]) -> NDArray[np.float64]:
    deviation = values.std(ddof=1)
    return np.asarray((values - values.mean()) / (deviation if deviation else 1))
