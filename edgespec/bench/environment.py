"""Where a run was made: versions, processor, memory, devices. Recorded with every result."""

import os
import platform

import edgespec
from edgespec.llama.build import describe_backends
from edgespec.llama.library import default_threads
from edgespec.processor import processor_name
from edgespec.session.engine import Engine
from edgespec.session.loading import Loaded


def describe_environment(engine: Engine) -> dict[str, object]:
    """The machine with the threads and the models of an engine."""
    return {
        **describe_machine(engine.settings.n_threads or default_threads()),
        "target": _describe_model(engine.target),
        "drafts": {name: _describe_model(draft) for name, draft in engine.drafts.items()},
    }


def describe_machine(n_threads: int) -> dict[str, object]:
    """Plain values, ready for JSON. No name of the machine or its user."""
    import psutil

    report = describe_backends()
    return {
        "edgespec": edgespec.__version__,
        "llama_cpp_python": report.llama_cpp_python,
        "llama_cpp": report.llama_cpp,
        "kernels": report.kernels.isa or None,
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": processor_name(device.description for device in report.devices if device.kind == "cpu"),
        "cpu_features": report.system_info,
        "cores_physical": psutil.cpu_count(logical=False),
        "cores_logical": psutil.cpu_count(logical=True),
        "memory_total_bytes": psutil.virtual_memory().total,
        "devices": [device.description for device in report.devices],
        "n_threads": n_threads,
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def _describe_model(loaded: Loaded) -> dict[str, object]:
    meta = loaded.file.meta
    return {
        "name": loaded.file.name,
        "file": loaded.file.path.name,
        "description": loaded.model.description,
        "bytes": meta.file_bytes,
        "bpw": round(meta.bpw, 3),
        "placement": loaded.model.placement.reason,
    }
