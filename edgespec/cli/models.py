"""`edgespec models`: list, show, fetch and remove models."""

import sys
from typing import TYPE_CHECKING

import click

from edgespec.cli.context import Settings
from edgespec.cli.models_view import (
    FileFacts,
    KnownModel,
    ShownModel,
    list_as_json,
    list_as_text,
    shown_as_json,
    shown_as_text,
)
from edgespec.cli.progress import shown_progress
from edgespec.errors import UsageError
from edgespec.text import human_bytes

if TYPE_CHECKING:
    from edgespec.catalog.resolve import LocalModel


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
    click.echo(list_as_json(catalog, local) if as_json else list_as_text(catalog, local))


@command.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(model: str, as_json: bool) -> None:
    """Show what is known of MODEL: a name, a path or owner/repo:Q4_K_M."""
    from edgespec.catalog.metadata import read_metadata
    from edgespec.catalog.resolve import find_on_disk, resolve_model
    from edgespec.catalog.toml_file import load_catalog

    catalog = load_catalog()
    entry = catalog.models.get(model)
    local = find_on_disk(entry) if entry else None
    file = None
    if entry is None or local is not None:
        file = FileFacts.of(read_metadata(resolve_model(model, catalog, download=False).path))
    shown = ShownModel(model, KnownModel.of(entry, local) if entry else None, file)
    click.echo(shown_as_json(shown) if as_json else shown_as_text(shown))


@command.command()
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@click.pass_obj
def pull(settings: Settings, names: tuple[str, ...]) -> None:
    """Fetch models, and of pairs the target and every draft. Prints where they are."""
    from edgespec.catalog.resolve import resolve_model
    from edgespec.catalog.toml_file import load_catalog
    from edgespec.files import clear_leftovers

    clear_leftovers()  # of a pull that was killed when all was there: nothing may be left to write
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
    from edgespec.catalog.removal import find_removable, remove_model
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
        raise UsageError(f"removing {model.name} needs a yes, and there is nobody to ask", "say it with -y")
    return click.confirm(f"Remove {model.path} ({human_bytes(model.size_bytes)})?", err=True)
