"""`edgespec prune MODEL`: fewer blocks or narrower ones, the rest refitted, and what it cost."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edgespec.cli.context import Settings

if TYPE_CHECKING:
    from quant.prune.run import PruneSettings

_CRITERIA = ("window", "ppl", "kl", "greedy", "bi", "angular", "taylor", "magnitude")


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
@click.option("--blocks", type=click.IntRange(0), help="Number of blocks to remove.")
@click.option("--remove", metavar="LIST", help="These blocks, counted from 0, such as 12-18 or 4,9,10.")
@click.option(
    "--criterion",
    type=click.Choice(_CRITERIA),
    help="How blocks are chosen: the window whose repaired model is best [default: window], or a published score.",
)
@click.option(
    "--narrow",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="With depth: that share of the blocks' weights leaves too, as neurons of the kept blocks by FLAP.",
)
@click.option(
    "--drop-attention",
    "n_attention",
    type=click.IntRange(1),
    metavar="N",
    help="With depth: N of the kept blocks lose their attention, those that miss it least; alone, no block leaves.",
)
@click.option(
    "--structure",
    type=click.Choice(["adaptive", "uniform"]),
    help="Widths by one ranking of all blocks [default with flap], or all blocks alike [default with llm-pruner].",
)
@click.option(
    "--importance",
    type=click.Choice(["element", "vector", "second", "mixed"]),
    help="With llm-pruner: how weights and gradients make a score [default: element].",
)
@click.option(
    "--kv-groups",
    "n_groups",
    type=click.IntRange(0),
    metavar="N",
    help="KV groups that leave: of the model, or of each block with uniform; 0 takes neurons only.",
)
@click.option("--repair/--no-repair", default=True, show_default=True, help="Refit what is left.")
@click.option("--protect-first", type=click.IntRange(0), metavar="N", help="Keep the first N blocks whole.")
@click.option("--protect-last", type=click.IntRange(0), metavar="N", help="Keep the last N blocks whole.")
@click.option(
    "--calibration",
    "texts",
    metavar="TEXT|self",
    multiple=True,
    help="A text to calibrate on, or the model's own answers to built-in prompts [default: self]; repeatable.",
)
@click.option(
    "--calibration-tokens",
    type=click.IntRange(1024),
    default=16384,
    show_default=True,
    help="How much of it.",
)
@click.option("--quantize", "file_type", metavar="TYPE", help="Write the result as TYPE, such as Q4_K_M.")
@click.option("--dry-run", is_flag=True, help="Show what would come of it; write nothing.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The new file.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    settings: Settings,
    /,
    model: str,
    dry_run: bool,
    output: Path | None,
    force: bool,
    as_json: bool,
    **choices: Any,
) -> None:
    """Make MODEL, a name or a GGUF file, smaller and faster by removing blocks, or heads and neurons.

    What is left is refitted to the dense model by least squares, and kept as it was where that does not help.
    The new file says in its metadata how it was made.
    """
    wanted = _wanted(**choices)

    from edgespec.cli.meter import progress, to_stages
    from edgespec.cli.opening import find_model
    from edgespec.cli.prune_view import show
    from quant.prune.outcome import Outcome, plan_cut, pruned_name
    from quant.prune.run import planned_size, prune

    file = find_model(model, settings)
    if dry_run:
        show(plan_cut(file, wanted), as_json)
        return
    destination = output or Path(pruned_name(file, wanted, planned_size(file.meta, wanted)))
    with progress(None, "loading", quiet=settings.quiet) as meter:
        result = prune(file.meta, wanted, destination, force=force, progress=to_stages(meter))
    show(Outcome(file, result.plan, result.plan.weights_bytes, result, destination), as_json)


def _wanted(
    *,
    method: str,
    ratio: float | None,
    params: str | None,
    blocks: int | None,
    remove: str | None,
    criterion: str | None,
    narrow: float | None,
    n_attention: int | None,
    structure: Literal["adaptive", "uniform"] | None,
    importance: str | None,
    n_groups: int | None,
    repair: bool,
    protect_first: int | None,
    protect_last: int | None,
    texts: tuple[str, ...],
    calibration_tokens: int,
    file_type: str | None,
) -> "PruneSettings":
    from quant.prune.amount import choose_amount, read_blocks
    from quant.prune.choices import OWN_ANSWERS, Criterion, Importance, Method
    from quant.prune.settings import PruneSettings

    removed = read_blocks(remove) if remove else ()
    if n_attention and not any((ratio, params, blocks, removed)):
        blocks = 0
    return PruneSettings(
        amount=choose_amount(ratio, params, blocks, len(removed) or None),
        blocks=removed,
        method=Method(method),
        criterion=Criterion(criterion) if criterion else None,
        narrow=narrow or None,
        n_attention=n_attention,
        structure=structure,
        importance=Importance(importance) if importance else None,
        n_groups=n_groups,
        repairs=repair,
        protect_first=protect_first,
        protect_last=protect_last,
        calibration=tuple(OWN_ANSWERS if text == OWN_ANSWERS else Path(text) for text in texts)
        or (OWN_ANSWERS,),
        n_tokens=calibration_tokens,
        file_type=file_type.upper() if file_type else None,
    )
