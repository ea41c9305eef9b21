"""Measures this machine: how fast it decodes weights of each type, in its caches and out of them."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import monotonic, perf_counter, process_time
from typing import Final

from edgespec.catalog.memory import available_memory_bytes
from edgespec.catalog.model_file import open_file
from edgespec.decode.measure_costs import time_decodes
from edgespec.errors import DiskSpaceError
from edgespec.files import scratch_folder
from edgespec.paths import derived_models_dir
from edgespec.plan.zero_model import ZeroModel
from edgespec.session.loading import load_target
from edgespec.session.settings import EngineSettings

log = logging.getLogger(__name__)

PROBED_ROWS: Final = (1, 2, 4, 8, 16)
"""Numbers of rows that decodes are timed with."""
_WIDTH, _HIDDEN = 2048, 8192
_SMALL_BLOCKS, _LARGE_BLOCKS = 2, 8
"""Of that width a block has 61 million weights: 70 MB and 270 MB in Q4_K, within many caches and beyond most."""
_THIN: Final = ZeroModel("F16", blocks=24, width=256, hidden=256)
"""What a block costs besides its matrices is seen where those are next to nothing."""
_SMALL_S, _LARGE_S = 0.4, 1.2
"""Seconds to time a model for."""
_MEMORY_FACTOR: Final = 3.0
"""Free memory must be that many times the large model (file, repacked copy, buffers)."""


@dataclass(slots=True)
class ProcessorTime:
    """What the decodes that were timed got of the processor: its threads wait busily, so less than all went to others."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    """Over all threads."""

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Counts what is done inside."""
        wall_s, cpu_s = monotonic(), process_time()
        try:
            yield
        finally:
            self.wall_s += monotonic() - wall_s
            self.cpu_s += process_time() - cpu_s

    def share(self, n_threads: int) -> float:
        """Of the time of so many threads, at most 1; 1 where nothing was counted."""
        return min(1.0, self.cpu_s / (self.wall_s * n_threads)) if self.wall_s else 1.0


@dataclass(frozen=True, slots=True)
class TypeSpeed:
    """What a byte of weights of one type costs, measured with a small model and with a large one."""

    small_bytes: int
    """Weights of the small model, which many caches hold."""
    small: Mapping[int, float]
    """Seconds per byte, by rows of a decode."""
    large_bytes: int
    large: Mapping[int, float]
    """The same from memory."""

    def byte_s(self, rows: int, model_bytes: int) -> float:
        """Seconds per byte in a decode of `rows` rows that reads so many bytes in all; between the sizes a line."""
        if model_bytes <= self.small_bytes or self.large_bytes == self.small_bytes:
            return self.small[rows]
        if model_bytes >= self.large_bytes:
            return self.large[rows]
        share = (model_bytes - self.small_bytes) / (self.large_bytes - self.small_bytes)
        return self.small[rows] * (1 - share) + self.large[rows] * share


def measure_block(settings: EngineSettings, got: ProcessorTime) -> dict[int, float]:
    """Seconds of a block that has next to no weights, by rows of a decode.

    Args:
        settings: Threads and placement to measure with.
        got: Told what the decodes got of the processor.

    Raises:
        DiskSpaceError: There is not enough space for the model that is timed.
    """
    times = _time_model(_THIN, settings, _SMALL_S, got)
    return {rows: seconds / _THIN.blocks for rows, seconds in times.items()}


def measure_type(
    ggml_type: str, block_s: Mapping[int, float], settings: EngineSettings, got: ProcessorTime
) -> TypeSpeed:
    """What a byte of this type costs here.

    Args:
        ggml_type: Of the weights, such as `Q4_K`.
        block_s: Of `measure_block`, which is not charged to the bytes.
        settings: Threads and placement to measure with.
        got: Told what the decodes got of the processor.

    Raises:
        DiskSpaceError: There is not enough space for the models that are timed.
    """
    small = ZeroModel(ggml_type, _SMALL_BLOCKS, _WIDTH, _HIDDEN)
    large = replace(small, blocks=_LARGE_BLOCKS)
    small_s = _byte_times(small, block_s, settings, _SMALL_S, got)
    if available_memory_bytes() < _MEMORY_FACTOR * large.n_bytes:
        log.info("%s: too little free memory for a large model; its speed is that of a small one", ggml_type)
        return TypeSpeed(small.n_bytes, small_s, small.n_bytes, small_s)
    large_s = _byte_times(large, block_s, settings, _LARGE_S, got)
    return TypeSpeed(small.n_bytes, small_s, large.n_bytes, large_s)


def _byte_times(
    model: ZeroModel,
    block_s: Mapping[int, float],
    settings: EngineSettings,
    budget_s: float,
    got: ProcessorTime,
) -> dict[int, float]:
    # A thin block has matrices of its own: it may not take away more than half of what is left.
    return {
        rows: max(seconds - model.blocks * block_s[rows], seconds / 2) / model.n_bytes
        for rows, seconds in _time_model(model, settings, budget_s, got).items()
    }


def _time_model(
    model: ZeroModel, settings: EngineSettings, budget_s: float, got: ProcessorTime
) -> dict[int, float]:
    """Least seconds of a decode, by its rows."""
    folder = derived_models_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with scratch_folder(folder) as inside:
            path = inside / f"{model.ggml_type}.gguf"
            model.write(path)
            loaded = load_target(open_file("probe", path), settings)
            try:
                with got.counting():
                    times = time_decodes(
                        loaded.context, PROBED_ROWS, budget_s, all_outputs=True, clock=perf_counter
                    )
            finally:
                loaded.close()
    except OSError as err:
        raise DiskSpaceError(
            f"cannot write a model to time in {folder}: {err.strerror or err}", "free some space there"
        ) from err
    # What a slow machine had no time for costs what as many single rows do.
    return {rows: times.get(rows, times[1] * rows) for rows in PROBED_ROWS}
