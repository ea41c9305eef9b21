"""`edgespec bench`: plain against speculative decoding on this machine, or throughput at growing batch sizes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgespec.bench.throughput.shapes import DEFAULT_BATCHES, DEFAULT_SHAPES
from edgespec.cli.context import Settings
from edgespec.cli.engine_options import engine_options, sampling_options
from edgespec.cli.options import refuse_flags
from edgespec.errors import ExitCode, InterruptedRunError, UsageError

if TYPE_CHECKING:
    from edgespec.bench.prompts import Prompt
    from edgespec.bench.result import BenchResult
    from edgespec.bench.speculative import BenchSettings
    from edgespec.cli.result_view import Form
    from edgespec.session import EngineSettings

_THROUGHPUT_FLAGS = {
    "shape": "--shape",
    "batch": "--batch",
    "prune": "--prune",
    "ratio": "--ratio",
    "warmup": "--warmup",
    "budget": "--budget",
    "resume": "--resume",
}
_NOT_IN_APP = {"throughput": "--throughput", "form": "--json, --csv or --markdown", "plot": "--plot"}


@click.command("bench")
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@click.option(
    "--draft",
    "drafts",
    multiple=True,
    help="A draft model, or none; may be repeated [default: the pair's own].",
)
@click.option(
    "--prompts",
    "prompts_file",
    type=click.Path(path_type=Path),
    help="JSONL in Spec-Bench's form [default: built in].",
)
@click.option("--category", "categories", multiple=True, help="Only this category; may be repeated.")
@click.option("--limit", type=click.IntRange(1), help="Prompts of each category [default: 1, of a file all].")
@click.option("-n", "--max-tokens", type=click.IntRange(2), help="Longest answer [default: 96].")
@click.option(
    "-r", "--repeat", type=click.IntRange(1), help="Answers per prompt and arm [default: 3], or batches [5]."
)
@click.option(
    "--throughput", is_flag=True, help="Instead: throughput against latency at growing batch sizes."
)
@click.option("--shape", help=f"Tokens in and out of every sequence [default: {DEFAULT_SHAPES}].")
@click.option("--batch", help=f"Sequences at once [default: {DEFAULT_BATCHES}].")
@click.option("--prune", help="Also versions of TARGET pruned by depth, flap, llm-pruner: a list.")
@click.option(
    "--ratio", type=click.FloatRange(0, 1), help="How much of the blocks these lose [default: 0.27]."
)
@click.option("--warmup", type=click.IntRange(0), help="Short batches before one is timed [default: 2].")
@click.option(
    "--budget",
    help="Leave out what does not fit into this time, such as 10m; making versions and scoring their text come first.",
)
@click.option("--resume", is_flag=True, help="Go on with the last sweep of the same models.")
@click.option(
    "--json", "form", flag_value="json", help="Print JSON (docs/bench-json.md, throughput-json.md)."
)
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.option("--markdown", "form", flag_value="markdown", help="Print a Markdown table.")
@click.option("--plot", type=click.Path(path_type=Path), help="Also draw FILE.png or FILE.svg.")
@click.option("--tui", is_flag=True, help="Measure in the terminal app, with live bars.")
@sampling_options
@engine_options
@click.pass_obj
def command(
    settings: Settings, /, targets: tuple[str, ...], throughput: bool, tui: bool, **values: Any
) -> int:
    """Measure TARGET plain and with drafts: a pair's or model's name or a GGUF file [default: the embedded model].

    With --throughput: one or more models, and pruned versions, answering many sequences at once.
    """
    plot: Path | None = values["plot"]
    if tui:
        refuse_flags({**values, "throughput": throughput or None}, _NOT_IN_APP, "says nothing to --tui")
    if plot is not None:
        from edgespec.figure import check_plot_path

        check_plot_path(plot)
    if throughput:
        from edgespec.cli.bench_throughput import bench_throughput

        return bench_throughput(settings, targets, values)
    refuse_flags(values, _THROUGHPUT_FLAGS, "goes with --throughput")
    if len(targets) > 1:
        raise UsageError(f"{len(targets)} targets are too many", "name one, or compare with --throughput")
    target = targets[0] if targets else None
    return _bench_in_app(settings, target, values) if tui else _bench_speculative(settings, target, values)


def _bench_in_app(settings: Settings, target: str | None, values: dict[str, Any]) -> int:
    from edgespec.cli.chat import start_app, typed_engine_settings
    from edgespec.session.choice import AUTO_DRAFT
    from edgespec.worker.jobs.bench import BenchJob
    from tui.services.launch import Launch

    drafts = values["drafts"] or (AUTO_DRAFT,)
    prompts, measured, engine = _what_to_measure(values)
    # What is typed holds for whatever else is done in this app, too.
    typed = typed_engine_settings(click.get_current_context(), values["engine"])
    launch = Launch(
        target=target,
        draft=drafts[0] if len(drafts) == 1 else AUTO_DRAFT,
        sampling=measured.sampling,
        engine=typed,
        offline=settings.offline,
        screen="bench",
        bench_job=BenchJob(target, drafts, prompts, measured, engine, settings.offline),
    )
    return start_app(settings, launch)


def _bench_speculative(settings: Settings, target: str | None, values: dict[str, Any]) -> int:
    result = _run(settings, target, values["drafts"] or ("auto",), *_what_to_measure(values))
    return _show(result, values["form"], values["plot"], settings)


def _what_to_measure(values: dict[str, Any]) -> "tuple[tuple[Prompt, ...], BenchSettings, EngineSettings]":
    """Takes sampling and engine options out of the arguments."""
    from edgespec.bench.speculative import BenchSettings

    prompts = _choose_prompts(values)
    measured = BenchSettings(
        values["max_tokens"] or 96, values["repeat"] or 3, values["sampling"].make_sampling()
    )
    return prompts, measured, values["engine"].make_settings()


def _choose_prompts(values: dict[str, Any]) -> "tuple[Prompt, ...]":
    from edgespec.bench.prompts import builtin_prompts, load_prompts, select

    file: Path | None = values["prompts_file"]
    limit = values["limit"] or (None if file else 1)
    return select(load_prompts(file) if file else builtin_prompts(), values["categories"], limit)


def _run(
    settings: Settings,
    target: str | None,
    drafts: tuple[str, ...],
    prompts: "tuple[Prompt, ...]",
    bench_settings: "BenchSettings",
    engine_settings: "EngineSettings",
) -> "BenchResult":
    from edgespec.bench.speculative import SpeculativeBench
    from edgespec.bench.store import ResultStore
    from edgespec.cli.meter import Meter
    from edgespec.cli.opening import find_files, watch_servers
    from edgespec.cli.progress import shown_progress
    from edgespec.paths import results_dir
    from edgespec.session.engine import Engine

    files = find_files(target, drafts, settings)
    with shown_progress(quiet=settings.quiet) as shown:
        meter = Meter(shown, None, "loading", "steps")

        def report(done: int, total: int, label: str) -> None:
            meter.set_label(label)
            meter.set_total(total)
            meter.set_done(done)

        watch_servers(engine_settings)
        with Engine(files.target, files.drafts, engine_settings, shown) as engine:
            return SpeculativeBench(engine, prompts, bench_settings, ResultStore(results_dir()), report).run()


def _show(result: "BenchResult", form: "Form | None", plot: Path | None, settings: Settings) -> int:
    """Prints the result in the wanted form and says with the exit code how it went."""
    from edgespec.cli.result_view import show_result

    if not result.arms:
        raise InterruptedRunError("interrupted before the first prompt was finished; nothing was kept")
    show_result(result, form or "table", plot, quiet=settings.quiet)
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
