"""The rows of the models screen: every model of the catalogue, and every one on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from edgespec.catalog.entries import Catalog, ModelEntry
from edgespec.catalog.gguf_names import is_model
from edgespec.catalog.memory import available_memory_bytes, guess_memory_bytes
from edgespec.catalog.model_file import UNREADABLE, open_file, why_unreadable
from edgespec.catalog.resolve import LocalModel, local_models
from edgespec.catalog.sources.arrived import arrived_bytes
from edgespec.catalog.toml_file import load_catalog
from edgespec.session.memory_needs import estimate_target
from edgespec.session.settings import EngineSettings
from edgespec.worker.protocol import PairOpened

_TIGHT: Final = 0.9
"""Of what is free: above this share other programs will feel it."""


class Origin(StrEnum):
    """Where a model on disk came from, in the word that the table shows."""

    HUB = "hub"
    WHEELS = "edgespec"
    MADE = "made here"
    OWN = "own file"
    FOLDER = "this folder"
    LM_STUDIO = "LM Studio"
    OLLAMA = "ollama"
    LLAMA_CPP = "llama.cpp"


_ORIGINS: Final = {"file": Origin.OWN, "made": Origin.MADE, "wheels": Origin.WHEELS}


class Fit(StrEnum):
    """Whether a model fits into the memory that is free now."""

    FITS = "fits"
    TIGHT = "tight"
    TOO_LARGE = "too large"
    UNKNOWN = "?"


class Role(StrEnum):
    """What a model is loaded as, by the mark that the table shows."""

    TARGET = "●"
    DRAFT = "○"


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model, here or not."""

    spec: str
    """What opens it: a name of the catalogue, `owner/repo:file.gguf`, `ollama:NAME`, or a path."""
    name: str
    entry: ModelEntry | None
    size_bytes: int | None = None
    path: Path | None = None
    origin: Origin | None = None
    arrived: int = 0
    """Bytes that a download which was paused has left."""
    memory_bytes: int | None = None
    fit: Fit = Fit.UNKNOWN
    licence: str = ""
    trouble: str = ""
    """Why the file cannot be read."""
    tok_per_s: float | None = None
    """Of plain decoding on this machine, predicted; None where that is not known."""

    @property
    def is_here(self) -> bool:
        """Whether it is wholly on disk."""
        return self.path is not None

    @property
    def here_text(self) -> str:
        """Where it is, or how much of it has arrived."""
        if self.origin is not None:
            return str(self.origin)
        if self.arrived:
            return f"{self.arrived / self.size_bytes:.0%} arrived" if self.size_bytes else "partly"
        return "no"

    def role_in(self, pair: PairOpened | None) -> Role | None:
        """What it is loaded as; None when it is not."""
        if pair is None:
            return None
        is_path = self.path is not None and Path(self.spec).is_absolute()
        name = Path(self.spec).stem if is_path else self.name
        return Role.TARGET if name == pair.target else Role.DRAFT if name == pair.draft else None

    @property
    def speed_text(self) -> str:
        """Predicted tokens a second; empty where none are known, or where it does not fit."""
        if self.tok_per_s is None or self.fit is Fit.TOO_LARGE:
            return ""
        return f"~{self.tok_per_s:.{1 if self.tok_per_s < 10 else 0}f}"

    def matches(self, words: list[str]) -> bool:
        """Whether all words, in lower case, occur in its name."""
        text = f"{self.name} {'' if self.path and str(self.path) == self.spec else self.spec}".lower()
        return all(word in text for word in words)


@dataclass(frozen=True, slots=True)
class ModelList:
    """All rows, those that are here first, and what they were judged by."""

    catalog: Catalog
    rows: tuple[ModelRow, ...]
    free_bytes: int
    settings: EngineSettings

    def find(self, spec: str) -> ModelRow | None:
        """The row of that spec."""
        return next((row for row in self.rows if row.spec == spec), None)

    def with_speeds(self, tok_per_s: Mapping[tuple[str, int | None], float]) -> "ModelList":
        """The same with predicted speeds, by spec and size in bytes."""
        rows = (replace(row, tok_per_s=tok_per_s.get((row.spec, row.size_bytes))) for row in self.rows)
        return replace(self, rows=tuple(rows))


def load_models(settings: EngineSettings, folder: Path) -> ModelList:
    """Looks through the catalogue, the folders of models, and `folder`. Reads headers: call it from a thread.

    Raises:
        EdgespecError: a catalogue file with something wrong in it.
        OSError: a folder that cannot be read.
    """
    catalog = load_catalog()
    free = available_memory_bytes()
    here = local_models(catalog)
    found = [_row_of(model, settings, free) for model in here]
    seen = {model.path.resolve() for model in here}
    for path in sorted(folder.glob("*.gguf")):
        if path.resolve() not in seen and path.is_file() and is_model(path.name):
            row = ModelRow(str(path.resolve()), path.name, None, path=path, origin=Origin.FOLDER)
            found.append(_read(row, settings, free))
    names = {row.spec for row in found}
    missing = [_missing(entry, free) for entry in catalog.models.values() if entry.name not in names]
    missing.sort(key=lambda row: not row.arrived)
    return ModelList(catalog, (*found, *missing), free, settings)


def judge_fit(memory_bytes: int | None, free_bytes: int) -> Fit:
    """How a model of that many bytes fits."""
    if memory_bytes is None:
        return Fit.UNKNOWN
    if memory_bytes > free_bytes:
        return Fit.TOO_LARGE
    return Fit.TIGHT if memory_bytes > _TIGHT * free_bytes else Fit.FITS


def _missing(entry: ModelEntry, free: int) -> ModelRow:
    memory = None if entry.size_bytes is None else guess_memory_bytes(entry.size_bytes)
    return ModelRow(
        entry.name,
        entry.name,
        entry,
        entry.size_bytes,
        arrived=arrived_bytes(entry),
        memory_bytes=memory,
        fit=judge_fit(memory, free),
        licence=_licence(entry),
    )


def _row_of(model: LocalModel, settings: EngineSettings, free: int) -> ModelRow:
    row = ModelRow(
        model.spec,
        model.name,
        model.entry,
        model.size_bytes,
        model.path,
        _ORIGINS.get(model.origin) or Origin(model.origin),
        licence=_licence(model.entry) if model.entry else "",
    )
    return _read(row, settings, free)


def _read(row: ModelRow, settings: EngineSettings, free: int) -> ModelRow:
    """The row with what the file's header says."""
    assert row.path is not None
    try:
        file = open_file(row.name, row.path)
        memory = estimate_target(file, settings).total_bytes
    except UNREADABLE as error:
        return replace(row, trouble=why_unreadable(error))
    return replace(
        row,
        size_bytes=file.meta.file_bytes,
        memory_bytes=memory,
        fit=judge_fit(memory, free),
        licence=row.licence or str(file.meta.fields.get("general.license") or ""),
    )


def _licence(entry: ModelEntry) -> str:
    return entry.licence + (" (gated)" if entry.gated else "")
