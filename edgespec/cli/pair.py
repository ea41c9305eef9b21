"""`edgespec pair TARGET`: which drafts fit, and why others do not. Reads headers only; loads and fetches nothing."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgespec.cli.columns import columns
from edgespec.cli.style import human_bytes
from edgespec.errors import EdgespecError

if TYPE_CHECKING:
    from edgespec.catalog.entries import Catalog, ModelEntry
    from edgespec.catalog.metadata import GgufMetadata

_SCHEMA = "edgespec.pair/1"
_TARGET_ROWS = 17
"""Logit rows that a target keeps: 16 drafted tokens and its own."""
_DRAFT_ROWS = 1
_VERDICT_ORDER = ("ok", "mapped", "unchecked", "refused", "unreadable")
_VERDICTS = {"same-vocabulary": "ok", "token-map": "mapped", "refused": "refused"}


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    path: Path | None
    verdict: str
    reason: str
    size_bytes: int | None
    size_ratio: float | None
    """Draft's bytes over the target's."""
    memory_bytes: int | None
    """Both models loaded."""
    fits: bool | None


@click.command()
@click.argument("target")
@click.option(
    "-c", "--ctx-size", default=4096, show_default=True, type=click.IntRange(1), help="Tokens of context."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(target: str, ctx_size: int, as_json: bool) -> None:
    """Show which drafts fit TARGET (a model, a pair or a file), and why others do not.

    Nothing is loaded or fetched: the answers come from the files' headers. Every target can also draft from
    the text itself (`--draft ngram`), which needs no second model.
    """
    from edgespec.catalog.entries import load_catalog
    from edgespec.catalog.memory import available_memory_bytes

    catalog = load_catalog()
    pair = catalog.find_pair(target)
    name = pair.target if pair else target
    subject = _Subject.of(name, catalog)
    free = available_memory_bytes()
    rows = sorted(_rows(subject, catalog, ctx_size, free), key=_rank)
    if as_json:
        click.echo(json.dumps(_document(subject, rows, ctx_size, free), indent=2, ensure_ascii=True))
        return
    click.echo(_headline(subject))
    click.echo()
    heads = ["DRAFT", "VERDICT", "SIZE", "RATIO", "MEMORY", "WHY"]
    click.echo(columns(heads, [_cells(row, free) for row in rows], right=frozenset({2, 3, 4})))


@dataclass(frozen=True, slots=True)
class _Subject:
    """The target: its header where the file is here, else what the catalogue says."""

    name: str
    path: Path | None
    size_bytes: int | None
    meta: "GgufMetadata | None"

    @classmethod
    def of(cls, name: str, catalog: "Catalog") -> "_Subject":
        from edgespec.catalog.metadata import read_metadata
        from edgespec.catalog.resolve import find_on_disk, resolve_model

        entry = catalog.models.get(name)
        if entry is not None and find_on_disk(entry) is None:
            return cls(name, None, entry.size_bytes, None)
        resolved = resolve_model(name, catalog, download=False)
        meta = read_metadata(resolved.path)
        return cls(resolved.name, meta.path, meta.file_bytes, meta)


def _rows(subject: _Subject, catalog: "Catalog", ctx_size: int, free: int) -> Iterator[_Row]:
    from edgespec.catalog.resolve import find_on_disk, local_models

    paired = set(catalog.drafts_for(subject.name))
    for model in local_models(catalog):
        if model.path != subject.path:
            yield _checked(subject, model.name, model.path, ctx_size, free)
    for path in _files_beside(subject):
        yield _checked(subject, path.name, path, ctx_size, free)
    for entry in catalog.models.values():
        if entry.name == subject.name or find_on_disk(entry) is not None:
            continue
        row = _unchecked(subject, entry, is_paired=entry.name in paired)
        # A model that is not smaller than the target is no candidate, unless the catalogue says so.
        if entry.name in paired or row.size_ratio is None or row.size_ratio < 1:
            yield row


def _files_beside(subject: _Subject) -> list[Path]:
    """Other models in the target's own folder, unless that is one of the folders that edgespec keeps."""
    from edgespec import paths
    from edgespec.catalog.metadata import split_parts
    from edgespec.catalog.sources import hub

    if subject.path is None:
        return []
    folder = subject.path.resolve().parent
    kept = (paths.models_dir().resolve(), hub.cache_dir().resolve())
    if any(folder.is_relative_to(root) for root in kept):
        return []
    beside: list[Path] = []
    for path in sorted(subject.path.parent.glob("*.gguf")):
        try:
            first = split_parts(path)[0]
        except EdgespecError:
            first = path
        if first == path and path != subject.path:
            beside.append(path)
    return beside


