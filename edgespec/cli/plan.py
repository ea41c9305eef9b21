"""`edgespec plan TARGET`: predictions for machines and models that are not here."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgespec.cli.context import Settings
from edgespec.cli.meter import progress, to_stages

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgespec.plan.acceptance import Acceptance, StatedAcceptance
    from edgespec.plan.prediction import Machine, PlannedModel, Prediction

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
    from edgespec.catalog.entries import load_catalog
    from edgespec.cli.plan_view import plan_document, plan_lines
    from edgespec.figure import check_plot_path
    from edgespec.plan.acceptance import parse_acceptance
    from edgespec.plan.models import plan_pair

    if plot is not None:
        check_plot_path(plot)
    stated = parse_acceptance(acceptances)
    catalog = load_catalog()
    pairs = [plan_pair(target, list(drafts), catalog, ctx_size) for target in targets]
    machines = _machines(hardware, pairs, threads or 0, settings)
    predictions = [
        _predict(target, own, machine, ctx_size, stated) for target, own in pairs for machine in machines
    ]
    if as_json:
        click.echo(json.dumps(plan_document(predictions, ctx_size, explain), indent=2, ensure_ascii=True))
    else:
        click.echo("\n".join(plan_lines(predictions, ctx_size, explain)))
    if plot is not None:
        from edgespec.plan.plot import save_plan_plot

        save_plan_plot(predictions, plot)
        if not settings.quiet:
            click.echo(f"plot: {plot}", err=True)


def _machines(
    specs: tuple[str, ...],
    pairs: "list[tuple[PlannedModel, list[PlannedModel]]]",
    n_threads: int,
    settings: Settings,
) -> "list[Machine]":
    from edgespec.plan.hardware import THIS, find_hardware

    found: list[Machine] = []
    # Wrong names first: what can be refused at once is not refused after a measurement.
    rows = {spec: find_hardware(spec) for spec in specs if spec != THIS}
    for spec in dict.fromkeys(specs):
        found += rows[spec] if spec != THIS else [_measure(pairs, n_threads, settings)]
    return found


def _measure(
    pairs: "list[tuple[PlannedModel, list[PlannedModel]]]", n_threads: int, settings: Settings
) -> "Machine":
    from edgespec.plan.this_machine import measure_this_machine, needed_types
    from edgespec.plan.workload import fast_draft_workload, workload_of

    works = [workload_of(target.meta) for target, _ in pairs]
    works += [fast_draft_workload(draft.meta) for _, drafts in pairs for draft in drafts]
    works += [workload_of(draft.meta) for _, drafts in pairs for draft in drafts if not draft.is_here]
    with progress(None, "measuring this machine", quiet=settings.quiet) as meter:
        return measure_this_machine(needed_types(works), n_threads, to_stages(meter))


def _predict(
    target: "PlannedModel",
    drafts: "list[PlannedModel]",
    machine: "Machine",
    n_ctx: int,
    stated: "StatedAcceptance",
) -> "Prediction":
    from edgespec.plan.prediction import predict
    from edgespec.plan.this_machine import ThisMachine
    from edgespec.plan.workload import fast_draft_workload, workload_of

    takes_copies = isinstance(machine, ThisMachine) and machine.is_cpu
    return predict(
        target,
        drafts,
        machine,
        n_ctx=n_ctx,
        acceptance_of=_acceptance_of(target, stated),
        draft_workload=fast_draft_workload if takes_copies else workload_of,
    )


def _acceptance_of(
    target: "PlannedModel", stated: "StatedAcceptance"
) -> "Callable[[PlannedModel], Acceptance]":
    from edgespec.errors import UsageError
    from edgespec.plan.acceptance import Acceptance, assumed_acceptance

    def choose(draft: "PlannedModel") -> "Acceptance":
        said = stated.of(draft.name)
        if said is not None:
            return said
        measured = _measured_acceptance(target.name, draft.name)
        if measured is not None:
            return Acceptance(measured, "measured")
        if stated.only_measured:
            raise UsageError(
                f"no saved benchmark of {target.name} has the draft {draft.name}",
                f"run `edgespec bench {target.name} --draft {draft.name}`, or state a number",
            )
        return assumed_acceptance(draft.meta.parameter_count, target.meta.parameter_count)

    return choose


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
