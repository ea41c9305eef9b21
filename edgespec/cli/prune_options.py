"""The options that say what is removed from a model, and how."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import click

from edgespec.cli.options import option_group

if TYPE_CHECKING:
    from quant.prune.settings import PruneSettings

_CRITERIA: Final = ("window", "ppl", "kl", "greedy", "bi", "angular", "taylor", "magnitude")
_OPTIONS: Final = (
    click.option(
        "--method",
        type=click.Choice(["depth", "flap", "llm-pruner"]),
        default="depth",
        show_default=True,
        help="Whole blocks; heads and neurons that hardly fluctuate; those that change the loss least.",
    ),
    click.option(
        "--ratio", type=click.FloatRange(0, 1), help="Share of the weights in the blocks [default: 0.25]."
    ),
    click.option("--params", metavar="N", help="Parameters to keep, such as 4.9B."),
    click.option("--blocks", "n_blocks", type=click.IntRange(0), help="Number of blocks to remove."),
    click.option("--remove", metavar="LIST", help="These blocks, counted from 0, such as 12-18 or 4,9,10."),
    click.option(
        "--criterion",
        type=click.Choice(_CRITERIA),
        help="How blocks are chosen: the window whose repaired model is best [default: window], or a published score.",
    ),
    click.option(
        "--narrow",
        type=click.FloatRange(0, 1),
        metavar="SHARE",
        help="With depth: that share of the blocks' weights leaves too, as neurons of the kept blocks by FLAP.",
    ),
    click.option(
        "--drop-attention",
        type=click.IntRange(1),
        metavar="N",
        help="With depth: N of the kept blocks lose their attention, those that miss it least; alone, no block leaves.",
    ),
    click.option(
        "--structure",
        type=click.Choice(["adaptive", "uniform"]),
        help="Widths by one ranking of all blocks [default with flap], or all blocks alike [default with llm-pruner].",
    ),
    click.option(
        "--importance",
        type=click.Choice(["element", "vector", "second", "mixed"]),
        help="With llm-pruner: how weights and gradients make a score [default: element].",
    ),
    click.option(
        "--kv-groups",
        type=click.IntRange(0),
        metavar="N",
        help="KV groups that leave: of the model, or of each block with uniform; 0 takes neurons only.",
    ),
    click.option("--repair/--no-repair", default=True, show_default=True, help="Refit what is left."),
    click.option(
        "--protect-first", type=click.IntRange(0), metavar="N", help="Keep the first N blocks whole."
    ),
    click.option("--protect-last", type=click.IntRange(0), metavar="N", help="Keep the last N blocks whole."),
    click.option(
        "--calibration",
        "texts",
        metavar="TEXT|self",
        multiple=True,
        help="A text to calibrate on, or the model's own answers to built-in prompts [default: self]; repeatable.",
    ),
    click.option(
        "--calibration-tokens",
        type=click.IntRange(1024),
        default=16384,
        show_default=True,
        help="How much of it.",
    ),
    click.option("--quantize", "file_type", metavar="TYPE", help="Write the result as TYPE, such as Q4_K_M."),
)


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """What was typed of the pruning."""

    method: str
    ratio: float | None
    params: str | None
    n_blocks: int | None
    remove: str | None
    criterion: str | None
    narrow: float | None
    drop_attention: int | None
    structure: Literal["adaptive", "uniform"] | None
    importance: str | None
    kv_groups: int | None
    repair: bool
    protect_first: int | None
    protect_last: int | None
    texts: tuple[str, ...]
    calibration_tokens: int
    file_type: str | None

    def make_settings(self) -> "PruneSettings":
        """What the core is asked for.

        Raises:
            UsageError: a list or a number that makes no sense, or an amount that is said in two ways.
        """
        from quant.prune.amount import choose_amount, read_blocks
        from quant.prune.choices import Criterion, Importance, Method
        from quant.prune.settings import PruneSettings
        from quant.text.calibration_source import OWN_ANSWERS, source_of

        named = read_blocks(self.remove) if self.remove else ()
        n_blocks = self.n_blocks
        if self.drop_attention and not any((self.ratio, self.params, n_blocks, named)):
            n_blocks = 0
        return PruneSettings(
            amount=choose_amount(self.ratio, self.params, n_blocks, len(named) or None),
            blocks=named,
            method=Method(self.method),
            criterion=Criterion(self.criterion) if self.criterion else None,
            narrow=self.narrow or None,
            drop_attention=self.drop_attention,
            structure=self.structure,
            importance=Importance(self.importance) if self.importance else None,
            kv_groups=self.kv_groups,
            repairs=self.repair,
            protect_first=self.protect_first,
            protect_last=self.protect_last,
            calibration=tuple(map(source_of, self.texts)) or (OWN_ANSWERS,),
            n_tokens=self.calibration_tokens,
            file_type=self.file_type.upper() if self.file_type else None,
        )


prune_options: Final = option_group("options", PruneOptions, _OPTIONS)
"""Adds the options of a pruning to a command, which takes them as `options`."""
