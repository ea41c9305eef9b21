"""`edgespec models`: list, show, fetch and remove models."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from edgespec.cli.columns import columns
from edgespec.cli.context import Settings
from edgespec.cli.progress import shown_progress
from edgespec.errors import UsageError
from edgespec.text import human_bytes, one_line

if TYPE_CHECKING:
    from edgespec.catalog.entries import Catalog, ModelEntry
    from edgespec.catalog.metadata import GgufMetadata
    from edgespec.catalog.resolve import LocalModel

_SCHEMA = "edgespec.models/1"
_SHOWN_CONTEXT = 4096


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List, show, fetch and remove models. Alone, it lists them."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_models, as_json=as_json)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_models(as_json: bool) -> None:
    """List the models and pairs that have a name, and what is on disk."""
    from edgespec.catalog.resolve import local_models
    from edgespec.catalog.toml_file import load_catalog

    catalog = load_catalog()
    local = local_models(catalog)
    on_disk = {model.name: model for model in local if model.entry is not None}
    strays = [model for model in local if model.entry is None]
    if as_json:
        _print_json(_list_document(catalog, on_disk, strays))
        return
    rows = [_list_row(entry, on_disk.get(entry.name), catalog.default) for entry in catalog.models.values()]
    rows += [[model.name, human_bytes(model.size_bytes), "yes", "", str(model.path)] for model in strays]
    click.echo(columns(["MODEL", "SIZE", "ON DISK", "LICENCE", "WHAT IT IS"], rows, right=frozenset({1})))
    click.echo()
    pairs = [[pair.name, pair.target, ", ".join(pair.drafts)] for pair in catalog.pairs.values()]
    click.echo(columns(["PAIR", "TARGET", "DRAFTS"], pairs))


def _list_row(entry: "ModelEntry", local: "LocalModel | None", default: str) -> list[str]:
    size = local.size_bytes if local else entry.size_bytes
    return [
        entry.name,
        human_bytes(size) if size else "?",
        "yes" if local else "no",
        entry.licence + (" (gated)" if entry.gated else ""),
        entry.description + (" (default)" if entry.name == default else ""),
    ]


def _list_document(
    catalog: "Catalog", on_disk: "dict[str, LocalModel]", strays: "list[LocalModel]"
) -> dict[str, Any]:
    return {
        "schema": _SCHEMA,
        "default": catalog.default,
        "models": [_model_document(entry, on_disk.get(entry.name)) for entry in catalog.models.values()],
        "pairs": [
            {"name": pair.name, "target": pair.target, "drafts": list(pair.drafts)}
            for pair in catalog.pairs.values()
        ],
        "others": [
            {"name": model.name, "path": str(model.path), "size_bytes": model.size_bytes} for model in strays
        ],
    }


def _model_document(entry: "ModelEntry", local: "LocalModel | None") -> dict[str, Any]:
    return {
        "name": entry.name,
        "description": entry.description,
        "repo": entry.repo,
        "file": entry.file,
        "revision": entry.revision,
        "size_bytes": entry.size_bytes,
        "sha256": entry.sha256,
        "licence": entry.licence,
        "gated": entry.gated,
        "params": entry.params,
        "wheels": entry.wheels is not None,
        "on_disk": local is not None,
        "origin": local.origin if local else None,
        "path": str(local.path) if local else None,
    }


@command.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(settings: Settings, model: str, as_json: bool) -> None:
    """Show what is known of MODEL: a name, a path or owner/repo:file.gguf."""
    from edgespec.catalog.metadata import read_metadata
    from edgespec.catalog.resolve import find_on_disk, resolve_model
    from edgespec.catalog.toml_file import load_catalog

    catalog = load_catalog()
    entry = catalog.models.get(model)
    local = find_on_disk(entry) if entry else None
    meta = None
    if entry is None or local is not None:
        meta = read_metadata(resolve_model(model, catalog, download=False).path)
    document: dict[str, Any] = {"schema": _SCHEMA, "name": model}
    document["catalogue"] = _model_document(entry, local) if entry else None
    document["file"] = _file_document(meta) if meta else None
    if as_json:
        _print_json(document)
        return
    for name, value in _show_lines(document):
        click.echo(f"{name + ':':<15} {one_line(value)}")


def _file_document(meta: "GgufMetadata") -> dict[str, Any]:
    from edgespec.catalog.memory import estimate_memory

    return {
        "path": str(meta.path),
        "parts": max(1, len(meta.parts)),
        "size_bytes": meta.file_bytes,
        "model_name": meta.name,
        "architecture": meta.architecture,
        "params": meta.parameter_count,
        "quantization": meta.quantization,
        "bpw": round(meta.bpw, 3),
        "block_count": meta.block_count,
        "context_length": meta.context_length,
        "embedding_length": meta.embedding_length,
        "expert_count": meta.expert_count,
        "vocab_size": meta.vocab_size,
        "tokenizer": meta.tokenizer_model,
        "has_chat_template": meta.chat_template is not None,
        "n_ctx": _SHOWN_CONTEXT,
        "memory_bytes": estimate_memory(meta, n_ctx=_SHOWN_CONTEXT, n_outputs=1).total_bytes,
    }


def _show_lines(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "name", document["name"]
    known = document["catalogue"]
    if known:
        revision = f"@{known['revision']}" if known["revision"] else ""
        yield "description", known["description"] or "none"
        if known["repo"]:
            yield "hub", f"{known['repo']}{revision}:{known['file']}"
        yield "package index", "the same bytes in wheels" if known["wheels"] else "no"
        yield "licence", known["licence"] + (" (gated: accept it on the hub)" if known["gated"] else "")
        yield "published size", _exact_size(known["size_bytes"])
        yield "sha256", known["sha256"] or "not known"
    file = document["file"]
    if file is None:
        yield "on disk", f"no; edgespec models pull {document['name']}"
        return
    parts = f" and {file['parts'] - 1} more" if file["parts"] > 1 else ""
    yield "on disk", f"{file['path']}{parts}"
    yield "size", _exact_size(file["size_bytes"])
    yield (
        "architecture",
        f"{file['architecture']}, {file['block_count']} blocks of {file['embedding_length']}",
    )
    if file["expert_count"]:
        yield "experts", str(file["expert_count"])
    yield "parameters", f"{file['params'] / 1e6:.1f} M"
    yield "quantization", f"{file['quantization']}, {file['bpw']:.2f} bits per weight"
    yield "context", f"{file['context_length']} tokens"
    yield "vocabulary", f"{file['vocab_size']} tokens, tokenizer {file['tokenizer']}"
    yield "chat template", "yes" if file["has_chat_template"] else "no"
    yield "memory", f"about {human_bytes(file['memory_bytes'])} with {file['n_ctx']} tokens of context"


def _exact_size(n_bytes: int | None) -> str:
    return "not known" if n_bytes is None else f"{human_bytes(n_bytes)} ({n_bytes} bytes)"


@command.command()
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@click.pass_obj
def pull(settings: Settings, names: tuple[str, ...]) -> None:
    """Fetch models, and of pairs the target and every draft. Prints where they are."""
    from edgespec.catalog.resolve import resolve_model
    from edgespec.catalog.toml_file import load_catalog

    catalog = load_catalog()
    specs: list[str] = []
    for name in names:
        pair = catalog.find_pair(name)
        specs += [pair.target, *pair.drafts] if pair else [name]
    for spec in dict.fromkeys(specs):
        with shown_progress(quiet=settings.quiet) as progress:
            resolved = resolve_model(spec, catalog, offline=settings.offline, progress=progress)
        click.echo(f"{resolved.name}: {resolved.path}")


@command.command()
@click.argument("model")
def path(model: str) -> None:
    """Print the file of MODEL, which must be on disk; nothing is fetched."""
    from edgespec.catalog.resolve import resolve_model
    from edgespec.catalog.toml_file import load_catalog

    click.echo(str(resolve_model(model, load_catalog(), download=False).path))


@command.command()
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be removed.")
def rm(names: tuple[str, ...], yes: bool, dry_run: bool) -> None:
    """Delete models that edgespec or the hub's cache keeps on disk. Files of your own are never touched."""
    from edgespec.catalog.resolve import find_removable, remove_model
    from edgespec.catalog.toml_file import load_catalog

    catalog = load_catalog()
    found = [find_removable(name, catalog) for name in dict.fromkeys(names)]
    for model in found:
        if dry_run:
            click.echo(f"would remove {model.name}: {human_bytes(model.size_bytes)}, {model.path}")
        elif yes or _agrees(model):
            freed = remove_model(model.name, catalog)
            click.echo(f"removed {model.name}: {human_bytes(freed)} freed")
        else:
            click.echo(f"kept {model.name}", err=True)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _agrees(model: "LocalModel") -> bool:
    if not _is_terminal():
        raise UsageError(f"Removing {model.name} needs a yes, and there is nobody to ask.", "Say it with -y.")
    return click.confirm(f"Remove {model.path} ({human_bytes(model.size_bytes)})?", err=True)


def _print_json(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=True))
