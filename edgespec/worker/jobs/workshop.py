"""The workshop's work: the plan, the new file, and what it is worth beside the dense one."""

import os
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edgespec.bench.builtin_text import builtin_text
from edgespec.bench.plain_speed import PlainSpeed, measure_plain_speeds
from edgespec.catalog.entries import load_catalog
from edgespec.catalog.model_file import ModelFile, open_file
from edgespec.catalog.resolve import resolve_model
from edgespec.errors import UsageError
from edgespec.llama.quantizer import QuantizeSettings
from edgespec.session.settings import EngineSettings
from edgespec.text import human_bytes
from edgespec.worker.jobs.wish import Wish
from edgespec.worker.protocol import JobReported, Link
from quant.convert.quantize import (
    check_place,
    describe_types,
    plan_types,
    quantize_model,
    quantized_name,
    source_note,
)
from quant.measure.evaluate import Evaluation
from quant.measure.imatrix import importance_of, measure_file
from quant.progress import FromStages
from quant.prune.choices import Method
from quant.prune.outcome import describe_plan, describe_removed, describe_repair, planned_model
from quant.prune.plan import plan_pruning
from quant.prune.prune import check_prune, prune
from quant.prune.settings import PruneSettings
from quant.prune.versions import measure_quality
from quant.text.calibration_source import OWN_ANSWERS, CalibrationSource

Lines = tuple[tuple[str, str], ...]
"""Things to be said, each with a word for what it is."""


@dataclass(frozen=True, slots=True)
class Began:
    """The process that writes, for cleaning up behind it should it be killed."""

    pid: int


@dataclass(frozen=True, slots=True)
class Made:
    """A new file."""

    dense: Path
    path: Path
    notes: Lines
    """What left, what the repair brought."""


@dataclass(frozen=True, slots=True)
class PruneJob:
    """Prunes a model. The result is `Made`."""

    name: str
    model: Path
    settings: PruneSettings
    destination: Path
    force: bool = False

    def run(self, link: Link) -> Made:
        """Cuts, repairs, writes."""
        link.send(JobReported(Began(os.getpid())))
        file = open_file(self.name, self.model)
        plan = plan_pruning(file.meta, self.settings)
        progress = FromStages(partial(report_stage, link))
        done = prune(plan, self.destination, force=self.force, progress=progress)
        notes = [("removed", describe_removed(done.model, done.removed_blocks))]
        if done.report is not None:
            notes.append(("held out", describe_repair(done.report)))
        return Made(file.path, self.destination, tuple(notes))


@dataclass(frozen=True, slots=True)
class QuantizeJob:
    """Writes a model in other types. The result is `Made`."""

    name: str
    model: Path
    settings: QuantizeSettings
    calibration: CalibrationSource | None
    n_tokens: int
    destination: Path
    force: bool = False

    def run(self, link: Link) -> Made:
        """Measures the importance where that is asked for, and quantizes."""
        link.send(JobReported(Began(os.getpid())))
        file = open_file(self.name, self.model)
        settings, report = self.settings, FromStages(partial(report_stage, link))
        if self.calibration is not None:
            moments = measure_file(file.meta, self.calibration, self.n_tokens, progress=report)
            settings = replace(settings, importance=importance_of(moments))
        quantize_model(
            file.meta,
            settings,
            self.destination,
            calibration=str(self.calibration or ""),
            force=self.force,
            progress=report,
        )
        note = source_note(file.meta)
        return Made(file.path, self.destination, (("note", note),) if note else ())


@dataclass(frozen=True, slots=True)
class Planned:
    """What would come of a wish, and the work that makes it come."""

    job: PruneJob | QuantizeJob
    lines: Lines
    exists: bool
    """Whether there is a file of that name already."""


@dataclass(frozen=True, slots=True)
class PlanJob:
    """Works out what would come of a wish. Nothing is written; the result is `Planned`."""

    wish: Wish

    def run(self, link: Link) -> Planned:
        """Reads the header, and asks llama.cpp for its types.

        Raises:
            EdgespecError: why it cannot be done.
        """
        wish = self.wish
        if not wish.model.strip():
            raise UsageError("no model is chosen", "Ctrl+O lists those that are here; a path does as well")
        found = resolve_model(wish.model.strip(), load_catalog(), download=False)
        file = open_file(found.name, found.path)
        job, lines = (
            _plan_quantize(file, wish) if wish.method is None else _plan_prune(file, wish, wish.method)
        )
        exists = job.destination.exists()
        if exists and job.destination.samefile(file.path):
            raise UsageError(f"{job.destination} is the model itself", "name another file")
        return Planned(job, (*lines, *_place(job.destination, exists=exists)), exists)


