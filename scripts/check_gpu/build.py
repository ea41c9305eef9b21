"""Makes an environment of its own with llama.cpp built for a backend, as `make install` does, and with the tests' packages."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from .machine import REPOSITORY, Backend

_FLAGS: Final[dict[Backend, str]] = {"cpu": "", "vulkan": "-DGGML_VULKAN=on", "cuda": "-DGGML_CUDA=on"}


def build(backend: Backend, venv: Path, wheels: Path | None) -> Path:
    """Builds, or finds built. What CMAKE_ARGS holds is added.

    Args:
        backend: Of llama.cpp.
        venv: The folder of the environment.
        wheels: A folder with all packages, llama-cpp-python's sources among them, for a machine without a network; else None.

    Returns:
        Its Python.

    Raises:
        CalledProcessError: `make` failed, and said why.
    """
    flags = " ".join(filter(None, (_FLAGS[backend], os.environ.get("CMAKE_ARGS", ""))))
    environment = {**os.environ, "CMAKE_ARGS": flags}
    if wheels is not None:
        environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels.resolve())}
    make = ["make", "--no-print-directory", f"VENV={venv}", f"PYTHON={sys.executable}"]
    for goal in ("install", f"{venv}/.test-tools"):
        subprocess.run([*make, goal], cwd=REPOSITORY, env=environment, check=True)
    return venv / ("Scripts" if sys.platform == "win32" else "bin") / "python"
