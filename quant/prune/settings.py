"""What the user of a pruning asks for."""

from dataclasses import dataclass

from edgespec.catalog.metadata import GgufMetadata
from edgespec.errors import UsageError
from edgespec.ranges import check_ranges
from quant.prune.amount import Amount, BlockAmount, WidthAmount
from quant.prune.choices import (
    NO_PROTECTION,
    PUBLISHED_PROTECTION,
    Criterion,
    Importance,
    Method,
    Protection,
    Structure,
    protection_for,
)
from quant.text.calibration_source import DEFAULT_TOKENS, OWN_ANSWERS, CalibrationSource


@dataclass(frozen=True, slots=True)
class PruneSettings:
    """What the user asks for; None takes the published choice of the method."""

    amount: Amount
    method: Method = Method.DEPTH
    criterion: Criterion | None = None
    """Of blocks, with Method.DEPTH; None is Criterion.WINDOW."""
    blocks: tuple[int, ...] = ()
    """Blocks that leave, with Method.DEPTH; empty has them chosen by the criterion."""
    narrow: float | None = None
    """With Method.DEPTH: the share of the dense blocks' weights that also leaves as neurons of the kept ones."""
    drop_attention: int | None = None
    """With Method.DEPTH: how many of the kept blocks lose their attention, and with it their part of the KV cache."""
    structure: Structure | None = None
    """Of widths; None is adaptive for FLAP, uniform for LLM-Pruner."""
    importance: Importance | None = None
    """With Method.LLM_PRUNER; None is Importance.ELEMENT."""
    kv_groups: int | None = None
    """KV groups that leave, without Method.DEPTH (`WidthAmount.n_groups`)."""
    repairs: bool = True
    protect_first: int | None = None
    protect_last: int | None = None
    calibration: tuple[CalibrationSource, ...] = (OWN_ANSWERS,)
    n_tokens: int = DEFAULT_TOKENS
    file_type: str | None = None
    """What the result is quantized to, such as `Q4_K_M`; None keeps the types."""

    @property
    def block_criterion(self) -> Criterion:
        """The criterion, or the default one."""
        return self.criterion or Criterion.WINDOW

    @property
    def width_structure(self) -> Structure:
        """The structure, or the method's own."""
        return self.structure or ("uniform" if self.method is Method.LLM_PRUNER else "adaptive")

    @property
    def weight_importance(self) -> Importance:
        """The importance, or the default one."""
        return self.importance or Importance.ELEMENT

    @property
    def removes_inside_blocks(self) -> bool:
        """Whether Method.DEPTH also takes something out of the blocks that it keeps."""
        return self.narrow is not None or self.drop_attention is not None

    @property
    def choice_reads_text(self) -> bool:
        """Whether the choice of what leaves needs a calibration text."""
        if self.method is not Method.DEPTH or self.removes_inside_blocks:
            return True
        return not self.blocks and self.block_criterion is not Criterion.MAGNITUDE

    def check(self) -> None:
        """Refuses numbers outside their ranges, and choices that the method does not know.

        Raises:
            UsageError: names the choice and whose it is.
        """
        check_ranges(
            narrow=self.narrow,
            drop_attention=self.drop_attention,
            kv_groups=self.kv_groups,
            protect_first=self.protect_first,
            protect_last=self.protect_last,
            calibration_tokens=self.n_tokens,
        )
        is_depth = self.method is Method.DEPTH
        for setting, given, fits, whose in (
            ("`criterion`", self.criterion, is_depth, "depth"),
            ("`blocks`", self.blocks or None, is_depth, "depth"),
            ("`narrow`", self.narrow, is_depth, "depth"),
            ("`drop_attention`", self.drop_attention, is_depth, "depth"),
            ("`structure`", self.structure, not is_depth, "flap and llm-pruner"),
            ("`kv_groups`", self.kv_groups, not is_depth, "flap and llm-pruner"),
            ("`importance`", self.importance, self.method is Method.LLM_PRUNER, "llm-pruner"),
        ):
            if given is not None and not fits:
                raise UsageError(
                    f"{setting} does not apply to `method` {self.method}", f"it goes with {whose}"
                )
        if self.amount.n_blocks == 0 and not (is_depth and self.removes_inside_blocks):
            raise UsageError("`n_blocks` 0 removes nothing", "it goes with `narrow` or `drop_attention`")

    def block_amount(self, dense: GgufMetadata) -> BlockAmount | None:
        """How many whole blocks the criterion takes from a model; None where they are named, or none leaves.

        Raises:
            UsageError: none, all, or more than the protection lets go.
        """
        if self.blocks or self.amount.n_blocks == 0:
            return None
        n_removed = self.amount.blocks_of(dense)
        protection = protection_for(self.block_criterion, self.protect_first, self.protect_last)
        return BlockAmount.under(protection, dense.block_count or 0, n_removed)

    def width_amount(self, dense: GgufMetadata) -> WidthAmount:
        """How much leaves a model as heads and neurons, and from which blocks.

        Raises:
            UsageError: nothing, or everything.
        """
        own = PUBLISHED_PROTECTION if self.method is Method.LLM_PRUNER else NO_PROTECTION
        protection = Protection(
            own.n_first if self.protect_first is None else self.protect_first,
            own.n_last if self.protect_last is None else self.protect_last,
        )
        return WidthAmount(self.amount.ratio_of(dense), protection, self.kv_groups)
