"""`edgespec bench MODEL... --throughput`: throughput against latency at growing batch sizes."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from edgespec.bench.throughput.shapes import (
    DEFAULT_BATCHES,
    DEFAULT_SHAPES,
    parse_batches,
    parse_shapes,
)
from edgespec.cli.context import Settings
from edgespec.cli.options import refuse_flags
from edgespec.cli.result_view import show_result
from edgespec.durations import parse_duration_s
from edgespec.errors import ExitCode, InterruptedRunError, UsageError

if TYPE_CHECKING:
    from edgespec.bench.throughput.point_runner import Bed
    from edgespec.bench.throughput.result import Curve, ThroughputResult
    from edgespec.bench.throughput.sweep import SweepSettings
    from edgespec.bench.throughput.variant import Subject
    from edgespec.catalog.model_file import ModelFile
    from edgespec.session import EngineSettings

METHODS = ("depth", "flap", "llm-pruner")
_DENSE = "dense"


_SPECULATIVE_FLAGS = {
    "prompts_file": "--prompts",
    "categories": "--category",
    "limit": "--limit",
    "max_tokens": "--max-tokens",
}
_LONG_S = 120.0
_DEFAULT_RATIO = 0.27
"""9 of LLaMA-7B's 32 blocks, as in figure 2."""


def bench_throughput(settings: Settings, names: Sequence[str], values: dict[str, Any]) -> int:
    """Sweeps the named models, or one model and pruned versions of it, and, with drafts, the first one with each."""
    from edgespec.cli.opening import watch_servers

    refuse_flags(values, _SPECULATIVE_FLAGS, "says nothing to --throughput")
    versions = _parse_versions(values)
    sweep, engine = _make_sweep(values), values["engine"].make_settings()
    watch_servers(engine)
    subjects = _subjects(settings, names, versions)
    earlier = _earlier(subjects) if values["resume"] else None
    result = _sweep(settings, subjects, sweep, engine, earlier)
    if not result.complete and not any(point.runs for point in result.points):
        raise InterruptedRunError("interrupted before the first point was measured; nothing was kept")
    show_result(result, values["form"] or "table", values["plot"], quiet=settings.quiet)
    return _finish(result)


@dataclass(frozen=True, slots=True)
class _Versions:
    """What is measured beside the models that are named."""

    methods: tuple[str, ...]
    ratio: float
    drafts: tuple[str, ...]


def _parse_versions(values: dict[str, Any]) -> _Versions:
    named = [name.strip() for name in (values["prune"] or "").split(",") if name.strip()]
    for name in named:
        if name not in METHODS:
            raise UsageError(f"--prune {name!r} is no method", f"choose from {', '.join(METHODS)}")
    ratio = values["ratio"]
    if ratio is not None and not named:
        raise UsageError("--ratio goes with --prune", f"add --prune {','.join(METHODS)}")
    return _Versions(
        tuple(dict.fromkeys(named)), _DEFAULT_RATIO if ratio is None else ratio, tuple(values["drafts"])
    )


def _make_sweep(values: dict[str, Any]) -> "SweepSettings":
    from edgespec.bench.throughput.sweep import SweepSettings

    return SweepSettings(
        shapes=parse_shapes(values["shape"] or DEFAULT_SHAPES),
        batches=parse_batches(values["batch"] or DEFAULT_BATCHES),
        warm_up=2 if values["warmup"] is None else values["warmup"],
        repeat=values["repeat"] or 5,
        budget_s=parse_duration_s(values["budget"], "budget") if values["budget"] else None,
        sampling=values["sampling"].make_sampling(),
    )


def _finish(result: "ThroughputResult") -> int:
    """Says how to go on with a sweep that was stopped; returns the exit code."""
    if result.complete:
        return ExitCode.OK
    click.echo(
        f"edgespec: interrupted; the measured points are kept as {result.run_id}, "
        "and the same command with --resume goes on",
        err=True,
    )
    return ExitCode.INTERRUPTED


def _subjects(settings: Settings, names: Sequence[str], versions: _Versions) -> list["Subject"]:
    """The curves, the dense model first, each with what it is worth on a text."""
    from edgespec.bench.throughput.variant import Subject
    from edgespec.catalog.entries import load_catalog
    from edgespec.cli.opening import find_model
    from edgespec.session.choice import NONE

    catalog = load_catalog()
    wanted = list(names) or [catalog.default]
    if versions.methods and len(wanted) > 1:
        raise UsageError("--prune makes versions of one model", "name one MODEL, or leave --prune out")
    pair = catalog.find_pair(wanted[0])
    first = find_model(pair.target if pair else wanted[0], settings)
    files = [first, *(find_model(name, settings) for name in wanted[1:])]
    labelled = [
        (_DENSE if versions.methods or versions.drafts else first.name, first),
        *((file.name, file) for file in files[1:]),
    ]
    for method in versions.methods:
        labelled.append((method, _version(settings, first, method, versions.ratio)))
    subjects = [Subject(_curve(settings, label, file, first), file) for label, file in labelled]
    for draft in (name for name in versions.drafts if name != NONE):
        subjects.append(_with_draft(settings, subjects[0], draft, pair.drafts[0] if pair else None))
    _check_names([subject.name for subject in subjects])
    return subjects


