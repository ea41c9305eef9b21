"""What `edgespec doctor` reports, as values; the JSON is made of these and of nothing else."""

import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edgespec import __version__, paths
from edgespec.errors import EdgespecError
from edgespec.processor import processor_name

SCHEMA: Final = "edgespec.doctor/1"
"""Name and version of the JSON contract; a field that changes its meaning changes the number."""

_LITTLE_MEMORY_BYTES: Final = 2 * 1024**3
_LITTLE_DISK_BYTES: Final = 2 * 1024**3

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Versions:
    """What is installed; an empty string where it could not be found out."""

    edgespec: str
    python: str
    llama_cpp_python: str
    llama_cpp: str


@dataclass(frozen=True, slots=True)
class HostReport:
    """The processor and its memory."""

    system: str
    cpu: str
    physical_cores: int
    logical_cores: int
    memory_total_bytes: int
    memory_available_bytes: int


@dataclass(frozen=True, slots=True)
class EngineDevice:
    """A device as this build of llama.cpp reports it."""

    name: str
    description: str
    kind: str
    """`cpu`, `gpu`, `igpu` or `accel`."""
    memory_free_bytes: int
    memory_total_bytes: int


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What this build of llama.cpp can do."""

    kernels: str
    """Instruction set of edgespec's own kernels, such as `avx2`; empty where ggml's do all the work."""
    system_info: str
    features: tuple[str, ...]
    """Instruction sets and options that are on, such as `AVX2`."""
    supports_gpu_offload: bool
    supports_rpc: bool
    default_threads: int
    devices: tuple[EngineDevice, ...]


@dataclass(frozen=True, slots=True)
class Folder:
    """A place where edgespec keeps things."""

    name: str
    path: Path
    exists: bool
    free_bytes: int


@dataclass(frozen=True, slots=True)
class ModelOnDisk:
    """A model that needs no network."""

    name: str
    path: Path
    size_bytes: int
    origin: str


@dataclass(frozen=True, slots=True)
class Leftover:
    """What work that was killed has left; the next command that writes a file removes it."""

    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that could be better, and how."""

    severity: Severity
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class MachineReport:
    """All of it. `engine` is None when llama.cpp does not load; then a finding says why."""

    versions: Versions
    machine: HostReport
    engine: EngineReport | None
    folders: tuple[Folder, ...]
    models: tuple[ModelOnDisk, ...]
    leftovers: tuple[Leftover, ...]
    offline: bool
    findings: tuple[Finding, ...]


def examine_machine(*, offline: bool) -> MachineReport:
    """Looks at everything; what is missing becomes a finding instead of an error.

    Args:
        offline: Whether fetching is forbidden.
    """
    findings: list[Finding] = []
    versions, engine = _examine_engine(findings)
    models = _list_models(findings)
    machine = _examine_machine(engine)
    folders = _list_folders()
    findings += _judge(machine, engine, folders, offline=offline)
    leftovers = _list_leftovers()
    return MachineReport(versions, machine, engine, folders, models, leftovers, offline, tuple(findings))


def _examine_engine(findings: list[Finding]) -> tuple[Versions, EngineReport | None]:
    from edgespec.llama.build import describe_backends
    from edgespec.llama.library import default_threads

    try:
        report = describe_backends()
    except EdgespecError as error:
        findings.append(_finding_of(error))
        return Versions(__version__, platform.python_version(), "", ""), None
    versions = Versions(
        __version__,
        platform.python_version(),
        report.llama_cpp_python,
        report.llama_cpp,
    )
    devices = tuple(
        EngineDevice(
            device.name,
            device.description,
            device.kind,
            device.memory_free_bytes,
            device.memory_total_bytes,
        )
        for device in report.devices
    )
    engine = EngineReport(
        report.kernels.isa,
        report.system_info,
        parse_features(report.system_info),
        report.supports_gpu_offload,
        report.supports_rpc,
        default_threads(),
        devices,
    )
    return versions, engine


def parse_features(system_info: str) -> tuple[str, ...]:
    """Names of what is on in `llama_print_system_info` ("CPU : SSE3 = 1 | AVX = 1 | OPENMP = 0 | ..."), in order."""
    items = (item.rsplit(":", 1)[-1].split("=") for item in system_info.split("|"))
    pairs = ((item[0].strip(), item[1].strip()) for item in items if len(item) == 2)
    return tuple(dict.fromkeys(name for name, value in pairs if value not in {"0", ""}))


