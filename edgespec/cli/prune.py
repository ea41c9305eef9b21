"""`edgespec prune MODEL`: fewer blocks or smaller ones, the rest refitted, and what it cost."""

from pathlib import Path

import click

from edgespec.cli.context import Settings
from edgespec.cli.prune_options import PruneOptions, prune_options


@click.command("prune")
@click.argument("model")
@prune_options
@click.option("--dry-run", is_flag=True, help="Show the plan; write nothing.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The new file.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    settings: Settings,
    /,
    model: str,
    options: PruneOptions,
    dry_run: bool,
    output: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make MODEL, a name or a GGUF file, smaller and faster by removing blocks, or heads and neurons.

    What is left is refitted to the dense model by least squares, and kept as it was where that does not help.
    The new file says in its metadata how it was made.
    """
    wanted = options.make_settings()

    from edgespec.cli.opening import find_model
    from edgespec.cli.progress import shown_progress
    from edgespec.cli.prune_view import show_outcome, show_plan
    from quant.prune.plan import plan_pruning
    from quant.prune.prune import prune

    file = find_model(model, settings)
    plan = plan_pruning(file.meta, wanted)
    if dry_run:
        show_plan(file, plan, as_json)
        return
    with shown_progress(quiet=settings.quiet) as shown:
        shown.stage("loading")
        outcome = prune(plan, output or Path(plan.file_name), force=force, progress=shown)
    show_outcome(file, outcome, as_json)
