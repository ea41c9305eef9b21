"""What `edgespec prune` says of a cut, planned or done."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgespec.text import human_bytes

if TYPE_CHECKING:
    from edgespec.session.loading import ModelFile
    from quant.container import GgufPlan
    from quant.prune import PruneResult

_SCHEMA = "edgespec.prune/1"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A cut, planned or done."""

    file: "ModelFile"
    """The dense model."""
    plan: "GgufPlan"
    """Of the smaller one."""
    weights_bytes: int
    """Of its weights, in the types that it will have."""
    result: "PruneResult | None" = None
    """None for a plan."""
    destination: Path | None = None

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return self.plan.file_bytes - self.plan.weights_bytes + self.weights_bytes

    @property
    def bpw(self) -> float:
        """Mean bits per weight."""
        return 8 * self.weights_bytes / self.plan.parameter_count

    @property
    def share(self) -> float:
        """What left, of the weights in the blocks."""
        from quant.amount import block_parameters

        meta = self.file.meta
        return (meta.parameter_count - self.plan.parameter_count) / max(1, block_parameters(meta))

    @property
    def n_blocks(self) -> int:
        """Blocks that are left."""
        value = self.plan.field(f"{self.plan.architecture}.block_count")
        return value.value if value is not None and isinstance(value.value, int) else 0

    @property
    def predicted_speedup(self) -> float:
        """Decoding reads every weight once a token, the embedding table excepted where there is an output matrix."""
        before = {tensor.name: tensor.n_bytes for tensor in self.file.meta.tensors}
        after = {tensor.name: tensor.n_bytes for tensor in self.plan.tensors}
        unread = {"token_embd.weight"} if "output.weight" in before else set()
        read = [sum(size for name, size in sizes.items() if name not in unread) for sizes in (before, after)]
        return read[0] / max(1.0, read[1] * self.weights_bytes / max(1, self.plan.weights_bytes))


def show(outcome: Outcome, as_json: bool) -> None:
    """Prints it."""
    if as_json:
        click.echo(json.dumps(_document(outcome), indent=2, ensure_ascii=True))
        return
    for name, value in _lines(outcome):
        click.echo(f"{name + ':':<12} {value}")


def _lines(outcome: Outcome) -> list[tuple[str, str]]:
    from quant.amount import human_count

    meta, result, plan = outcome.file.meta, outcome.result, outcome.plan
    before, after = human_count(meta.parameter_count), human_count(plan.parameter_count)
    sizes = f"{human_bytes(meta.file_bytes)} -> {human_bytes(outcome.size_bytes)}"
    lines = [
        ("model", outcome.file.name),
        ("removed" if result else "removes", _removed(outcome)),
        ("parameters", f"{before} -> {after}"),
        ("size", f"{sizes}, {outcome.bpw:.2f} bpw"),
        ("speed", f"about {outcome.predicted_speedup:.2f}x, predicted from the bytes a token reads"),
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
    return [*lines, ("written", str(outcome.destination))] if outcome.destination is not None else lines


def _removed(outcome: Outcome) -> str:
    n_before, result = outcome.file.meta.block_count or 0, outcome.result
    n_gone = n_before - outcome.n_blocks
    text = f"{n_gone} of {n_before} blocks" if n_gone else "heads and neurons"
    if result is not None and result.removed_blocks:
        text += f" ({', '.join(map(str, result.removed_blocks))})"
    return f"{text}, {outcome.share:.1%} of the weights in the blocks"


def _document(outcome: Outcome) -> dict[str, Any]:
    file, plan, result = outcome.file, outcome.plan, outcome.result
    return {
        "schema": _SCHEMA,
        "model": {"name": file.name, "path": str(file.path), "size_bytes": file.meta.file_bytes},
        "output": None if outcome.destination is None else str(outcome.destination),
        "architecture": plan.architecture,
        "n_blocks": outcome.n_blocks,
        "removed_blocks": list(result.removed_blocks) if result else None,
        "widths": [list(pair) for pair in result.widths] if result else None,
        "n_params_before": file.meta.parameter_count,
        "n_params": plan.parameter_count,
        "size_bytes": outcome.size_bytes,
        "bpw": outcome.bpw,
        "predicted_speedup": outcome.predicted_speedup,
        "held_out": asdict(result.report) if result and result.report else None,
    }