def _examine_machine(engine: EngineReport | None) -> HostReport:
    import psutil

    memory = psutil.virtual_memory()
    devices = engine.devices if engine is not None else ()
    logical = psutil.cpu_count(logical=True) or 1
    return HostReport(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=processor_name(device.description for device in devices if device.kind == "cpu"),
        physical_cores=psutil.cpu_count(logical=False) or logical,
        logical_cores=logical,
        memory_total_bytes=int(memory.total),
        memory_available_bytes=int(memory.available),
    )


def _list_folders() -> tuple[Folder, ...]:
    from edgespec.catalog.sources import hub_cache

    places = {
        "models": paths.models_dir(),
        "hub cache": hub_cache.cache_dir(),
        "results": paths.results_dir(),
        "calibration": paths.costs_dir(),
        "derived models": paths.derived_models_dir(),
        "your models.toml": paths.user_catalog_file(),
    }
    return tuple(Folder(name, path, path.exists(), _free_bytes(path)) for name, path in places.items())


def _free_bytes(path: Path) -> int:
    """Free bytes of the disk where `path` is or would be; 0 where that cannot be found out."""
    for place in (path, *path.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return 0


def _list_models(findings: list[Finding]) -> tuple[ModelOnDisk, ...]:
    from edgespec.catalog.resolve import local_models
    from edgespec.catalog.toml_file import load_catalog

    try:
        found = local_models(load_catalog())
    except EdgespecError as error:
        findings.append(_finding_of(error))
        return ()
    return tuple(ModelOnDisk(model.name, model.path, model.size_bytes, model.origin) for model in found)


def _list_leftovers() -> tuple[Leftover, ...]:
    """Wherever a note says, and where files are written most: another home may have been used there."""
    from edgespec.files import find_leftovers

    places = (
        Path(),
        paths.derived_models_dir(),
        paths.tuned_dir(),
        paths.made_dir(),
        *paths.models_dir().glob("*/"),
    )
    return tuple(Leftover(left.path, left.size_bytes) for left in find_leftovers(*places))


def _finding_of(error: EdgespecError) -> Finding:
    hint = error.hint[:1].upper() + error.hint[1:]
    return Finding("error", _ended(error.message), _ended(hint))


def _ended(text: str) -> str:
    """Words of an error with the stop that findings have."""
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def _judge(
    machine: HostReport, engine: EngineReport | None, folders: tuple[Folder, ...], *, offline: bool
) -> list[Finding]:
    findings = _judge_devices(engine) + _judge_kernels(engine) if engine is not None else []
    if machine.memory_available_bytes < _LITTLE_MEMORY_BYTES:
        findings.append(
            Finding(
                "warning", "Less than 2 GiB of memory is free.", "Close other programs, or use small models."
            )
        )
    findings += [
        Finding(
            "warning",
            f"Less than 2 GiB of disk is free for {folder.path}.",
            "Free some, or move the folder with EDGESPEC_HOME or HF_HOME.",
        )
        for folder in folders
        if folder.name in {"models", "hub cache"} and folder.free_bytes < _LITTLE_DISK_BYTES
    ]
    if offline:
        findings.append(
            Finding(
                "note", "Offline: models on disk work, nothing is fetched.", "Unset HF_HUB_OFFLINE to fetch."
            )
        )
    return findings


def _judge_devices(engine: EngineReport) -> list[Finding]:
    if any(device.kind in {"gpu", "igpu"} for device in engine.devices):
        return []
    hint = "If this machine has one, build for it: CMAKE_ARGS=-DGGML_CUDA=on make install (or VULKAN, METAL, HIP)."
    return [Finding("note", "This build of llama.cpp sees no GPU.", hint)]


def _judge_kernels(engine: EngineReport) -> list[Finding]:
    if engine.kernels or "AVX2" not in engine.features:
        return []
    return [
        Finding(
            "note",
            "This llama.cpp lacks edgespec's kernels: checking several tokens at once costs two to three times as much.",
            "Build it from edgespec's sources with `make install`, and leave EDGESPEC_KERNELS unset.",
        )
    ]
