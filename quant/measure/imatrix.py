"""Importance matrices: how much each column of a weight counts, measured through an eval callback.

The file is llama.cpp's GGUF form (tools/imatrix/imatrix.cpp): for every weight the sums of squares of its inputs'
columns and the number of rows that were summed, so that llama.cpp's own tools read it.
"""

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from edgespec.catalog.compatibility import check_writes_text
from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.errors import ModelFileError
from edgespec.files import written_whole
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from edgespec.progress import SILENT, Progress
from quant.measure.activations import Moments, input_moments
from quant.text.calibration import calibration_windows
from quant.text.calibration_source import DEFAULT_TOKENS, CalibrationSource
from quant.text.windows import Tokens

Importance = Mapping[str, NDArray[np.float32]]
"""Mean squares of a weight's input columns, `[n_columns]`, by the weight's name."""

_SUMS, _COUNTS = ".in_sum2", ".counts"
_OUTPUT = "output.weight"


def measure(
    model: Model, meta: GgufMetadata, windows: Tokens, *, progress: Progress = SILENT
) -> dict[str, Moments]:
    """Moments of the inputs of every matrix of a model's blocks, and of its output.

    Args:
        model: On the CPU.
        meta: Of the same file.
        windows: `[n_windows, n_ctx]` tokens.
        progress: Gets the stage "measuring the importance", in windows.

    Raises:
        NotEnoughMemoryError: the context does not fit.
    """
    progress.stage("measuring the importance", len(windows))
    matrices = [tensor.name for tensor in meta.tensors if len(tensor.shape) == 2]
    names = [name for name in matrices if name.startswith("blk.") or name == _OUTPUT]
    moments = input_moments(model, windows, names, progress=progress)
    return {name: found for name, found in moments.items() if found.n}


def measure_file(
    meta: GgufMetadata,
    text: CalibrationSource,
    n_tokens: int = DEFAULT_TOKENS,
    *,
    progress: Progress = SILENT,
) -> dict[str, Moments]:
    """As `measure`, of a model's file.

    Args:
        meta: Its header.
        text: A text, or the model's own answers.
        n_tokens: That are read of it.
        progress: Gets a stage for the text and one for the measurement.

    Raises:
        UsageError: the text cannot be read, or is too short.
        NotEnoughMemoryError: the model or a context does not fit.
        ModelFileError: the model writes no text, or llama.cpp cannot load it.
    """
    check_writes_text(meta.path.name, meta)
    with Model(meta.path, Placement()) as model:
        windows = calibration_windows(model, meta.path, [text], n_tokens, progress=progress)
        return measure(model, meta, windows, progress=progress)


def importance_of(moments: Mapping[str, Moments]) -> Importance:
    """What the quantizer takes."""
    return {name: found.mean_square.astype(np.float32) for name, found in moments.items()}


def write_imatrix(path: Path, moments: Mapping[str, Moments], *, dataset: str, n_ctx: int) -> None:
    """Writes llama.cpp's file.

    Args:
        path: The new file; it appears only when it is whole.
        moments: By weight name.
        dataset: What was read, for the metadata.
        n_ctx: Tokens in a window.
    """
    n_rows = max((found.n for found in moments.values()), default=0)
    with written_whole(path, make_folder=False) as unfinished:
        writer = gguf.GGUFWriter(unfinished, arch="")
        writer.add_type("imatrix")
        writer.add_array("imatrix.datasets", [dataset])
        writer.add_uint32("imatrix.chunk_count", n_rows // n_ctx)
        writer.add_uint32("imatrix.chunk_size", n_ctx)
        for name, found in sorted(moments.items()):
            writer.add_tensor(name + _SUMS, found.sum_squares.astype(np.float32)[None])
            writer.add_tensor(name + _COUNTS, np.array([[found.n]], np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def read_imatrix(path: Path) -> Importance:
    """Reads a file of `write_imatrix` or of llama-imatrix.

    Raises:
        ModelMissingError: the file is not there.
        ModelFileError: it is not an importance matrix.
    """
    meta = read_metadata(path)
    data = np.memmap(path, np.uint8, "r", offset=meta.data_offset) if meta.tensors else np.zeros(0, np.uint8)
    values = {
        t.name: data[t.offset : t.offset + t.n_bytes].view(np.float32)
        for t in meta.tensors
        if t.ggml_type == "F32"
    }
    names = [name.removesuffix(_SUMS) for name in values if name.endswith(_SUMS)]
    if not names or any(name + _COUNTS not in values for name in names):
        raise ModelFileError(
            f"{path} is not an importance matrix", "make one with llama-imatrix, or use `calibrate`"
        )
    result = {}
    for name in names:
        counts = values[name + _COUNTS].reshape(-1, 1)
        sums = values[name + _SUMS].reshape(len(counts), -1)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), 1)
        result[name] = np.ascontiguousarray(means, np.float32).reshape(-1)
    return result
