"""The machine at hand, for predictions: measured once for each type of weights, then read from the cache."""

import hashlib
import json
import logging
import math
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from edgespec.catalog.memory import available_memory_bytes
from edgespec.decode.costs import CostCurve, curve_from, pays_to_pad
from edgespec.files import written_whole
from edgespec.llama.build import native_kernels, native_version
from edgespec.llama.devices import list_devices
from edgespec.llama.library import default_threads
from edgespec.llama.placement import DEVICE_RESERVE_BYTES
from edgespec.paths import costs_dir
from edgespec.plan.hardware import THIS
from edgespec.plan.probe import ROWS, TypeSpeed, measure_block, measure_type
from edgespec.plan.workload import Workload
from edgespec.session.settings import EngineSettings

log = logging.getLogger(__name__)

_VERSION: Final = 1
_MINOR_SHARE: Final = 0.04
"""Types that hold less of a model than this are taken at the speed of its main one."""
_N_CTX: Final = 256

Progress = Callable[[str, int, int], None]
"""Told what is measured, and how many of how many measurements are done."""


@dataclass(frozen=True, slots=True)
class ThisMachine:
    """The machine at hand, with the speeds that predictions need."""

    description: str
    total_memory_bytes: int
    is_cpu: bool
    """Whether models stay on the CPU, where drafts run as Q4_0 copies."""
    block_s: Mapping[int, float]
    types: Mapping[str, TypeSpeed]
    name: str = THIS

    def predict_curve(self, work: Workload, beside_bytes: int = 0) -> CostCurve:
        """Seconds of a decode by its rows: every type's bytes at its measured speed, and a constant for each block.

        `beside_bytes` of another model pass through the caches between two steps.
        """
        through = work.n_bytes + beside_bytes
        main = max(work.bytes_by_type, key=lambda name: work.bytes_by_type[name])
        points = {}
        for rows in ROWS:
            seconds = work.n_blocks * self.block_s[rows]
            for ggml_type, n_bytes in work.bytes_by_type.items():
                speed = self.types.get(ggml_type) or self.types[main]
                seconds += n_bytes * speed.byte_s(rows, through)
            # The cache is read as plain numbers, by one row as by many.
            seconds += work.kv_bytes * self.types[main].byte_s(1, through)
            points[rows] = seconds
        if pays_to_pad(points):
            points[1] = points[2]
        return curve_from(points)


def needed_types(works: Iterable[Workload]) -> list[str]:
    """The types of weights that matter for these models, those of most bytes first."""
    needed: dict[str, int] = {}
    for work in works:
        for ggml_type, n_bytes in work.bytes_by_type.items():
            if n_bytes >= _MINOR_SHARE * work.n_bytes:
                needed[ggml_type] = max(needed.get(ggml_type, 0), n_bytes)
    return sorted(needed, key=lambda name: -needed[name])


def measure_this_machine(types: Iterable[str], n_threads: int, progress: Progress) -> ThisMachine:
    """Measures what is not in the cache yet: about three seconds for each type of weights.

    Args:
        types: Of weights.
        n_threads: 0 takes what llama.cpp's own tools would.
        progress: Told before each measurement.

    Raises:
        DiskSpaceError: no room for the models that are timed.
    """
    settings = EngineSettings(n_ctx=_N_CTX, n_threads=n_threads)
    file = costs_dir() / f"machine.{_key(n_threads or default_threads())}.json"
    block_s, speeds = _load(file)
    wanted = [name for name in types if name not in speeds]
    total = len(wanted) + (not block_s)
    if not block_s:
        progress("measuring blocks", 0, total)
        block_s = measure_block(settings)
    for done, name in enumerate(wanted, total - len(wanted)):
        progress(f"measuring {name}", done, total)
        speeds[name] = measure_type(name, block_s, settings)
        _save(file, block_s, speeds)
    if total:
        progress("measured", total, total)
    accelerators = [device for device in list_devices() if device.kind in ("gpu", "igpu")]
    free = sum(max(0, device.memory_free_bytes - DEVICE_RESERVE_BYTES) for device in accelerators)
    names = (
        ", ".join(device.description for device in accelerators)
        or f"{n_threads or default_threads()} threads"
    )
    return ThisMachine(
        f"this machine: {names}, measured",
        free or available_memory_bytes(),
        not accelerators,
        block_s,
        speeds,
    )


def _key(n_threads: int) -> str:
    devices = [(device.name, device.description) for device in list_devices()]
    parts = [platform.node(), platform.processor(), native_version(), repr(native_kernels()), repr(devices)]
    return hashlib.sha256("|".join([*parts, str(n_threads)]).encode()).hexdigest()[:16]


def _load(file: Path) -> tuple[dict[int, float], dict[str, TypeSpeed]]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if document["version"] != _VERSION:
            return {}, {}
        block_s = _curve(document["block_s"])
        return block_s, {name: _type_speed(stored) for name, stored in document["types"].items()}
    except FileNotFoundError:
        return {}, {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        log.info("measuring again: %s cannot be read (%s)", file, err)
        return {}, {}


def _type_speed(stored: dict[str, object]) -> TypeSpeed:
    return TypeSpeed(
        int(str(stored["small_bytes"])),
        _curve(stored["small"]),
        int(str(stored["large_bytes"])),
        _curve(stored["large"]),
    )


def _curve(stored: object) -> dict[int, float]:
    if not isinstance(stored, dict):
        raise ValueError("a curve that is no table")
    curve = {int(rows): float(seconds) for rows, seconds in stored.items()}
    if set(curve) != set(ROWS) or not all(0.0 < seconds < math.inf for seconds in curve.values()):
        raise ValueError("speeds that cannot be")
    return curve


def _save(file: Path, block_s: Mapping[int, float], speeds: Mapping[str, TypeSpeed]) -> None:
    document = {
        "version": _VERSION,
        "block_s": dict(block_s),
        "types": {name: asdict(speed) for name, speed in speeds.items()},
    }
    try:
        with written_whole(file) as unfinished:
            unfinished.write_text(json.dumps(document), encoding="utf-8")
    except OSError as err:
        log.info("the speeds of this machine are not kept: %s", err)
