"""`edgespec convert FOLDER`: a Hugging Face model as a GGUF file, by llama.cpp's own converter."""

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import click

from edgespec.cli.context import Settings
from edgespec.cli.output import print_json, print_lines
from edgespec.errors import UsageError
from edgespec.text import human_bytes

if TYPE_CHECKING:
    from quant.convert.hf_model import HfModel

_SCHEMA = "edgespec.convert/1"


class FolderDocument(TypedDict):
    """A Hugging Face model in a JSON document."""

    name: str
    path: str


class ConvertDocument(TypedDict):
    """The JSON document."""

    schema: str
    model: FolderDocument
    type: str
    output: str
    architecture: str
    n_params: int
    size_bytes: int


@click.command("convert")
@click.argument("model", metavar="FOLDER|OWNER/NAME")
@click.option(
    "--type",
    "type_name",
    type=click.Choice(["F16", "BF16", "F32", "Q8_0"], case_sensitive=False),
    default="F16",
    show_default=True,
    help="Of every matrix.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The new file.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    settings: Settings,
    /,
    model: str,
    type_name: str,
    output: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write a Hugging Face model, a folder or a repository such as owner/name@revision, as one GGUF file.

    It needs the extra edgespec[convert]. Other types come from `edgespec quantize` afterwards.
    """
    from edgespec.cli.progress import shown_progress
    from quant.convert.from_hf import check_converter, convert_model

    check_converter()
    if output is not None and output.exists() and not force:
        raise UsageError(f"{output} exists", "name another file with -o, or replace it with --force")
    source = _open(model, settings)
    destination = output or Path(f"{source.short_name}-{type_name}.gguf")
    with shown_progress(quiet=settings.quiet) as shown:
        meta = convert_model(source, type_name, destination, force=force, progress=shown)
    if as_json:
        document: ConvertDocument = {
            "schema": _SCHEMA,
            "model": {"name": source.name, "path": str(source.folder)},
            "type": type_name,
            "output": str(destination),
            "architecture": meta.architecture,
            "n_params": meta.parameter_count,
            "size_bytes": meta.file_bytes,
        }
        print_json(document)
        return
    print_lines(
        [
            ("model", f"{source.name}, {meta.architecture}, {meta.parameter_count:,} parameters"),
            ("written", f"{destination}, {type_name}, {human_bytes(meta.file_bytes)}"),
        ]
    )


def _open(model: str, settings: Settings) -> "HfModel":
    from edgespec.catalog.sources.hub import is_offline
    from edgespec.cli.progress import shown_progress
    from quant.convert.hf_model import fetch_model, open_folder

    if Path(model).exists() or model.startswith((".", "/", "~")):
        return open_folder(Path(model).expanduser())
    with shown_progress(quiet=settings.quiet) as shown:
        shown.stage("looking for the model", unit="bytes")
        return fetch_model(model, offline=settings.offline or is_offline(), progress=shown)
