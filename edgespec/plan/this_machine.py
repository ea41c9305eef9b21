"""The machine at hand, for predictions: measured once for each type of weights, then read from the cache."""

import hashlib
import json
import logging
import math
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from edgespec.catalog.memory import available_memory_bytes
from edgespec.catalog.metadata import GgufMetadata
from edgespec.decode.costs import CostCurve, pays_to_pad
from edgespec.documents import build, read_json
from edgespec.errors import ConfigError
from edgespec.files import changing, written_whole
from edgespec.llama.build import native_kernels, native_version
from edgespec.llama.devices import default_devices, list_devices
from edgespec.llama.library import default_threads
from edgespec.llama.placement import room_on
from edgespec.paths import costs_dir
from edgespec.plan.hardware import THIS
from edgespec.plan.models import PlannedPair
from edgespec.plan.probe import PROBED_ROWS, ProcessorTime, TypeSpeed, measure_block, measure_type
from edgespec.plan.workload import Workload, fast_draft_workload, workload_of
from edgespec.progress import SILENT, Progress
from edgespec.session.settings import EngineSettings

log = logging.getLogger(__name__)

_VERSION: Final = 1
LEAST_SHARE: Final = 0.8
"""Of the time of all threads that decodes on the CPU must have got while they were timed. They wait busily for each other: beside
nine other programs they ran or wanted to run for 99 % of it, and so get nearly all of an idle machine."""
_MINOR_SHARE: Final = 0.04
"""Types that hold less of a model than this are taken at the speed of its main one."""
_N_CTX: Final = 256


@dataclass(slots=True)
class _Speeds:
    """What was measured so far, as the cache keeps it."""

    block_s: dict[int, float]
    """Seconds of a block, by rows of a decode."""
    types: dict[str, TypeSpeed]


@dataclass(frozen=True, slots=True)
class ThisMachine:
    """The machine at hand, with the speeds that predictions need."""

    description: str
    total_memory_bytes: int
    is_cpu: bool
    """Whether models stay on the CPU, where drafts run as Q4_0 copies."""
    block_s: Mapping[int, float]
    """Seconds that a block costs besides its weights, by rows of a decode."""
    types: Mapping[str, TypeSpeed]
    """By ggml type, such as `Q4_K`."""
    name: str = THIS

    def draft_workload(self, meta: GgufMetadata) -> Workload:
        """Of the Q4_0 copy with a shortlist that edgespec drafts with on CPUs; elsewhere of the file itself."""
        return _draft_workload(meta, self.is_cpu)

    def predict_curve(self, work: Workload, beside_bytes: int = 0) -> CostCurve:
        """Seconds of a decode by its rows: every type's bytes at its measured speed, and a constant for each block.

        Args:
            work: Of the model; a type that was not measured is taken at the speed of the one with most bytes, and where that was
                not either, at that of another one.
            beside_bytes: Weights of another model that pass through the caches between two steps.
        """
        through = work.n_bytes + beside_bytes
        most = max(work.bytes_by_type, key=lambda name: work.bytes_by_type[name])
        main = self.types.get(most) or next(iter(self.types.values()))
        points = {}
        for rows in PROBED_ROWS:
            seconds = work.n_blocks * self.block_s[rows]
            for ggml_type, n_bytes in work.bytes_of(rows).items():
                speed = self.types.get(ggml_type) or main
                seconds += n_bytes * speed.byte_s(rows, through)
            # The cache is read as plain numbers, by one row as by many.
            seconds += work.kv_bytes * main.byte_s(1, through)
            points[rows] = seconds
        if pays_to_pad(points):
            points[1] = points[2]
        return CostCurve(points)


def measure_this_machine(
    pairs: Iterable[PlannedPair], n_threads: int = 0, progress: Progress = SILENT
) -> ThisMachine:
    """The machine at hand with the speeds that predictions for these models need.

    What the cache does not hold is measured: about three seconds for each type of weights.

    Args:
        pairs: What will be predicted.
        n_threads: 0 takes what llama.cpp's own tools would.
        progress: A stage for each measurement, all of one total.

    Raises:
        DiskSpaceError: There is not enough space for the models that are timed.
    """
    is_cpu = not default_devices(list_devices())
    works = []
    for pair in pairs:
        works += [
            workload_of(pair.target.meta),
            *(_draft_workload(draft.meta, is_cpu) for draft in pair.drafts),
        ]
    got = ProcessorTime()
    speeds = _measure_missing(needed_types(works), n_threads, progress, got if is_cpu else None)
    share = got.share(n_threads or default_threads())
    return _machine(speeds, n_threads, "measured" if share >= LEAST_SHARE else _disturbed(share))


