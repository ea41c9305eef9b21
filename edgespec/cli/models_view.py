"""What `edgespec models` prints: the list, and all that is known of one model."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgespec.cli.columns import columns
from edgespec.text import human_bytes, one_line

if TYPE_CHECKING:
    from edgespec.catalog.entries import Catalog, ModelEntry
    from edgespec.catalog.metadata import GgufMetadata
    from edgespec.catalog.resolve import LocalModel

_SCHEMA: Final = "edgespec.models/1"
_SHOWN_CONTEXT: Final = 4096
"""Tokens of context for which the memory is reckoned."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """What the catalogue says of a model, and where it is; the fields are those of the JSON."""

    name: str
    description: str
    repo: str | None
    file: str | None
    revision: str | None
    size_bytes: int | None
    """As published."""
    sha256: str | None
    licence: str
    gated: bool
    params: int | None
    wheels: bool
    """Whether packages of the package index carry the same bytes."""
    on_disk: bool
    origin: str | None
    path: Path | None

    @classmethod
    def of(cls, entry: "ModelEntry", local: "LocalModel | None") -> "KnownModel":
        """An entry, and its file where it is on disk."""
        return cls(
            name=entry.name,
            description=entry.description,
            repo=entry.repo,
            file=entry.file,
            revision=entry.revision,
            size_bytes=entry.size_bytes,
            sha256=entry.sha256,
            licence=entry.licence,
            gated=entry.gated,
            params=entry.params,
            wheels=entry.wheels is not None,
            on_disk=local is not None,
            origin=local.origin if local else None,
            path=local.path if local else None,
        )


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file's header says; the fields are those of the JSON."""

    path: Path
    parts: int
    size_bytes: int
    model_name: str
    architecture: str
    params: int
    quantization: str
    bpw: float
    block_count: int | None
    context_length: int | None
    embedding_length: int | None
    expert_count: int
    vocab_size: int
    tokenizer: str | None
    has_chat_template: bool
    n_ctx: int
    memory_bytes: int
    """With `n_ctx` tokens of context."""

    @classmethod
    def of(cls, meta: "GgufMetadata") -> "FileFacts":
        """Of a header, with the memory that the model would take."""
        from edgespec.catalog.memory import estimate_as_target

        return cls(
            path=meta.path,
            parts=max(1, len(meta.parts)),
            size_bytes=meta.file_bytes,
            model_name=meta.name,
            architecture=meta.architecture,
            params=meta.parameter_count,
            quantization=meta.quantization,
            bpw=round(meta.bpw, 3),
            block_count=meta.block_count,
            context_length=meta.context_length,
            embedding_length=meta.embedding_length,
            expert_count=meta.expert_count,
            vocab_size=meta.vocab_size,
            tokenizer=meta.tokenizer_model,
            has_chat_template=meta.chat_template is not None,
            n_ctx=_SHOWN_CONTEXT,
            memory_bytes=estimate_as_target(meta, _SHOWN_CONTEXT).total_bytes,
        )


@dataclass(frozen=True, slots=True)
class ShownModel:
    """All that is known of a model, from the catalogue and from its file."""

    name: str
    catalogue: KnownModel | None
    file: FileFacts | None


def list_as_text(catalog: "Catalog", local: "Sequence[LocalModel]") -> str:
    """Models, files that no entry names, and pairs, in columns."""
    on_disk, others = _sorted_by_entry(local)
    rows = [_row(entry, on_disk.get(entry.name), catalog.default) for entry in catalog.models.values()]
    rows += [[model.name, human_bytes(model.size_bytes), "yes", "", str(model.path)] for model in others]
    models = columns(["MODEL", "SIZE", "ON DISK", "LICENCE", "WHAT IT IS"], rows, right=frozenset({1}))
    pairs = [[pair.name, pair.target, ", ".join(pair.drafts)] for pair in catalog.pairs.values()]
    return f"{models}\n\n{columns(['PAIR', 'TARGET', 'DRAFTS'], pairs)}"


