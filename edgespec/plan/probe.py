"""Measures this machine: how fast it decodes weights of each type, in its caches and out of them.

Models of zeros are made for it, of plain Llama's architecture: every kernel, thread and device does what it does for
a real one. The zeros are written out, because holes of a file are mapped in small pages and read at half the speed.
"""

import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgespec.catalog.memory import available_memory_bytes
from edgespec.catalog.model_file import open_file
from edgespec.decode.measure_costs import time_decodes
from edgespec.errors import DiskSpaceError
from edgespec.paths import derived_models_dir
from edgespec.session.loading import load_target
from edgespec.session.settings import EngineSettings

log = logging.getLogger(__name__)

ROWS: Final = (1, 2, 4, 8, 16)
_WIDTH, _HIDDEN, _HEADS, _KV_HEADS = 2048, 8192, 32, 8
_SMALL_BLOCKS, _LARGE_BLOCKS = 2, 8
"""Of that width a block has 61 million weights: 70 MB and 270 MB in Q4_K, within many caches and beyond most."""
_THIN_BLOCKS, _THIN_WIDTH = 24, 256
"""What a block costs besides its matrices is seen where those are next to nothing."""
_VOCAB: Final = 256
_SMALL_S, _LARGE_S = 0.4, 1.2
_CHUNK_BYTES: Final = 16 * 2**20
_ROOM: Final = 3.0
"""Free memory must be that many times the large model (file, repacked copy, buffers)."""

Report = Callable[[str], None]
"""Told what was measured."""


@dataclass(frozen=True, slots=True)
class TypeSpeed:
    """Seconds that a byte of weights of one type costs, by rows of a decode."""

    small_bytes: int
    small: Mapping[int, float]
    large_bytes: int
    large: Mapping[int, float]

    def byte_s(self, rows: int, model_bytes: int) -> float:
        """Between the two sizes as the share of the bytes that are beyond the small one."""
        if model_bytes <= self.small_bytes or self.large_bytes == self.small_bytes:
            return self.small[rows]
        if model_bytes >= self.large_bytes:
            return self.large[rows]
        share = (model_bytes - self.small_bytes) / (self.large_bytes - self.small_bytes)
        return self.small[rows] * (1 - share) + self.large[rows] * share


def measure_block(settings: EngineSettings) -> dict[int, float]:
    """Seconds of a block that has next to no weights, by rows."""
    times, _ = _time_model("F16", _THIN_BLOCKS, _THIN_WIDTH, _THIN_WIDTH, settings, _SMALL_S)
    return {rows: seconds / _THIN_BLOCKS for rows, seconds in times.items()}


def measure_type(ggml_type: str, block_s: Mapping[int, float], settings: EngineSettings) -> TypeSpeed:
    """What a byte of this type costs here.

    Raises:
        DiskSpaceError: no room for the model that is timed.
    """
    small, small_bytes = _byte_times(ggml_type, _SMALL_BLOCKS, block_s, settings, _SMALL_S)
    large_bytes = small_bytes * _LARGE_BLOCKS // _SMALL_BLOCKS
    if available_memory_bytes() < _ROOM * large_bytes:
        log.info("%s: no free memory for a large model; its speed is that of a small one", ggml_type)
        return TypeSpeed(small_bytes, small, small_bytes, small)
    large, large_bytes = _byte_times(ggml_type, _LARGE_BLOCKS, block_s, settings, _LARGE_S)
    return TypeSpeed(small_bytes, small, large_bytes, large)


def _byte_times(
    ggml_type: str, blocks: int, block_s: Mapping[int, float], settings: EngineSettings, budget_s: float
) -> tuple[dict[int, float], int]:
    times, n_bytes = _time_model(ggml_type, blocks, _WIDTH, _HIDDEN, settings, budget_s)
    # A thin block has matrices of its own: it may not take away more than half of what is left.
    return {
        rows: max(seconds - blocks * block_s.get(rows, 0.0), seconds / 2) / n_bytes
        for rows, seconds in times.items()
    }, n_bytes


def _time_model(
    ggml_type: str, blocks: int, width: int, hidden: int, settings: EngineSettings, budget_s: float
) -> tuple[dict[int, float], int]:
    folder = derived_models_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="probe-", dir=folder, ignore_cleanup_errors=True) as inside:
            path = Path(inside) / f"{ggml_type}.gguf"
            n_bytes = write_zero_model(path, ggml_type, blocks, width, hidden)
            loaded = load_target(open_file("probe", path), settings)
            try:
                times = time_decodes(loaded.context, ROWS, budget_s, all_outputs=True)
            finally:
                loaded.close()
    except OSError as err:
        raise DiskSpaceError(
            f"cannot write a model to time in {folder}: {err.strerror or err}", "free some space there"
        ) from err
    first = times[1]
    return {rows: times.get(rows, first * rows) for rows in ROWS}, n_bytes


def write_zero_model(path: Path, ggml_type: str, blocks: int, width: int, hidden: int) -> int:
    """A Llama of zeros without a tokenizer; returns the bytes of its matrices, the embedding left out."""
    import gguf
    import numpy as np

    head = 64
    heads = width // head
    kv_heads = max(heads * _KV_HEADS // _HEADS, 1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(blocks)
    writer.add_context_length(512)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(head)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(_VOCAB)
    kind = gguf.GGMLQuantizationType[ggml_type]
    per_block, block_bytes = gguf.GGML_QUANT_SIZES[kind]

    def add(name: str, rows: int, columns: int) -> int:
        size = int(rows * columns // per_block * block_bytes)
        shape = (rows, columns // per_block * block_bytes)
        writer.add_tensor_info(name, shape, np.dtype(np.uint8), size, raw_dtype=kind)
        return size

    def add_norm(name: str) -> None:
        writer.add_tensor_info(name, (width,), np.dtype(np.float32), 4 * width)

    add("token_embd.weight", _VOCAB, width)
    n_bytes = 0
    for block in range(blocks):
        add_norm(f"blk.{block}.attn_norm.weight")
        add_norm(f"blk.{block}.ffn_norm.weight")
        for name, rows, columns in (
            ("attn_q", width, width),
            ("attn_k", head * kv_heads, width),
            ("attn_v", head * kv_heads, width),
            ("attn_output", width, width),
            ("ffn_gate", hidden, width),
            ("ffn_up", hidden, width),
            ("ffn_down", width, hidden),
        ):
            n_bytes += add(f"blk.{block}.{name}.weight", rows, columns)
    add_norm("output_norm.weight")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    padded = sum(writer.ggml_pad(info.nbytes, writer.data_alignment) for info in writer.tensors[0].values())
    writer.close()
    with path.open("r+b") as file:
        left = writer.ggml_pad(file.seek(0, 2), writer.data_alignment) + padded - file.tell()
        while left:
            left -= file.write(bytes(min(left, _CHUNK_BYTES)))
    return n_bytes
