"""`edgespec prune MODEL`: fewer blocks or narrower ones, the rest refitted, and what it cost."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edgespec.cli.context import Settings
from edgespec.cli.style import human_bytes
from edgespec.errors import UsageError

if TYPE_CHECKING:
    from edgespec.cli.progress import Meter
    from edgespec.session.loading import ModelFile
    from quant.container import GgufPlan
    from quant.prune import Amount, PruneResult

_SCHEMA = "edgespec.prune/1"
_CRITERIA = ("window", "ppl", "kl", "greedy", "bi", "angular", "magnitude")
_COUNT_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9}


@click.command("prune")
@click.argument("model")
@click.option(
    "--method",
    type=click.Choice(["depth", "flap", "llm-pruner"]),
    default="depth",
    show_default=True,
    help="Whole blocks; heads and neurons that hardly fluctuate; those that change the loss least.",
)
@click.option(
    "--ratio", type=click.FloatRange(0, 1), help="Share of the weights in the blocks [default: 0.25]."
)
@click.option("--params", metavar="N", help="Parameters that shall be left, such as 4.9B.")
@click.option("--blocks", type=click.IntRange(1), help="Blocks to remove.")
@click.option(
    "--criterion",
    type=click.Choice(_CRITERIA),
    default="window",
    show_default=True,
    help="How blocks are chosen: the window whose repaired model is best, or a published score.",
)
@click.option(
    "--structure",
    type=click.Choice(["adaptive", "uniform"]),
    default="adaptive",
    show_default=True,
    help="With flap: widths that differ by block, or all alike.",
)
@click.option("--repair/--no-repair", default=True, show_default=True, help="Refit the kept blocks.")
@click.option("--protect-first", type=click.IntRange(0), metavar="N", help="Keep the first N blocks.")
@click.option("--protect-last", type=click.IntRange(0), metavar="N", help="Keep the last N blocks.")
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    help="A text to calibrate on [default: the model's own answers to built-in prompts].",
)
@click.option(
    "--calibration-tokens",
    type=click.IntRange(1024),
    default=16384,
    show_default=True,
    help="How much of it.",
)
@click.option("--dry-run", is_flag=True, help="Show what would come of it; write nothing.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The new file.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    settings: Settings,
    /,
    model: str,
    method: str,
    ratio: float | None,
    params: str | None,
    blocks: int | None,
    criterion: str,
    structure: Literal["adaptive", "uniform"],
    repair: bool,
    protect_first: int | None,
    protect_last: int | None,
    calibration: Path | None,
    calibration_tokens: int,
    dry_run: bool,
    output: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make MODEL, a name or a GGUF file, smaller and faster by removing blocks, or heads and neurons.

    What is left is refitted to the dense model by least squares, and kept as it was where that does not help.
    The new file says in its metadata how it was made.
    """
    from edgespec.cli.opening import find_model
    from edgespec.cli.progress import progress
    from quant.depth import Criterion
    from quant.prune import Method, PruneSettings, planned_size, prune

    wanted = PruneSettings(
        amount=_amount(ratio, params, blocks),
        method=Method(method),
        criterion=Criterion(criterion),
        structure=structure,
        repairs=repair,
        protect_first=protect_first,
        protect_last=protect_last,
        calibration_file=calibration,
        n_tokens=calibration_tokens,
    )
    file = find_model(model, settings)
    planned = planned_size(file.meta, wanted)
    kept = planned.parameter_count / file.meta.parameter_count
    destination = output or Path(f"{file.path.stem}-{method}-{kept:.0%}.gguf".replace("%", ""))
    if dry_run:
        _print(file, planned, None, None, as_json)
        return
    if destination.exists() and not force:
        raise UsageError(f"{destination} exists", "name another file with -o, or replace it with --force")
    with progress(None, "loading", quiet=settings.quiet) as meter:
        result = prune(file.meta, wanted, destination, force=force, progress=_to_meter(meter))
    _print(file, result.plan, result, destination, as_json)


def _to_meter(meter: "Meter") -> Any:
    def report(label: str, done: int, total: int) -> None:
        meter.set_label(label)
        meter.set_total(total)
        meter.set_done(done)

    return report


