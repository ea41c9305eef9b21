"""`edgespec bench MODEL... --throughput`: throughput against latency at growing batch sizes."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import click

from edgespec.cli.bench_variants import WantedVariants, find_variants
from edgespec.cli.context import Settings
from edgespec.cli.result_view import OutputOptions, show_result
from edgespec.errors import ExitCode, InterruptedRunError, UsageError

if TYPE_CHECKING:
    from edgespec.bench.sweep.point_runner import PointRunner
    from edgespec.bench.sweep.sweep import SweepSettings
    from edgespec.bench.sweep.variant import Variant
    from edgespec.bench.throughput.result import ThroughputResult
    from edgespec.session import EngineSettings

_LONG_S: Final = 120.0
"""A sweep that takes longer is announced."""


def bench_throughput(
    settings: Settings,
    wanted: WantedVariants,
    sweep: "SweepSettings",
    engine: "EngineSettings",
    output: OutputOptions,
    *,
    resume: bool,
) -> int:
    """Sweeps over the variants and shows what came out; returns the exit code.

    Raises:
        UsageError: there is not an earlier sweep to go on with.
        InterruptedRunError: nothing was measured.
    """
    from edgespec.cli.opening import watch_devices

    watch_devices(engine)
    variants = find_variants(wanted, settings)
    earlier = _earlier(variants) if resume else None
    result = _sweep(settings, variants, sweep, engine, earlier)
    if not result.complete and not any(point.runs for point in result.points):
        raise InterruptedRunError("interrupted before the first point was measured; nothing kept")
    show_result(result, output, quiet=settings.quiet)
    if result.complete:
        return ExitCode.OK
    click.echo(
        f"edgespec: interrupted; the measured points are kept as {result.run_id}, "
        "and the same command with --resume goes on from there",
        err=True,
    )
    return ExitCode.INTERRUPTED


def _earlier(variants: Sequence["Variant"]) -> "ThroughputResult":
    """The newest sweep of the same curves.

    Raises:
        UsageError: there is none.
    """
    from edgespec.bench.store import ResultStore
    from edgespec.bench.throughput.result import ThroughputResult
    from edgespec.paths import results_dir

    files = [(variant.curve.file, variant.curve.draft) for variant in variants]
    for entry in reversed(ResultStore(results_dir()).entries()):
        result = entry.result
        if isinstance(result, ThroughputResult) and files == [(c.file, c.draft) for c in result.curves]:
            return result
    raise UsageError("there is no earlier sweep of these models to resume", "leave --resume out to begin one")


def _sweep(
    settings: Settings,
    variants: Sequence["Variant"],
    sweep: "SweepSettings",
    engine: "EngineSettings",
    earlier: "ThroughputResult | None",
) -> "ThroughputResult":
    from edgespec.bench.environment import describe_machine
    from edgespec.bench.store import ResultStore
    from edgespec.bench.sweep.sweep import ThroughputSweep
    from edgespec.cli.progress import shown_progress
    from edgespec.llama.library import default_threads
    from edgespec.paths import results_dir

    def tell_time(expected_s: float) -> None:
        if expected_s >= _LONG_S and sweep.budget_s is None and not settings.quiet:
            click.echo(
                f"edgespec: all points together take about {expected_s / 60:.0f} min; the cheap ones come first, "
                "and --budget 10m leaves out what does not fit",
                err=True,
            )

    with shown_progress(quiet=settings.quiet) as progress, ExitStack() as opened:
        progress.stage("loading")
        runners = _load(variants, sweep, engine, opened)
        environment = describe_machine(engine.n_threads or default_threads())
        store = ResultStore(results_dir())
        return ThroughputSweep(runners, engine, sweep, store, environment, earlier, progress, tell_time).run()


def _load(
    variants: Sequence["Variant"], sweep: "SweepSettings", engine: "EngineSettings", opened: ExitStack
) -> list["PointRunner"]:
    from edgespec.bench.sweep.point_runner import LoadedModels, PointRunner
    from edgespec.bench.sweep.variant import check_weights

    check_weights(variants)
    models = opened.enter_context(LoadedModels(engine, sweep.shapes, sweep.batches))
    return [PointRunner(variant, models, sweep.sampling) for variant in variants]
