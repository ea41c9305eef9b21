"""`edgespec plan TARGET`: predictions for machines and models that are not here."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgespec.cli.context import Settings
from edgespec.cli.output import print_json
from edgespec.cli.progress import shown_progress

if TYPE_CHECKING:
    from edgespec.plan.acceptance import AcceptanceRate, StatedAcceptance
    from edgespec.plan.models import PlannedModel, PlannedPair
    from edgespec.plan.prediction import Machine

_DEFAULT_CTX = 4096


@click.command("plan")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("--draft", "drafts", multiple=True, help="A draft; may be repeated [default: the catalogue's].")
@click.option(
    "--hardware",
    multiple=True,
    default=("this",),
    show_default=True,
    help="this, a name of the table (m3-max, rtx-4090, h100, 8xh100) or FILE.toml; may be repeated.",
)
@click.option(
    "--acceptance",
    "acceptances",
    multiple=True,
    help="0.8, DRAFT=0.8 or measured [default: as measured here, else assumed by size].",
)
@click.option(
    "--explain",
    type=click.FloatRange(min=0, min_open=True),
    help="What would make this speed-up, such as 0.55.",
)
@click.option(
    "-c",
    "--ctx-size",
    default=_DEFAULT_CTX,
    show_default=True,
    type=click.IntRange(1),
    help="Tokens of context.",
)
@click.option("-t", "--threads", type=click.IntRange(1), help="Threads of this machine [default: its cores].")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the predictions: a .png or .svg file.")
@click.pass_obj
def command(
    settings: Settings,
    /,
    targets: tuple[str, ...],
    drafts: tuple[str, ...],
    hardware: tuple[str, ...],
    acceptances: tuple[str, ...],
    explain: float | None,
    ctx_size: int,
    threads: int | None,
    as_json: bool,
    plot: Path | None,
) -> None:
    """Predict how fast TARGET runs on a machine, plain and with each draft, and whether it fits.

    Nothing is fetched: models that are not here are reckoned from their catalogue entry. This machine is measured
    in a few seconds, once; others come from a table that you can add to.
    """
    from edgespec.catalog.toml_file import load_catalog
    from edgespec.cli.plan_view import plan_document, plan_lines
    from edgespec.figure import check_plot_path
    from edgespec.plan.acceptance import parse_acceptance
    from edgespec.plan.models import plan_pair
    from edgespec.plan.prediction import predict

    if plot is not None:
        check_plot_path(plot)
    stated = parse_acceptance(acceptances)
    catalog = load_catalog()
    pairs = [plan_pair(target, drafts, catalog, ctx_size) for target in targets]
    machines = _machines(hardware, pairs, threads or 0, settings)
    predictions = [
        predict(pair, machine, n_ctx=ctx_size, acceptance_of=partial(_acceptance, stated, pair.target))
        for pair in pairs
        for machine in machines
    ]
    if as_json:
        print_json(plan_document(predictions, ctx_size, explain))
    else:
        click.echo("\n".join(plan_lines(predictions, ctx_size, explain)))
    if plot is not None:
        from edgespec.plan.plot import save_plan_plot

        save_plan_plot(predictions, plot)
        if not settings.quiet:
            click.echo(f"plot: {plot}", err=True)


def _machines(
    specs: tuple[str, ...], pairs: "list[PlannedPair]", n_threads: int, settings: Settings
) -> "list[Machine]":
    from edgespec.plan.hardware import THIS, find_hardware
    from edgespec.plan.this_machine import measure_this_machine

    found: list[Machine] = []
    # Wrong names first: what can be refused at once is not refused after a measurement.
    rows = {spec: find_hardware(spec) for spec in specs if spec != THIS}
    for spec in dict.fromkeys(specs):
        if spec == THIS:
            with shown_progress(quiet=settings.quiet) as progress:
                found.append(measure_this_machine(pairs, n_threads, progress))
        else:
            found += rows[spec]
    return found


def _acceptance(
    stated: "StatedAcceptance", target: "PlannedModel", draft: "PlannedModel"
) -> "AcceptanceRate":
    """As stated, else as measured here, else assumed by size."""
    from edgespec.errors import UsageError
    from edgespec.plan.acceptance import AcceptanceRate, assumed_acceptance

    said = stated.of(draft.name)
    if said is not None:
        return said
    measured = _measured_acceptance(target.name, draft.name)
    if measured is not None:
        return AcceptanceRate(measured, "measured")
    if stated.only_measured:
        raise UsageError(
            f"no saved benchmark of {target.name} has the draft {draft.name}",
            f"run `edgespec bench {target.name} --draft {draft.name}`, or state a number",
        )
    return assumed_acceptance(draft.meta.parameter_count, target.meta.parameter_count)


def _measured_acceptance(target: str, draft: str) -> float | None:
    """Of the newest saved benchmark that has this pair."""
    from edgespec.bench.result import BenchResult
    from edgespec.bench.store import ResultStore
    from edgespec.paths import results_dir

    for entry in reversed(ResultStore(results_dir()).entries()):
        if not isinstance(entry.result, BenchResult) or entry.result.target != target:
            continue
        for arm in entry.result.arms:
            if arm.draft == draft and arm.acceptance is not None:
                return arm.acceptance
    return None
