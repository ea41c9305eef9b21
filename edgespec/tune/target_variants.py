"""The target in other types: those whose batches are cheap."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from edgespec.catalog.derived import find_or_make
from edgespec.catalog.metadata import GgufMetadata
from edgespec.decode.replay import Recording
from edgespec.llama.model import Model
from edgespec.llama.quantizer import QuantizeSettings
from edgespec.paths import derived_file
from edgespec.progress import SILENT, Progress
from edgespec.tune.answers import Answers
from edgespec.tune.variants import TargetVariant
from quant.convert.quantize import quantize_model
from quant.measure.evaluate import evaluate
from quant.measure.imatrix import importance_of, measure
from quant.text.windows import Tokens

TARGET_TYPES: Final[dict[str, QuantizeSettings]] = {
    "Q4_0": QuantizeSettings("Q4_0", pure=True),
    "Q4_K": QuantizeSettings("Q4_K_S", pure=True),
}
"""Types that a target may be rewritten in, by label: in llama.cpp's and edgespec's kernels their batches are cheap."""
_WINDOW_TOKENS: Final = 256
_COMPARED_CHUNKS: Final = 2


def requantized_target(
    meta: GgufMetadata, type_label: str, answers: Answers, progress: Progress = SILENT
) -> TargetVariant:
    """The target rewritten in another type, and its distance from the published file; the file is made once.

    Args:
        meta: Of the published file.
        type_label: One of `TARGET_TYPES`.
        answers: Of the published file: importance and distance are measured on them.
        progress: Several stages.

    Raises:
        EdgespecError: any error of `quant.convert.quantize.quantize_model` and `quant.measure.evaluate.evaluate`.
    """
    file = derived_file(meta.path, f"tune-{type_label.lower()}.gguf")
    find_or_make(
        file, lambda: _quantize(meta, TARGET_TYPES[type_label], answers.fit, file, progress), progress
    )
    compared = evaluate(
        file,
        answers.fit_text(),
        against=meta.path,
        n_chunks=_COMPARED_CHUNKS,
        label=f"comparing {type_label} with the published file",
        progress=progress,
    )
    return TargetVariant(type_label, file, compared.distance)


def _quantize(
    meta: GgufMetadata,
    settings: QuantizeSettings,
    recordings: Sequence[Recording],
    file: Path,
    progress: Progress,
) -> None:
    with Model(meta.path) as model:
        moments = measure(model, meta, packed_windows(recordings), progress=progress)
    settings = replace(settings, importance=importance_of(moments))
    calibration = "the model's own answers"
    quantize_model(meta, settings, file, calibration=calibration, force=True, progress=progress)


def packed_windows(recordings: Sequence[Recording]) -> Tokens:
    """Questions and answers one after the other, cut into windows, `[n_windows, 256]`.

    600 tokens give two windows, and the last 88 tokens are in none; 100 tokens are repeated until they fill one.
    """
    tokens = np.concatenate([np.array([*one.prompt, *one.tokens], np.int32) for one in recordings])
    count = max(len(tokens) // _WINDOW_TOKENS, 1)
    return np.resize(tokens, count * _WINDOW_TOKENS).reshape(count, _WINDOW_TOKENS)
