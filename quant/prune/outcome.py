"""A pruning in figures and words, planned or done: what leaves, sizes, the speed to expect."""

from dataclasses import dataclass
from pathlib import Path

from edgespec.catalog.metadata import GgufMetadata
from edgespec.llama.quantizer import QuantizeSettings
from edgespec.text import human_bytes
from quant.convert.quantize import plan_types
from quant.gguf.plan import GgufPlan
from quant.gguf.sizes import block_parameters, bytes_read_per_token
from quant.prune.amount import human_count
from quant.prune.plan import PrunePlan
from quant.prune.repair_report import RepairReport


@dataclass(frozen=True, slots=True, eq=False)
class PrunedModel:
    """A smaller model beside the dense one, planned or written."""

    dense: GgufMetadata
    gguf: GgufPlan
    weights_bytes: int
    """Of its weights, in the types that it will have."""

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return self.gguf.file_bytes - self.gguf.weights_bytes + self.weights_bytes

    @property
    def bpw(self) -> float:
        """Mean bits per weight."""
        return 8 * self.weights_bytes / max(1, self.gguf.parameter_count)

    @property
    def removed_share(self) -> float:
        """What left, of the weights in the blocks."""
        gone = self.dense.parameter_count - self.gguf.parameter_count
        return gone / max(1, block_parameters(self.dense))

    @property
    def n_blocks(self) -> int:
        """Blocks that are left."""
        return self.gguf.integer("block_count") or 0

    @property
    def n_without_attention(self) -> int:
        """Blocks that are left and lost their attention."""
        heads = self.gguf.model_field("attention.head_count_kv")
        counts = heads.value if heads is not None and isinstance(heads.value, tuple) else ()
        return sum(count == 0 for count in counts)

    @property
    def predicted_speedup(self) -> float:
        """Of decoding at batch 1, by the bytes that a token reads (`bytes_read_per_token`)."""
        before, after = (
            bytes_read_per_token({tensor.name: tensor.n_bytes for tensor in tensors})
            for tensors in (self.dense.tensors, self.gguf.tensors)
        )
        return before / max(1.0, after * self.weights_bytes / max(1, self.gguf.weights_bytes))


@dataclass(frozen=True, slots=True, eq=False)
class PruneOutcome:
    """What was done."""

    model: PrunedModel
    destination: Path
    removed_blocks: tuple[int, ...]
    widths: tuple[tuple[int, int], ...]
    """KV groups and neurons that each block kept; empty where all stayed whole."""
    report: RepairReport | None
    """None without a repair."""
    no_repair: str
    """Why there was none, in words."""
    n_tokens_read: int
    """Of the calibration text, by the choice and the repair."""


def planned_model(plan: PrunePlan) -> PrunedModel:
    """The model that will come of a plan; of other types by what llama.cpp plans for the dense model's.

    Raises:
        UsageError: a type that needs an importance matrix.
        EngineError: llama.cpp refused.
    """
    file_type, gguf = plan.settings.file_type, plan.gguf
    if file_type is None:
        return PrunedModel(plan.dense, gguf, gguf.weights_bytes)
    bpw = plan_types(plan.dense, QuantizeSettings(file_type)).bpw
    return PrunedModel(plan.dense, gguf, round(bpw * gguf.parameter_count / 8))


def describe_plan(plan: PrunePlan) -> list[tuple[str, str]]:
    """What is to be said of a plan, each with a word for what it is.

    Raises:
        UsageError: a type that needs an importance matrix.
        EngineError: llama.cpp refused.
    """
    model = planned_model(plan)
    unrepaired = [("repair", f"none: {plan.no_repair}")] if plan.no_repair else []
    return [("removes", describe_removed(model)), *_size_lines(model), *unrepaired]


def describe_outcome(outcome: PruneOutcome) -> list[tuple[str, str]]:
    """What is to be said of a pruning that was done, each with a word for what it is."""
    lines = [
        ("removed", describe_removed(outcome.model, outcome.removed_blocks)),
        *_size_lines(outcome.model),
    ]
    return [*lines, describe_repair(outcome), ("written", str(outcome.destination))]


def describe_repair(outcome: PruneOutcome) -> tuple[str, str]:
    """What the repair brought on text that it has not seen, or why there was none, after a word for it."""
    report, n_read = outcome.report, outcome.n_tokens_read
    if report is None:
        read = f"{n_read} tokens of text were read for the choice alone" if n_read else "no text was read"
        return "repair", f"none: {outcome.no_repair}; {read}"
    text = f"KL divergence from the dense model {report.cut_kl:.3f} cut, {report.repaired_kl:.3f} repaired"
    objection = f"; the repair was left out: {report.objection}" if report.objection else ""
    return "held out", text + objection


def describe_removed(model: PrunedModel, removed_blocks: tuple[int, ...] = ()) -> str:
    """What leaves, in words, and its share.

    Args:
        model: What is left.
        removed_blocks: Their numbers, where they are known already.
    """
    n_before = model.dense.block_count or 0
    n_gone, n_silent = n_before - model.n_blocks, model.n_without_attention
    text = f"{n_gone} of {n_before} blocks" if n_gone else "" if n_silent else "heads and neurons"
    if removed_blocks:
        text += f" ({', '.join(map(str, removed_blocks))})"
    if n_silent:
        kind = ("other" if text else "block") + ("s" if n_silent > 1 else "")
        text += f"{' and ' if text else ''}the attention of {n_silent} {kind}"
    return f"{text}, {model.removed_share:.1%} of the weights in the blocks"


def _size_lines(model: PrunedModel) -> list[tuple[str, str]]:
    before, after = human_count(model.dense.parameter_count), human_count(model.gguf.parameter_count)
    sizes = f"{human_bytes(model.dense.file_bytes)} -> {human_bytes(model.size_bytes)}"
    return [
        ("parameters", f"{before} -> {after}"),
        ("size", f"{sizes}, {model.bpw:.2f} bpw"),
        ("speed", f"about {model.predicted_speedup:.2f}x, predicted from the bytes a token reads"),
    ]
