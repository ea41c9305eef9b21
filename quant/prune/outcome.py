"""A cut as a whole, planned or done: what leaves, sizes, the speed to expect, the name of the new file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgespec.catalog.model_file import ModelFile
from edgespec.text import human_bytes
from quant.gguf.plan import GgufPlan
from quant.prune.amount import block_parameters, human_count
from quant.prune.run import PruneResult, planned_size, quantized_size
from quant.prune.settings import PruneSettings

if TYPE_CHECKING:
    from quant.prune.repair import RepairReport


@dataclass(frozen=True, slots=True)
class Outcome:
    """A cut, planned or done."""

    file: ModelFile
    """The dense model."""
    plan: GgufPlan
    """Of the smaller one."""
    weights_bytes: int
    """Of its weights, in the types that it will have."""
    result: PruneResult | None = None
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
        meta = self.file.meta
        return (meta.parameter_count - self.plan.parameter_count) / max(1, block_parameters(meta))

    @property
    def n_blocks(self) -> int:
        """Blocks that are left."""
        value = self.plan.field(f"{self.plan.architecture}.block_count")
        return value.value if value is not None and isinstance(value.value, int) else 0

    @property
    def n_without_attention(self) -> int:
        """Blocks that are left and lost their attention."""
        heads = self.plan.field(f"{self.plan.architecture}.attention.head_count_kv")
        counts = heads.value if heads is not None and isinstance(heads.value, tuple) else ()
        return sum(count == 0 for count in counts)

    @property
    def predicted_speedup(self) -> float:
        """Decoding reads every weight once a token, the embedding table excepted where there is an output matrix."""
        before = {tensor.name: tensor.n_bytes for tensor in self.file.meta.tensors}
        after = {tensor.name: tensor.n_bytes for tensor in self.plan.tensors}
        unread = {"token_embd.weight"} if "output.weight" in before else set()
        read = [sum(size for name, size in sizes.items() if name not in unread) for sizes in (before, after)]
        return read[0] / max(1.0, read[1] * self.weights_bytes / max(1, self.plan.weights_bytes))


def plan_cut(file: ModelFile, settings: PruneSettings) -> Outcome:
    """What would come of it, from the header alone; nothing is written.

    Raises:
        UsageError: an amount, a choice, an architecture or a type that does not do.
    """
    planned = planned_size(file.meta, settings)
    n_bytes = quantized_size(planned, file.meta, settings.file_type) if settings.file_type else None
    return Outcome(file, planned, n_bytes or planned.weights_bytes)


def pruned_name(file: ModelFile, settings: PruneSettings, planned: GgufPlan) -> str:
    """What the new file is called when nobody names it: the method, and the percentage of weights that is left."""
    kept = planned.parameter_count / file.meta.parameter_count
    return f"{file.path.stem}-{settings.method}-{100 * kept:.0f}.gguf"


def describe_cut(outcome: Outcome) -> list[tuple[str, str]]:
    """What is to be said of it, each with a word for what it is."""
    meta, result, plan = outcome.file.meta, outcome.result, outcome.plan
    before, after = human_count(meta.parameter_count), human_count(plan.parameter_count)
    sizes = f"{human_bytes(meta.file_bytes)} -> {human_bytes(outcome.size_bytes)}"
    lines = [
        ("model", outcome.file.name),
        ("removed" if result else "removes", describe_removed(outcome)),
        ("parameters", f"{before} -> {after}"),
        ("size", f"{sizes}, {outcome.bpw:.2f} bpw"),
        ("speed", f"about {outcome.predicted_speedup:.2f}x, predicted from the bytes a token reads"),
    ]
    if result is not None and result.report is not None:
        lines.append(("held out", describe_repair(result.report)))
    return [*lines, ("written", str(outcome.destination))] if outcome.destination is not None else lines


def describe_repair(report: "RepairReport") -> str:
    """What the repair brought on text that it has not seen."""
    text = f"KL divergence from the dense model {report.cut_kl:.3f} cut, {report.repaired_kl:.3f} repaired"
    return f"{text}; the repair was left out: {report.objection}" if report.objection else text


def describe_removed(outcome: Outcome) -> str:
    """What leaves, in words, and its share."""
    n_before, result = outcome.file.meta.block_count or 0, outcome.result
    n_gone = n_before - outcome.n_blocks
    n_silent = outcome.n_without_attention
    text = f"{n_gone} of {n_before} blocks" if n_gone else "" if n_silent else "heads and neurons"
    if result is not None and result.removed_blocks:
        text += f" ({', '.join(map(str, result.removed_blocks))})"
    if n_silent:
        kind = ("other" if text else "block") + ("s" if n_silent > 1 else "")
        text += f"{' and ' if text else ''}the attention of {n_silent} {kind}"
    return f"{text}, {outcome.share:.1%} of the weights in the blocks"
