"""Models that other programs of this user keep: LM Studio, ollama and llama.cpp. They are read where they lie.

Where each keeps them:
- LM Studio: `publisher/repository/file.gguf` under its downloads folder
  (https://lmstudio.ai/docs/app/advanced/import-model; its home as its own command line finds it).
- ollama: `manifests/host/namespace/model/tag`, JSON that names blobs by their sha256
  (manifest/paths.go and types/model/name.go of its sources).
- llama.cpp: a cache of the hub's form, earlier versions `owner_repository_file.gguf` in one folder
  (common/hf-cache.cpp, and `fs_get_cache_directory` of common/common.cpp).
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edgespec.catalog.entries import ModelEntry
from edgespec.catalog.gguf_names import is_model
from edgespec.catalog.hub_spec import parse_hub_spec
from edgespec.catalog.sources import hub_cache

Program = Literal["LM Studio", "ollama", "llama.cpp"]

OLLAMA: Final = "ollama:"
"""Stands before the name by which ollama knows a model."""
_OLLAMA_SERVICE: Final = Path("/usr/share/ollama/.ollama/models")
"""Of the service that ollama's installer makes on Linux."""
_OLLAMA_HOST, _OLLAMA_NAMESPACE = "registry.ollama.ai", "library"
"""What ollama leaves out of a name."""
_MODEL_LAYER: Final = "application/vnd.ollama.image.model"
_HASH_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class ProgramModel:
    """A model that another program keeps."""

    name: str
    """What opens it: `owner/repo:file.gguf`, `ollama:NAME`, or its path."""
    path: Path
    """The first part of a split model."""
    program: Program


@dataclass(frozen=True, slots=True)
class Folders:
    """Where each program keeps its models, as its settings and the environment have it."""

    ollama: tuple[Path, ...]
    lm_studio: Path
    llama_cpp: Path


def find_folders() -> Folders:
    """Of this user."""
    return Folders(tuple(ollama_dirs()), lm_studio_dir(), llama_cpp_dir())


def list_models() -> list[ProgramModel]:
    """All that they keep; folders that cannot be read count as empty."""
    return [*_list_lm_studio(), *_list_ollama(), *_list_llama_cpp()]


def find_model(entry: ModelEntry, folders: Folders | None = None) -> ProgramModel | None:
    """The entry's file at one of them, whole and with the published size; None where nobody has it.

    Args:
        entry: The model.
        folders: Found already, for whoever looks for many models; None finds them.
    """
    for program, files in _places(entry, folders or find_folders()):
        with suppress(OSError):  # a folder of another user, or a name that no folder can have
            if files and all(file.is_file() for file in files):
                size = sum(file.stat().st_size for file in files)
                if entry.size_bytes is None or size == entry.size_bytes:
                    return ProgramModel(entry.name, files[0], program)
    return None


def find_named(name: str) -> Path | None:
    """The file of `ollama:NAME`; a name without a tag means `latest`, as it does for ollama."""
    wanted = name if ":" in name.removeprefix(OLLAMA) else f"{name}:latest"
    return next((model.path for model in _list_ollama() if model.name.lower() == wanted.lower()), None)


def list_files(repo: str) -> list[str]:
    """Paths inside a repository of the models that LM Studio has of it."""
    folder = lm_studio_dir() / repo
    return [path.relative_to(folder).as_posix() for path in _glob(folder, "*.gguf")]


def _places(entry: ModelEntry, folders: Folders) -> Iterator[tuple[Program, list[Path]]]:
    """Where each program would keep an entry's files."""
    if entry.sha256 is not None:
        for root in folders.ollama:
            yield "ollama", [root / "blobs" / f"sha256-{entry.sha256}"]
    if entry.repo is None or entry.file is None:
        return
    if entry.revision is None or entry.size_bytes is not None:  # neither program keeps revisions apart
        yield "LM Studio", [folders.lm_studio / entry.repo / file for file in entry.repo_files]
        flat = [f"{entry.repo}_{file}".replace("/", "_") for file in entry.repo_files]
        yield "llama.cpp", [folders.llama_cpp / name for name in flat]
    with suppress(OSError):
        yield "llama.cpp", hub_cache.find_cached(entry, folders.llama_cpp)


