"""What a pruning will come to on a model, worked out once, from the header alone.

The same plan is shown by a dry run, gives the new file its name, is checked against the disk and is carried out.
"""

from dataclasses import dataclass, replace

from edgespec.catalog.compatibility import check_writes_text
from edgespec.catalog.metadata import GgufMetadata
from edgespec.errors import ModelFileError, UsageError
from edgespec.llama.quantizer import QuantizeSettings
from quant.convert.quantize import check_settings
from quant.gguf.plan import GgufPlan, copy_of
from quant.gguf.sizes import block_parameters
from quant.numeric.architectures import COMPUTED_ARCHITECTURES
from quant.prune.amount import BlockAmount, WidthAmount
from quant.prune.blocks import remove_blocks
from quant.prune.choices import Method
from quant.prune.settings import PruneSettings


@dataclass(frozen=True, slots=True, eq=False)
class PrunePlan:
    """What is removed from a model, and what will be left of it."""

    dense: GgufMetadata
    settings: PruneSettings
    gguf: GgufPlan
    """Of a model of the size that will come of it; which blocks, heads and neurons leave is chosen later."""
    block_amount: BlockAmount | None = None
    """Whole blocks that a criterion takes; None where they are named, or none leaves."""
    width_amount: WidthAmount | None = None
    """Heads and neurons; None where none leave for their weights' sake."""

    @property
    def named_blocks(self) -> tuple[int, ...]:
        """Blocks that leave because the user names them, ascending."""
        return tuple(sorted(set(self.settings.blocks)))

    @property
    def file_name(self) -> str:
        """What the new file is called when nobody names it: the method, and the percentage of weights that is left."""
        kept = self.gguf.parameter_count / self.dense.parameter_count
        return f"{self.dense.path.stem}-{self.settings.method}-{100 * kept:.0f}.gguf"

    @property
    def no_repair(self) -> str:
        """Why nothing will be refitted, in words; empty where what is left will be."""
        if not self.settings.repairs:
            return "as asked"
        # Experts are not computed block by block.
        kind = "a mixture of experts" if self.dense.expert_count else self.dense.architecture
        is_computed = self.dense.architecture in COMPUTED_ARCHITECTURES and not self.dense.expert_count
        return "" if is_computed else f"{kind} cannot be refitted"

    @property
    def repairs(self) -> bool:
        """Whether what is left will be refitted."""
        return not self.no_repair

    @property
    def reads_text(self) -> bool:
        """Whether anything needs a calibration text."""
        return self.settings.choice_reads_text or self.repairs

    @property
    def only_copies(self) -> bool:
        """Whether the new file is the old one without some blocks, which are named: no weight is computed."""
        named = bool(self.named_blocks) and not self.settings.removes_inside_blocks
        return named and not self.repairs


def plan_pruning(dense: GgufMetadata, settings: PruneSettings) -> PrunePlan:
    """Works out what such a pruning comes to; nothing is written, and no weight is read.

    Raises:
        UsageError: an amount, a choice, an architecture or a type that does not do.
        ModelFileError: the file has no blocks or does not say how many, or writes no text where one is needed.
    """
    settings.check()
    if settings.file_type is not None:
        check_settings(QuantizeSettings(settings.file_type), has_importance=False)
    whole = PrunePlan(dense, settings, copy_of(dense))
    _check_model(whole)
    if settings.method is not Method.DEPTH:
        return _plan_widths(whole)
    amount = settings.block_amount(dense)
    leaving = settings.blocks or range(1, 1 + (amount.n_removed if amount else 0))
    plan = replace(whole, gguf=remove_blocks(whole.gguf, leaving), block_amount=amount)
    return _plan_inside(plan) if settings.removes_inside_blocks else plan


def _check_model(whole: PrunePlan) -> None:
    """Refuses a model that has nothing to take out, or that cannot read the text which the choice needs."""
    dense = whole.dense
    if not dense.block_count or not block_parameters(dense):
        raise ModelFileError(
            f"{dense.path.name} has no blocks of weights that could be removed",
            "name a model with transformer blocks; `edgespec show` lists what a file holds",
        )
    if whole.reads_text:
        check_writes_text(dense.path.name, dense)


def _plan_widths(whole: PrunePlan) -> PrunePlan:
    """The plan of a method that takes heads and neurons out of every block, whose plan so far is a copy."""
    # Numpy comes with these, which a plan of whole blocks does without.
    from quant.prune.shape import read_shape
    from quant.prune.width import cut_widths
    from quant.prune.width_choice import Scores, choose_widths

    shape = read_shape(whole.gguf)
    amount = whole.settings.width_amount(whole.dense)
    widths = choose_widths(shape, Scores.alike(shape), amount, "uniform")
    return replace(whole, gguf=cut_widths(whole.gguf, widths), width_amount=amount)


def _plan_inside(shallow: PrunePlan) -> PrunePlan:
    """The plan that also takes attention and neurons out of the blocks that Method.DEPTH leaves."""
    # Numpy comes with these, which a plan of whole blocks does without.
    from quant.prune.shape import read_shape
    from quant.prune.width import cut_widths
    from quant.prune.width_choice import Scores, choose_widths, whole_blocks, without_attention

    shape, settings = read_shape(shallow.gguf), shallow.settings
    amount, widths = None, whole_blocks(shape)
    if settings.narrow is not None:
        # The share is of all blocks' weights; the ratio, of those of the blocks that are left.
        ratio = settings.narrow * block_parameters(shallow.dense) / shape.n_blocks / shape.block_parameters
        if ratio >= 1:
            raise UsageError(
                f"`narrow` {settings.narrow:g} is more than the blocks that are left have", "use less"
            )
        amount = WidthAmount(ratio, n_groups=0)
        widths = choose_widths(shape, Scores.alike(shape), amount, "adaptive")
    n_silent = settings.drop_attention or 0
    if n_silent >= shape.n_blocks:
        raise UsageError(
            f"`drop_attention` {n_silent} is more than the {shape.n_blocks} blocks that are left can lose",
            "the first one keeps its attention",
        )
    widths = without_attention(widths, range(shape.n_blocks - n_silent, shape.n_blocks))
    return replace(shallow, gguf=cut_widths(shallow.gguf, widths), width_amount=amount)