def _plan_prune(file: ModelFile, wish: Wish, method: Method) -> tuple[PruneJob, Lines]:
    settings = wish.prune_settings(method)
    plan = plan_pruning(file.meta, settings)
    destination = _destination(wish, plan.file_name)
    check_prune(plan, destination, force=True)
    lines = [("model", file.name), *describe_plan(planned_model(plan))]
    if settings.repairs and not plan.repairs:
        lines.append(("repair", f"none: {file.meta.architecture} cannot be refitted"))
    if plan.reads_text:
        lines.append(_calibration_line(settings.calibration[0], settings.n_tokens))
    return PruneJob(file.name, file.path, settings, destination), tuple(lines)


def _plan_quantize(file: ModelFile, wish: Wish) -> tuple[QuantizeJob, Lines]:
    settings, source = wish.quantize_settings(), wish.calibration_source()
    n_tokens = wish.token_count() if source is not None else 0
    planned = plan_types(file.meta, settings, importance_follows=source is not None)
    destination = _destination(wish, quantized_name(file.path, settings.file_type))
    check_place(destination, planned.n_bytes, force=True)
    lines = describe_types(file, settings.file_type, planned)
    if source is not None:
        lines.append(_calibration_line(source, n_tokens))
    return QuantizeJob(file.name, file.path, settings, source, n_tokens, destination), tuple(lines)


def _destination(wish: Wish, name: str) -> Path:
    return Path(wish.output.strip() or name).expanduser()


def _calibration_line(source: CalibrationSource, n_tokens: int) -> tuple[str, str]:
    text = "its own answers" if source == OWN_ANSWERS else f"{source}"
    return "reads", f"{n_tokens} tokens of {text}"


def _place(destination: Path, *, exists: bool) -> Lines:
    folder = destination.resolve().parent
    free = human_bytes(shutil.disk_usage(folder).free)
    state = "exists: you are asked before it is replaced" if exists else "new"
    return ("writes", f"{destination.name}, {state}"), ("into", f"{folder}, {free} free")


@dataclass(frozen=True, slots=True)
class Figures:
    """A model in the comparison; None is what has not been measured yet."""

    name: str
    size_bytes: int
    parameter_count: int
    bpw: float
    quality: Evaluation | None = None
    speed: PlainSpeed | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The dense model and the new one."""

    dense: Figures
    made: Figures


@dataclass(frozen=True, slots=True)
class MeasureJob:
    """Measures quality and speed of both models; `Comparison` is told after each step and is the result."""

    dense: Path
    made: Path
    engine: EngineSettings

    def run(self, link: Link) -> Comparison:
        """Quality first, then both models decode side by side."""
        files = [open_file(path.stem, path) for path in (self.dense, self.made)]
        found = Comparison(*(_figures(file) for file in files))
        link.send(JobReported(found))
        text = builtin_text()
        report = _relabelled(link, "quality of the dense model")
        quality = measure_quality(self.dense, None, text, report)
        found = replace(found, dense=replace(found.dense, quality=quality))
        link.send(JobReported(found))
        report = _relabelled(link, "quality of the new model")
        quality = measure_quality(self.made, self.dense, text, report)
        found = replace(found, made=replace(found.made, quality=quality))
        link.send(JobReported(found))
        speeds = measure_plain_speeds(
            files,
            self.engine,
            progress=lambda done, total: link.report("timing both, token by token", done, total),
        )
        return Comparison(
            *(replace(one, speed=s) for one, s in zip((found.dense, found.made), speeds, strict=True))
        )


def _figures(file: ModelFile) -> Figures:
    meta = file.meta
    return Figures(file.name, meta.file_bytes, meta.parameter_count, meta.bpw)


def _relabelled(link: Link, label: str) -> FromStages:
    return FromStages(lambda _label, done, total: link.report(label, done, total))


def report_stage(link: Link, label: str, done: int, total: int) -> None:
    """Passes on what a stage tells: files are counted in bytes."""
    link.report(label, done, total, "bytes" if label == "writing" else "steps")