def _checked(subject: _Subject, name: str, path: Path, ctx_size: int, free: int) -> _Row:
    from edgespec.catalog.compatibility import check_draft
    from edgespec.catalog.memory import estimate_memory
    from edgespec.catalog.metadata import read_metadata

    try:
        draft = read_metadata(path)
    except EdgespecError as error:
        return _Row(name, path, "unreadable", error.message, None, None, None, None)
    ratio = _ratio(draft.file_bytes, subject.size_bytes)
    if subject.meta is None:
        reason = "the target is not on disk, so its vocabulary is not known"
        return _Row(name, path, "unchecked", reason, draft.file_bytes, ratio, None, None)
    verdict = check_draft(subject.meta, draft)
    memory = (
        estimate_memory(subject.meta, n_ctx=ctx_size, n_outputs=_TARGET_ROWS).total_bytes
        + estimate_memory(draft, n_ctx=ctx_size, n_outputs=_DRAFT_ROWS).total_bytes
    )
    return _Row(
        name, path, _VERDICTS[verdict.kind], verdict.reason, draft.file_bytes, ratio, memory, memory <= free
    )


def _unchecked(subject: _Subject, entry: "ModelEntry", *, is_paired: bool) -> _Row:
    reason = "not on disk; same family by catalogue" if is_paired else "not on disk"
    ratio = _ratio(entry.size_bytes, subject.size_bytes)
    return _Row(entry.name, None, "unchecked", reason, entry.size_bytes, ratio, None, None)


def _ratio(draft_bytes: int | None, target_bytes: int | None) -> float | None:
    return round(draft_bytes / target_bytes, 4) if draft_bytes and target_bytes else None


def _rank(row: _Row) -> tuple[int, bool, float, str]:
    # Within a verdict the catalogue's own pairs first, then the smaller draft: it proposes faster.
    is_paired = "by catalogue" in row.reason
    return _VERDICT_ORDER.index(row.verdict), not is_paired, row.size_ratio or float("inf"), row.name


def _headline(subject: _Subject) -> str:
    if subject.meta is None:
        return (
            f"target {subject.name} (not on disk; edgespec models pull {subject.name} lets drafts be checked)"
        )
    meta = subject.meta
    return (
        f"target {subject.name}: {meta.architecture} {meta.quantization}, {human_bytes(meta.file_bytes)}, "
        f"{meta.vocab_size} tokens in its vocabulary"
    )


def _cells(row: _Row, free: int) -> list[str]:
    reason = row.reason
    if row.fits is False:
        reason += f"; the pair does not fit into the {human_bytes(free)} that are free"
    return [
        row.name,
        row.verdict,
        human_bytes(row.size_bytes) if row.size_bytes else "?",
        f"{row.size_ratio:.2f}" if row.size_ratio else "?",
        human_bytes(row.memory_bytes) if row.memory_bytes else "?",
        reason,
    ]


def _document(subject: _Subject, rows: list[_Row], ctx_size: int, free: int) -> dict[str, Any]:
    return {
        "schema": _SCHEMA,
        "target": {
            "name": subject.name,
            "path": str(subject.path) if subject.path else None,
            "size_bytes": subject.size_bytes,
        },
        "n_ctx": ctx_size,
        "available_memory_bytes": free,
        "drafts": [
            {
                "name": row.name,
                "path": str(row.path) if row.path else None,
                "verdict": row.verdict,
                "reason": row.reason,
                "size_bytes": row.size_bytes,
                "size_ratio": row.size_ratio,
                "memory_bytes": row.memory_bytes,
                "fits": row.fits,
            }
            for row in rows
        ],
    }