def lm_studio_dir() -> Path:
    """LM Studio's models: the folder that its settings name, else `models` in its home."""
    home = Path.home() / ".lmstudio"
    earlier = Path.home() / ".cache" / "lm-studio"
    if earlier.is_dir():
        home = earlier
    with suppress(OSError, ValueError):
        home = Path((Path.home() / ".lmstudio-home-pointer").read_text(encoding="utf-8").strip() or home)
    with suppress(OSError, ValueError, TypeError, KeyError):
        return Path(json.loads((home / "settings.json").read_text(encoding="utf-8"))["downloadsFolder"])
    return home / "models"


def ollama_dirs() -> list[Path]:
    """OLLAMA_MODELS, else ollama's folder in the user's home and that of the service."""
    named = os.environ.get("OLLAMA_MODELS", "").strip().strip("\"'")
    if named:
        return [Path(named).expanduser()]
    return [Path.home() / ".ollama" / "models", _OLLAMA_SERVICE]


def llama_cpp_dir() -> Path:
    """LLAMA_CACHE, else `llama.cpp` in the system's folder for caches."""
    named = os.environ.get("LLAMA_CACHE")
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        caches = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        caches = Path.home() / "Library" / "Caches"
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "llama.cpp"


def _list_lm_studio() -> Iterator[ProgramModel]:
    root = lm_studio_dir()
    for path in [*_glob(root, "*/*/*.gguf"), *_glob(root, "*/*.gguf")]:
        folder, _, file = path.relative_to(root).as_posix().rpartition("/")
        name = f"{folder}:{file}"
        yield ProgramModel(name if parse_hub_spec(name) else str(path), path, "LM Studio")


def _list_llama_cpp() -> Iterator[ProgramModel]:
    root = llama_cpp_dir()
    for path in _glob(root, "*.gguf"):
        yield ProgramModel(str(path), path, "llama.cpp")
    with suppress(OSError):
        for _, path in hub_cache.list_cached(root):
            yield ProgramModel(str(path), path, "llama.cpp")


def _glob(root: Path, pattern: str) -> list[Path]:
    with suppress(OSError):
        return sorted(path for path in root.glob(pattern) if is_model(path.name) and path.is_file())
    return []


def _list_ollama() -> Iterator[ProgramModel]:
    for root in ollama_dirs():
        manifests = root / "manifests"
        with suppress(OSError):
            for manifest in sorted(manifests.glob("*/*/*/*")):
                digest = _model_digest(manifest)
                blob = root / "blobs" / f"sha256-{digest}"
                if digest is not None and blob.is_file():
                    yield ProgramModel(_ollama_name(*manifest.relative_to(manifests).parts), blob, "ollama")


def _model_digest(manifest: Path) -> str | None:
    """The sha256 of the file with the weights, 64 hexadecimal digits; None where a manifest tells none."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        for layer in json.loads(manifest.read_text(encoding="utf-8"))["layers"]:
            if layer["mediaType"] == _MODEL_LAYER:
                digest = str(layer["digest"]).removeprefix("sha256:")
                if len(digest) == _HASH_LENGTH and digest.isalnum():
                    return digest
    return None


def _ollama_name(host: str, namespace: str, model: str, tag: str) -> str:
    """As ollama lists it: `qwen3:0.6b`, `user/model:tag`, `hf.co/owner/repo:Q4_K_M`."""
    if host != _OLLAMA_HOST:
        return f"{OLLAMA}{host}/{namespace}/{model}:{tag}"
    return (
        f"{OLLAMA}{model}:{tag}" if namespace == _OLLAMA_NAMESPACE else f"{OLLAMA}{namespace}/{model}:{tag}"
    )