def _check_names(names: list[str]) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UsageError(f"two curves are called {name!r}", "rename one of the files")


def _version(settings: Settings, dense: "ModelFile", method: str, ratio: float) -> "ModelFile":
    from edgespec.catalog.model_file import open_file
    from quant.prune.choices import Method
    from quant.prune.versions import find_or_make_version

    with _stages(settings, f"pruning by {method}") as report:
        path = find_or_make_version(dense.meta, Method(method), ratio, report)
    return open_file(method, path)


def _curve(settings: Settings, label: str, file: "ModelFile", dense: "ModelFile") -> "Curve":
    from edgespec.bench.builtin_text import BUILTIN_TEXT, builtin_text
    from edgespec.bench.throughput.result import Curve, Quality
    from quant.gguf.recipe import pruning_method
    from quant.gguf.sizes import block_parameters
    from quant.prune.versions import measure_quality

    is_first = file is dense
    with _stages(settings, f"measuring what {label} is worth") as report:
        found = measure_quality(file.path, None if is_first else dense.path, builtin_text(), report)
    removed = dense.meta.parameter_count - file.meta.parameter_count
    return Curve(
        name=label,
        model=file.name,
        file=file.path.name,
        file_bytes=file.meta.file_bytes,
        parameter_count=file.meta.parameter_count,
        method=_DENSE if is_first else pruning_method(file.meta) or "",
        removed_share=0.0 if is_first else max(removed, 0) / max(1, block_parameters(dense.meta)),
        quality=Quality(
            found.perplexity,
            found.perplexity_se,
            found.distance.kl_mean if found.distance else None,
            found.distance.top1_agreement if found.distance else None,
            BUILTIN_TEXT,
        ),
    )


def _with_draft(settings: Settings, dense: "Subject", name: str, own: str | None) -> "Subject":
    from edgespec.bench.throughput.variant import Subject
    from edgespec.cli.opening import find_model
    from edgespec.session.loading import check_pair

    if name == "auto" and own is None:
        raise UsageError("there is no pair of that name to take the draft from", "name a model with --draft")
    draft = find_model(own if name == "auto" and own else name, settings)
    if check_pair(dense.model, draft).kind != "same-vocabulary":
        raise UsageError(
            f"{draft.name} has another vocabulary than {dense.model.name}, which batches cannot translate",
            f"`edgespec pair {dense.model.name}` lists drafts with the same one",
        )
    curve = replace(dense.curve, name=f"with {draft.name}", method="speculative", draft=draft.name)
    return Subject(curve, dense.model, draft)


def _earlier(subjects: Sequence["Subject"]) -> "ThroughputResult":
    """The newest sweep of the same curves.

    Raises:
        UsageError: there is none.
    """
    from edgespec.bench.store import ResultStore
    from edgespec.bench.throughput.result import ThroughputResult
    from edgespec.paths import results_dir

    files = [(subject.curve.file, subject.curve.draft) for subject in subjects]
    for entry in reversed(ResultStore(results_dir()).entries()):
        result = entry.result
        if isinstance(result, ThroughputResult) and files == [(c.file, c.draft) for c in result.curves]:
            return result
    raise UsageError(
        "there is no earlier sweep of these models to go on with", "leave --resume out to begin one"
    )


def _sweep(
    settings: Settings,
    subjects: Sequence["Subject"],
    sweep: "SweepSettings",
    engine: "EngineSettings",
    earlier: "ThroughputResult | None",
) -> "ThroughputResult":
    from edgespec.bench.environment import describe_machine
    from edgespec.bench.store import ResultStore
    from edgespec.bench.throughput.sweep import ThroughputSweep
    from edgespec.cli.meter import progress
    from edgespec.llama.library import default_threads
    from edgespec.paths import results_dir

    with progress(None, "loading", quiet=settings.quiet) as meter, ExitStack() as opened:

        def report(done_s: float, total_s: float, label: str) -> None:
            meter.set_label(label)
            meter.set_total(round(max(total_s, done_s)))
            meter.set_done(round(done_s))

        def tell_time(expected_s: float) -> None:
            if expected_s >= _LONG_S and sweep.budget_s is None and not settings.quiet:
                click.echo(
                    f"edgespec: all points together take about {expected_s / 60:.0f} min; the cheap ones come first, "
                    "and --budget 10m leaves out what does not fit",
                    err=True,
                )

        beds = _load(subjects, sweep, engine, opened)
        environment = describe_machine(engine.n_threads or default_threads())
        store = ResultStore(results_dir())
        return ThroughputSweep(beds, engine, sweep, store, environment, earlier, report, tell_time).run()


def _load(
    subjects: Sequence["Subject"], sweep: "SweepSettings", engine: "EngineSettings", opened: ExitStack
) -> list["Bed"]:
    from edgespec.bench.throughput.point_runner import Bed, LoadedModels
    from edgespec.bench.throughput.variant import check_weights, largest_cache

    check_weights(subjects)
    models = opened.enter_context(LoadedModels(engine, largest_cache(sweep.shapes, sweep.batches)))
    return [Bed(subject, models, sweep.sampling) for subject in subjects]


@contextmanager
def _stages(settings: Settings, label: str) -> Iterator[Any]:
    from edgespec.cli.progress import shown_progress

    with shown_progress(quiet=settings.quiet) as shown:
        shown.stage(label)
        yield shown
