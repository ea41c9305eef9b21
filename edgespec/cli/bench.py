"""`edgespec bench`: plain against speculative decoding on this machine, or throughput at growing batch sizes."""

from typing import TYPE_CHECKING

import click

from edgespec.cli.bench_options import (
    SpeculativeOptions,
    ThroughputOptions,
    speculative_options,
    throughput_options,
)
from edgespec.cli.context import Settings
from edgespec.cli.engine_options import EngineOptions, SamplingOptions, engine_options, sampling_options
from edgespec.cli.options import refuse_group
from edgespec.cli.result_view import OutputOptions, output_options, show_result
from edgespec.errors import ExitCode, InterruptedRunError, UsageError

if TYPE_CHECKING:
    from edgespec.bench.result import BenchResult
    from edgespec.worker.jobs.bench import BenchJob


@click.command("bench")
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@click.option(
    "--draft",
    "drafts",
    multiple=True,
    help="A draft model, or none; may be repeated [default: the pair's own].",
)
@speculative_options
@click.option(
    "-r", "--repeat", type=click.IntRange(1), help="Answers per prompt and arm [default: 3], or batches [5]."
)
@click.option(
    "--throughput",
    "is_sweep",
    is_flag=True,
    help="Instead: throughput against latency at growing batch sizes.",
)
@throughput_options
@output_options
@click.option("--tui", "in_app", is_flag=True, help="Measure in the terminal app, with live bars.")
@sampling_options
@engine_options
@click.pass_obj
def command(
    settings: Settings,
    /,
    targets: tuple[str, ...],
    drafts: tuple[str, ...],
    speculative: SpeculativeOptions,
    repeat: int | None,
    is_sweep: bool,
    throughput: ThroughputOptions,
    output: OutputOptions,
    in_app: bool,
    sampling: SamplingOptions,
    engine: EngineOptions,
) -> int:
    """Measure TARGET plain and with drafts: a pair's or model's name or a GGUF file [default: the embedded model].

    The prompts are a mix of ten kinds; the kinds whose answers copy their prompt are shown apart from the others.

    With --throughput: one or more models, and pruned versions, answering many sequences at once.
    """
    if in_app:
        if is_sweep:
            raise UsageError("--throughput does not go with --tui", "see the command's --help")
        refuse_group(OutputOptions, "does not go with --tui")
    output.check_plot()
    if is_sweep:
        from edgespec.cli.bench_throughput import bench_throughput

        refuse_group(SpeculativeOptions, "does not go with --throughput")
        wanted = throughput.choose_variants(targets, drafts)
        sweep = throughput.make_settings(repeat, sampling.make_sampling())
        return bench_throughput(
            settings, wanted, sweep, engine.make_settings(), output, resume=throughput.resume
        )
    refuse_group(ThroughputOptions, "goes with --throughput")
    if len(targets) > 1:
        raise UsageError(f"{len(targets)} targets are too many", "name one, or compare with --throughput")

    from edgespec.session.choice import AUTO_DRAFT
    from edgespec.worker.jobs.bench import BenchJob

    job = BenchJob(
        targets[0] if targets else None,
        drafts or (AUTO_DRAFT,),
        speculative.choose_prompts(),
        speculative.make_settings(repeat, sampling.make_sampling()),
        engine.make_settings(),
        settings.offline,
    )
    if in_app:
        return _bench_in_app(settings, job, engine, sampling)
    return _show(_bench(settings, job), output, settings)


def _bench_in_app(
    settings: Settings, job: "BenchJob", engine: EngineOptions, sampling: SamplingOptions
) -> int:
    from edgespec.cli.chat import start_app, typed_engine_settings
    from edgespec.session.choice import AUTO_DRAFT
    from tui.services.launch import Launch

    launch = Launch(
        target=job.target,
        draft=job.drafts[0] if len(job.drafts) == 1 else AUTO_DRAFT,
        sampling=sampling.make_wish(),
        # What is typed holds for whatever else is done in this app, too.
        engine=typed_engine_settings(click.get_current_context(), engine),
        offline=settings.offline,
        screen="bench",
        bench_job=job,
    )
    return start_app(settings, launch)


def _bench(settings: Settings, job: "BenchJob") -> "BenchResult":
    from edgespec.bench.speculative import SpeculativeBench
    from edgespec.bench.store import ResultStore
    from edgespec.cli.opening import find_files, watch_devices
    from edgespec.cli.progress import shown_progress
    from edgespec.paths import results_dir
    from edgespec.session.engine import Engine

    files = find_files(job.target, job.drafts, settings)
    watch_devices(job.engine)
    with (
        shown_progress(quiet=settings.quiet) as progress,
        Engine(files.target, files.drafts, job.engine, progress, files.acceptance) as engine,
    ):
        store = ResultStore(results_dir())
        return SpeculativeBench(engine, job.prompts, job.settings, store, progress).run()


def _show(result: "BenchResult", output: OutputOptions, settings: Settings) -> int:
    """Prints the result in the wanted format and says with the exit code how it went.

    Raises:
        InterruptedRunError: there is nothing to print.
    """
    if not result.arms:
        raise InterruptedRunError("interrupted before the first prompt was finished; nothing kept")
    show_result(result, output, quiet=settings.quiet)
    if result.audit.failed:
        click.echo(_audit_failure(result), err=True)
    if not result.complete:
        click.echo(f"edgespec: interrupted; the finished prompts are kept as {result.run_id}", err=True)
        return ExitCode.INTERRUPTED
    return ExitCode.FAILED if result.audit.failed else ExitCode.OK


def _audit_failure(result: "BenchResult") -> str:
    worst = max((d for d in result.audit.first_differences if d.large), key=lambda d: d.logit_gap)
    return (
        f"edgespec: the equality audit failed: arm {worst.arm} left the plain text of prompt {worst.prompt_id} at token "
        f"{worst.position}, where the plain choice led by {worst.logit_gap:.2f} logits. Please report this run: "
        f"edgespec results show {result.run_id} --json"
    )