def _amount(ratio: float | None, params: str | None, blocks: int | None) -> "Amount":
    from quant.prune import Amount

    if sum(value is not None for value in (ratio, params, blocks)) > 1:
        raise UsageError("--ratio, --params and --blocks say the same thing", "give one of them")
    if params is not None:
        return Amount(n_params=_count(params))
    return Amount(n_blocks=blocks) if blocks is not None else Amount(ratio=0.25 if ratio is None else ratio)


def _count(text: str) -> float:
    number, unit = text[:-1], text[-1:].upper()
    try:
        return float(number) * _COUNT_UNITS[unit] if unit in _COUNT_UNITS else float(text)
    except ValueError:
        raise UsageError(
            f"--params {text!r} is no number of parameters", "write it as 4.9B or 130M"
        ) from None


def _print(
    file: "ModelFile",
    plan: "GgufPlan",
    result: "PruneResult | None",
    destination: Path | None,
    as_json: bool,
) -> None:
    if as_json:
        document = _document(file, plan, result, destination)
        click.echo(json.dumps(document, indent=2, ensure_ascii=True))
        return
    for name, value in _lines(file, plan, result, destination):
        click.echo(f"{name + ':':<12} {value}")


def _lines(
    file: "ModelFile",
    plan: "GgufPlan",
    result: "PruneResult | None",
    destination: Path | None,
) -> list[tuple[str, str]]:
    from quant.prune import human_count

    meta = file.meta
    lines = [
        ("model", file.name),
        ("removed" if result else "removes", _removed(file, plan, result)),
        ("parameters", f"{human_count(meta.parameter_count)} -> {human_count(plan.parameter_count)}"),
        ("size", f"{human_bytes(meta.file_bytes)} -> {human_bytes(plan.file_bytes)}, {plan.bpw:.2f} bpw"),
        ("speed", f"about {_predicted_speedup(file, plan):.2f}x, predicted from the bytes a token reads"),
    ]
    if result is not None and result.report is not None:
        report = result.report
        lines.append(
            (
                "held out",
                f"loss {report.dense_nll:.3f} dense, {report.cut_nll:.3f} cut, {report.repaired_nll:.3f} repaired"
                + ("" if report.helped else "; the repair did not help and was left out"),
            )
        )
    return [*lines, ("written", str(destination))] if destination is not None else lines


def _removed(file: "ModelFile", plan: "GgufPlan", result: "PruneResult | None") -> str:
    from quant.prune import block_parameters

    share = (file.meta.parameter_count - plan.parameter_count) / max(1, block_parameters(file.meta))
    n_gone = (file.meta.block_count or 0) - _block_count(plan)
    text = f"{n_gone} of {file.meta.block_count} blocks" if n_gone else "heads and neurons"
    if result is not None and result.removed_blocks:
        text += f" ({', '.join(map(str, result.removed_blocks))})"
    return f"{text}, {share:.1%} of the weights in the blocks"


def _block_count(plan: "GgufPlan") -> int:
    value = plan.field(f"{plan.architecture}.block_count")
    return value.value if value is not None and isinstance(value.value, int) else 0


def _predicted_speedup(file: "ModelFile", plan: "GgufPlan") -> float:
    """Decoding reads every weight once a token, the embedding table excepted where there is an output matrix."""
    before = {tensor.name: tensor.n_bytes for tensor in file.meta.tensors}
    after = {tensor.name: tensor.n_bytes for tensor in plan.tensors}
    unread = {"token_embd.weight"} if "output.weight" in before else set()
    read = [sum(size for name, size in sizes.items() if name not in unread) for sizes in (before, after)]
    return read[0] / max(1, read[1])


def _document(
    file: "ModelFile",
    plan: "GgufPlan",
    result: "PruneResult | None",
    destination: Path | None,
) -> dict[str, Any]:
    from dataclasses import asdict

    meta = file.meta
    return {
        "schema": _SCHEMA,
        "model": {"name": file.name, "path": str(file.path), "size_bytes": meta.file_bytes},
        "output": None if destination is None else str(destination),
        "architecture": plan.architecture,
        "n_blocks": _block_count(plan),
        "removed_blocks": list(result.removed_blocks) if result else None,
        "widths": [list(pair) for pair in result.widths] if result else None,
        "n_params_before": meta.parameter_count,
        "n_params": plan.parameter_count,
        "size_bytes": plan.file_bytes,
        "bpw": plan.bpw,
        "predicted_speedup": _predicted_speedup(file, plan),
        "held_out": asdict(result.report) if result and result.report else None,
    }