def _sorted_by_entry(
    local: "Sequence[LocalModel]",
) -> "tuple[dict[str, LocalModel], list[LocalModel]]":
    """Those of the catalogue by their names, and the others."""
    on_disk = {model.name: model for model in local if model.entry is not None}
    return on_disk, [model for model in local if model.entry is None]


def _row(entry: "ModelEntry", local: "LocalModel | None", default: str) -> list[str]:
    size = local.size_bytes if local else entry.size_bytes
    return [
        entry.name,
        human_bytes(size) if size else "?",
        "yes" if local else "no",
        entry.licence + (" (gated)" if entry.gated else ""),
        entry.description + (" (default)" if entry.name == default else ""),
    ]


def list_as_json(catalog: "Catalog", local: "Sequence[LocalModel]") -> str:
    """The same list for programs."""
    on_disk, others = _sorted_by_entry(local)
    return _json(
        {
            "default": catalog.default,
            "models": [
                asdict(KnownModel.of(entry, on_disk.get(entry.name))) for entry in catalog.models.values()
            ],
            "pairs": [
                {"name": pair.name, "target": pair.target, "drafts": pair.drafts}
                for pair in catalog.pairs.values()
            ],
            "others": [
                {
                    "name": model.name,
                    "path": model.path,
                    "size_bytes": model.size_bytes,
                    "origin": model.origin,
                }
                for model in others
            ],
        }
    )


def shown_as_json(shown: ShownModel) -> str:
    """All of it for programs."""
    return _json(asdict(shown))


def _json(document: dict[str, object]) -> str:
    return json.dumps({"schema": _SCHEMA, **document}, indent=2, ensure_ascii=True, default=str)


def shown_as_text(shown: ShownModel) -> str:
    """A line for each thing that is known."""
    lines = [("name", shown.name)]
    if shown.catalogue is not None:
        lines += _known_lines(shown.catalogue)
    if shown.file is not None:
        lines += _file_lines(shown.file)
    else:
        lines.append(("on disk", f"no; edgespec models pull {shown.name}"))
    return "\n".join(f"{name + ':':<15} {one_line(value)}" for name, value in lines)


def _known_lines(known: KnownModel) -> Iterator[tuple[str, str]]:
    revision = f"@{known.revision}" if known.revision else ""
    yield "description", known.description or "none"
    if known.repo:
        yield "hub", f"{known.repo}{revision}:{known.file}"
    yield "package index", "the same bytes in wheels" if known.wheels else "no"
    yield "licence", known.licence + (" (gated: accept it on the hub)" if known.gated else "")
    yield "published size", _exact_size(known.size_bytes)
    yield "sha256", known.sha256 or "not known"


def _file_lines(file: FileFacts) -> Iterator[tuple[str, str]]:
    parts = f" and {file.parts - 1} more" if file.parts > 1 else ""
    yield "on disk", f"{file.path}{parts}"
    yield "size", _exact_size(file.size_bytes)
    yield "architecture", f"{file.architecture}, {file.block_count} blocks of {file.embedding_length}"
    if file.expert_count:
        yield "experts", str(file.expert_count)
    yield "parameters", f"{file.params / 1e6:.1f} M"
    yield "quantization", f"{file.quantization}, {file.bpw:.2f} bits per weight"
    yield "context", f"{file.context_length} tokens"
    yield "vocabulary", f"{file.vocab_size} tokens, tokenizer {file.tokenizer}"
    yield "chat template", "yes" if file.has_chat_template else "no"
    yield "memory", f"about {human_bytes(file.memory_bytes)} with {file.n_ctx} tokens of context"


def _exact_size(n_bytes: int | None) -> str:
    return "not known" if n_bytes is None else f"{human_bytes(n_bytes)} ({n_bytes} bytes)"
