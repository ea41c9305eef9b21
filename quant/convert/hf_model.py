"""Models in Hugging Face's form: config.json, safetensors files and a tokenizer, in a folder or on the hub."""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgespec.catalog.entries import ModelEntry
from edgespec.catalog.sources import hub, hub_cache
from edgespec.errors import ModelFileError, ModelMissingError, UsageError
from edgespec.progress import SILENT, Progress

_REPOSITORY: Final = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_INDEX: Final = "model.safetensors.index.json"
_TOKENIZER_FILES: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "generation_config.json",
)
_HUB_TIMEOUT_S: Final = 10.0
"""Without a byte, as huggingface_hub itself waits (HF_HUB_DOWNLOAD_TIMEOUT)."""
_DTYPE_BYTES: Final = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_MAX_HEADER_BYTES: Final = 100_000_000
"""The limit of the safetensors format."""


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


def open_folder(folder: Path) -> HfModel:
    """A folder with config.json and safetensors files.

    Raises:
        UsageError: it is not a folder.
        ModelFileError: the configuration or the weights are missing or damaged.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "give a Hugging Face model's folder, or owner/name")
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
        raise ModelFileError(f"{config} is not JSON: {error}", "fetch it again") from None
    if not (isinstance(content, dict) and content.get("architectures")):
        raise ModelFileError(f"{config} names no architecture", hint)
    for file in weight_files(model):
        read_header(file)


def fetch_model(spec: str, *, offline: bool, progress: Progress = SILENT) -> HfModel:
    """The files of `owner/name` or `owner/name@revision` that a conversion reads, from the cache or the hub.

    Programs of a repository are not among them: nothing of it is run.

    Args:
        spec: `owner/name`, or `owner/name@revision` with a branch, a tag or a commit.
        offline: Take only what is in the cache.
        progress: Gets a stage for every file, in bytes.

    Raises:
        UsageError: it is not the name of a repository.
        ModelMissingError: no such repository, revision or file, or not here while offline.
        ModelFileError: the index is damaged.
        DownloadError: the hub cannot be reached, or failed.
        DiskSpaceError: the disk has no room.
    """
    found = _REPOSITORY.fullmatch(spec)
    if found is None:
        raise UsageError(f"{spec} is neither a folder nor owner/name", "check the spelling")
    repo, revision = found["repo"], found["revision"]

    def fetch(file: str) -> Path:
        entry = ModelEntry(name=repo, repo=repo, file=file, revision=revision)
        if not offline:
            return hub.download(entry, progress=progress, timeout_s=_HUB_TIMEOUT_S)
        cached = hub_cache.find_cached(entry)
        if cached:
            return cached[0]
        raise ModelMissingError(
            f"{file} of {spec} is not on this machine, and offline mode forbids fetching it",
            "run it once without `offline`",
        )

    def fetch_optional(file: str) -> Path | None:
        with suppress(ModelMissingError):
            return fetch(file)
        return None

    folder = fetch("config.json").parent
    revision = folder.name  # the commit: what comes later is of the same one
    index = fetch_optional(_INDEX)
    for file in _indexed_files(index) if index else ["model.safetensors"]:
        fetch(file)
    for file in _TOKENIZER_FILES:
        fetch_optional(file)
    model = HfModel(folder, f"{repo}@{revision}", repo)
    check_model(model)
    return model


def weight_files(model: HfModel) -> list[Path]:
    """The safetensors files: those that the index names, where there is one.

    Raises:
        ModelFileError: one is missing.
    """
    index = model.folder / _INDEX
    if not index.is_file():
        files = sorted(model.folder.glob("*.safetensors"))
        if not files:
            raise ModelFileError(f"{model.name} has no *.safetensors files", "fetch its weights as well")
        return files
    files = [model.folder / name for name in _indexed_files(index)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelFileError(
            f"{model.name} lacks {missing[0]}, which its index names", "fetch the file as well"
        )
    return files


def _indexed_files(index: Path) -> list[str]:
    """The files that a `model.safetensors.index.json` names, each once.

    Raises:
        ModelFileError: it is not such an index.
    """
    try:
        names = {str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (ValueError, LookupError, AttributeError, TypeError):
        raise ModelFileError(f"{index} is not an index of safetensors files", "fetch it again") from None
    outside = [name for name in names if Path(name).name != name]
    if outside or not names:
        raise ModelFileError(f"{index} names no file beside it", "fetch it again")
    return sorted(names)


def read_header(file: Path) -> bytes:
    """The JSON header of a safetensors file: 8 bytes of little-endian length, then so many bytes.

    Raises:
        ModelFileError: it has none, or less weights than it says.
    """
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if length <= _MAX_HEADER_BYTES else b""
    try:
        entries = json.loads(header)
        end = max(entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__")
    except (ValueError, LookupError, AttributeError, TypeError):
        raise ModelFileError(f"{file} is not a safetensors file", "fetch it again") from None
    if file.stat().st_size < 8 + length + end:
        raise ModelFileError(f"{file} is cut short", "fetch it again")
    return header


def n_weights(model: HfModel) -> float:
    """Number of weights, as far as the types are known."""
    total = 0.0
    for file in weight_files(model):
        for name, entry in json.loads(read_header(file)).items():
            if name != "__metadata__":
                start, end = entry["data_offsets"]
                total += (end - start) / _DTYPE_BYTES.get(entry["dtype"], 1)
    return total
