"""`edgespec quantize MODEL --type TYPE`: a model in other types, by llama.cpp's own quantizer."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import click

from edgespec.cli.context import Settings
from edgespec.cli.flags import with_flags
from edgespec.cli.output import ModelDocument, model_document, print_json, print_lines
from edgespec.errors import UsageError

if TYPE_CHECKING:
    from edgespec.catalog.model_file import ModelFile
    from edgespec.llama.quantizer import QuantizeSettings
    from edgespec.progress import Progress
    from quant.convert.quantize import PlannedTypes

_SCHEMA = "edgespec.quantize/1"


class TypeDocument(TypedDict):
    """What is stored in one type."""

    tensors: int
    bytes: int


class QuantizeDocument(TypedDict):
    """The JSON document; `output` is None where nothing was written."""

    schema: str
    model: ModelDocument
    type: str
    output: str | None
    types: dict[str, TypeDocument]
    weights_bytes: int
    bpw: float
    predicted_speedup: float
    warnings: list[str]
    note: str | None


@click.command("quantize")
@click.argument("model")
@click.option("--type", "type_name", required=True, metavar="TYPE", help="Such as Q4_K_M, Q4_0, Q8_0 or F16.")
@click.option("--imatrix", type=click.Path(path_type=Path), help="An importance matrix of llama.cpp's form.")
@click.option(
    "--calibrate",
    metavar="TEXT|self",
    help="Measure the importance on a text file, or the model's own answers.",
)
@click.option(
    "--save-imatrix",
    type=click.Path(path_type=Path),
    help="Keep what --calibrate measured, in llama.cpp's form.",
)
@click.option("--output-type", metavar="TYPE", help="Type of the output matrix.")
@click.option("--embedding-type", metavar="TYPE", help="Type of the embedding table.")
@click.option(
    "--tensor", "tensors", multiple=True, metavar="PATTERN=TYPE", help="Type of some tensors; repeatable."
)
@click.option("--pure", is_flag=True, help="The same type for every matrix.")
@click.option("--dry-run", is_flag=True, help="Show types and size; write nothing.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The new file.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    settings: Settings,
    /,
    model: str,
    type_name: str,
    imatrix: Path | None,
    calibrate: str | None,
    save_imatrix: Path | None,
    output_type: str | None,
    embedding_type: str | None,
    tensors: tuple[str, ...],
    pure: bool,
    dry_run: bool,
    output: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write MODEL, a name or a GGUF file, in other types.

    From a model that is quantized already more is lost than from its F16 original. An importance matrix spends the
    precision where the inputs are large.
    """
    if imatrix is not None and calibrate is not None:
        raise UsageError("--imatrix and --calibrate both give the importance", "give one of them")
    if save_imatrix is not None and calibrate is None:
        raise UsageError("--save-imatrix has nothing to keep", "measure with --calibrate")
    if save_imatrix is not None and save_imatrix.exists() and not force:
        raise UsageError(f"{save_imatrix} exists", "name another file, or replace it with --force")
    from edgespec.catalog.compatibility import check_writes_text
    from edgespec.cli.opening import find_model
    from edgespec.cli.progress import shown_progress
    from edgespec.llama.quantizer import QuantizeSettings
    from quant.convert.quantize import check_settings, plan_types, quantize_model, quantized_name

    wanted = QuantizeSettings(
        file_type=type_name.upper(),
        output_type=output_type.upper() if output_type else None,
        embedding_type=embedding_type.upper() if embedding_type else None,
        tensor_types=tuple(_pattern(text) for text in tensors),
        pure=pure,
    )
    check_settings(wanted, has_importance=imatrix is not None or calibrate is not None)
    file = find_model(model, settings)
    destination = output or Path(quantized_name(file.path, wanted.file_type))
    if destination.exists() and not (force or dry_run):
        raise UsageError(f"{destination} exists", "name another file with -o, or replace it with --force")
    with shown_progress(quiet=settings.quiet) as shown:
        shown.stage("loading")
        if calibrate is not None:
            # What can be refused at once is not refused after a measurement.
            check_writes_text(file.path.name, file.meta)
            plan_types(file.meta, wanted, importance_follows=True)
        if imatrix is not None or calibrate is not None:
            wanted = _with_importance(file, wanted, imatrix, calibrate, save_imatrix, shown)
        planned = plan_types(file.meta, wanted)
        if not dry_run:
            source = str(imatrix or calibrate or "")
            quantize_model(file.meta, wanted, destination, calibration=source, force=force, progress=shown)
    _print(file, wanted, planned, None if dry_run else destination, as_json)


def _pattern(text: str) -> tuple[str, str]:
    pattern, equals, type_name = text.rpartition("=")
    if not (equals and pattern):
        raise UsageError(f"--tensor {text!r} has no type", "write it as PATTERN=TYPE, such as ffn_down=Q6_K")
    return pattern, type_name.upper()


def _with_importance(
    file: "ModelFile",
    wanted: "QuantizeSettings",
    imatrix: Path | None,
    calibrate: str | None,
    save_imatrix: Path | None,
    progress: "Progress",
) -> "QuantizeSettings":
    from quant.measure.imatrix import importance_of, measure_file, read_imatrix, write_imatrix
    from quant.text.calibration_source import source_of
    from quant.text.windows import N_CTX

    if imatrix is not None:
        return replace(wanted, importance=read_imatrix(imatrix))
    moments = measure_file(file.meta, source_of(calibrate or ""), progress=progress)
    if save_imatrix is not None:
        write_imatrix(save_imatrix, moments, dataset=str(calibrate), n_ctx=N_CTX)
    return replace(wanted, importance=importance_of(moments))


def _print(
    file: "ModelFile",
    wanted: "QuantizeSettings",
    planned: "PlannedTypes",
    destination: Path | None,
    as_json: bool,
) -> None:
    from quant.convert.quantize import describe_types, source_note

    if as_json:
        document: QuantizeDocument = {
            "schema": _SCHEMA,
            "model": model_document(file),
            "type": wanted.file_type,
            "output": None if destination is None else str(destination),
            "types": {
                name: {"tensors": one.n_tensors, "bytes": one.n_bytes} for name, one in planned.types.items()
            },
            "weights_bytes": planned.n_bytes,
            "bpw": planned.bpw,
            "predicted_speedup": planned.predicted_speedup,
            "warnings": [with_flags(text) for text in planned.warnings],
            "note": source_note(file.meta) or None,
        }
        print_json(document)
        return
    lines = [(name, with_flags(text)) for name, text in describe_types(file, wanted.file_type, planned)]
    print_lines(lines if destination is None else [*lines, ("written", str(destination))])