def estimate_this_machine(
    works: Iterable[Workload], n_threads: int = 0, progress: Progress = SILENT
) -> ThisMachine:
    """The machine at hand with the speeds that are known already, for rough predictions of many models at once.

    Where none is known, the type of weights that has most bytes in these models is measured: some six seconds, once.

    Args:
        works: What will be predicted, one model at least.
        n_threads: 0 takes what llama.cpp's own tools would.
        progress: A stage for each measurement.

    Raises:
        DiskSpaceError: There is not enough space for the models that are timed.
    """
    known = _load(_file(n_threads))
    wanted = [] if known.block_s and known.types else needed_types(works)[:1]
    got = None if default_devices(list_devices()) else ProcessorTime()
    return _machine(_measure_missing(wanted, n_threads, progress, got), n_threads, "estimated")


def _machine(speeds: _Speeds, n_threads: int, state: str) -> ThisMachine:
    devices = tuple(list_devices())
    accelerators = default_devices(devices)
    free_bytes = sum(room_on(device, devices) for device in accelerators)
    names = ", ".join(device.description for device in accelerators)
    return ThisMachine(
        description=f"this machine: {names or f'{n_threads or default_threads()} threads'}, {state}",
        total_memory_bytes=free_bytes or available_memory_bytes(),
        is_cpu=not accelerators,
        block_s=speeds.block_s,
        types=speeds.types,
    )


def _disturbed(share: float) -> str:
    return f"measured beside other programs (its threads got {share:.0%} of their time), and so anew the next time"


def needed_types(works: Iterable[Workload]) -> list[str]:
    """The types of weights that matter for these models, those of most bytes first."""
    needed: dict[str, int] = {}
    for work in works:
        for ggml_type, n_bytes in work.bytes_by_type.items():
            if n_bytes >= _MINOR_SHARE * work.n_bytes:
                needed[ggml_type] = max(needed.get(ggml_type, 0), n_bytes)
    return sorted(needed, key=lambda name: -needed[name])


def _draft_workload(meta: GgufMetadata, is_cpu: bool) -> Workload:
    return fast_draft_workload(meta) if is_cpu else workload_of(meta)


def _measure_missing(
    types: Iterable[str], n_threads: int, progress: Progress, got: ProcessorTime | None
) -> _Speeds:
    """What the cache holds and, of what it lacks of these types, what is measured now.

    That is kept, unless other programs took the processor meanwhile: it would be taken for this machine's speed for ever.

    Args:
        types: That are needed.
        n_threads: 0 takes what llama.cpp's own tools would.
        progress: A stage for each measurement.
        got: Told what the decodes got of the processor; None where they run elsewhere.
    """
    settings = EngineSettings(n_ctx=_N_CTX, n_threads=n_threads)
    file = _file(n_threads)
    speeds = _load(file)
    wanted = [name for name in types if name not in speeds.types]
    total = len(wanted) + (not speeds.block_s)
    if not speeds.block_s:
        progress.stage("measuring blocks", total)
        speeds.block_s = measure_block(settings, got or ProcessorTime())
    for done, name in enumerate(wanted, total - len(wanted)):
        progress.stage(f"measuring {name}", total, done=done)
        speeds.types[name] = measure_type(name, speeds.block_s, settings, got or ProcessorTime())
        if got is None or got.share(n_threads or default_threads()) >= LEAST_SHARE:
            _save(file, speeds)
    return speeds


def _file(n_threads: int) -> Path:
    return costs_dir() / f"machine.{_key(n_threads or default_threads())}.json"


def _key(n_threads: int) -> str:
    devices = [(device.name, device.description) for device in list_devices()]
    parts = [platform.node(), platform.processor(), native_version(), repr(native_kernels()), repr(devices)]
    return hashlib.sha256("|".join([*parts, str(n_threads)]).encode()).hexdigest()[:16]


def _load(file: Path) -> _Speeds:
    if not file.exists():
        return _Speeds({}, {})
    try:
        speeds = build(_Speeds, read_json(file, version=_VERSION), str(file))
        curves = [
            speeds.block_s,
            *(one for kept in speeds.types.values() for one in (kept.small, kept.large)),
        ]
        if not all(set(curve) == set(PROBED_ROWS) and _are_times(curve.values()) for curve in curves):
            raise ConfigError(f"{file} has speeds that cannot be")
    except ConfigError as err:
        log.info("measuring again: %s", err)
        return _Speeds({}, {})
    return speeds


def _are_times(seconds: Iterable[float]) -> bool:
    return all(0.0 < one < math.inf for one in seconds)


def _save(file: Path, speeds: _Speeds) -> None:
    try:
        with changing(file):
            # Another process may have measured other types meanwhile.
            types = {**_load(file).types, **speeds.types}
            document = {"version": _VERSION, **asdict(replace(speeds, types=types))}
            with written_whole(file) as unfinished:
                unfinished.write_text(json.dumps(document), encoding="utf-8")
    except OSError as err:
        log.info("the speeds of this machine are not saved: %s", err)
