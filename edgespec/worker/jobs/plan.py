"""What would come of a request to the workshop, worked out without writing anything."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from edgespec.catalog.compatibility import check_writes_text
from edgespec.catalog.model_file import ModelFile
from edgespec.catalog.resolve import open_model
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import UsageError
from edgespec.paths import made_dir
from edgespec.text import human_bytes, human_duration
from edgespec.worker.jobs.expected import (
    ExpectedStage,
    Step,
    expected_stages,
    measuring_steps,
    pruning_steps,
    quantizing_steps,
)
from edgespec.worker.jobs.paces import Paces
from edgespec.worker.jobs.prune import PruneJob
from edgespec.worker.jobs.quantize import QuantizeJob
from edgespec.worker.jobs.request import WorkshopRequest
from edgespec.worker.jobs.written import Lines
from edgespec.worker.protocol import Link
from quant.convert.quantize import check_place, describe_types, plan_types, quantized_name
from quant.prune.choices import Method
from quant.prune.outcome import describe_plan, planned_model
from quant.prune.plan import plan_pruning
from quant.prune.prune import check_prune
from quant.text.calibration_source import OWN_ANSWERS, CalibrationSource

Steps = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Planned:
    """What would come of a request, and the job that does it."""

    job: PruneJob | QuantizeJob
    lines: Lines
    exists: bool
    """Whether there is a file of that name already."""
    stages: tuple[ExpectedStage, ...] = ()
    """What making and measuring it will go through, and how long each will take."""


@dataclass(frozen=True, slots=True)
class PlanJob:
    """Works out what would come of a request. The result is `Planned`."""

    request: WorkshopRequest

    def run(self, link: Link) -> Planned:
        """Reads the header, and asks llama.cpp for its types.

        Raises:
            EdgespecError: why it cannot be done.
        """
        request = self.request
        if not request.model.strip():
            raise UsageError("no model is chosen", "take one that is here, or write a path")
        file = open_model(request.model.strip(), load_catalog(), download=False)
        method = request.method
        job, lines, steps = (
            _plan_quantize(file, request) if method is None else _plan_prune(file, request, method)
        )
        exists = job.destination.exists()
        if exists and job.destination.samefile(file.path):
            raise UsageError(f"{job.destination} is the model itself", "name another file")
        stages = expected_stages(steps, Paces.load())
        lines = (*lines, _describe_time(stages), *_describe_place(job.destination, exists=exists))
        return Planned(job, lines, exists, stages)


def _plan_prune(file: ModelFile, request: WorkshopRequest, method: Method) -> tuple[PruneJob, Lines, Steps]:
    settings = request.prune_settings(method)
    plan = plan_pruning(file.meta, settings)
    destination = _destination(request, plan.file_name)
    check_prune(plan, destination, force=True)
    lines = [("model", file.name), *describe_plan(plan)]
    if plan.reads_text:
        lines.append(_calibration_line(settings.calibration[0], settings.n_tokens))
    made = planned_model(plan)
    measuring = measuring_steps(file.meta, made.gguf.parameter_count, made.weights_bytes)
    job = PruneJob(file.name, file.path, settings, destination)
    return job, tuple(lines), (*pruning_steps(plan), *measuring)


def _plan_quantize(file: ModelFile, request: WorkshopRequest) -> tuple[QuantizeJob, Lines, Steps]:
    settings, source = request.quantize_settings(), request.calibration_source()
    n_tokens = request.token_count() if source is not None else 0
    if source is not None:
        check_writes_text(file.name, file.meta)
    planned = plan_types(file.meta, settings, importance_follows=source is not None)
    destination = _destination(request, quantized_name(file.path, settings.file_type))
    check_place(destination, planned.n_bytes, force=True)
    lines = describe_types(file, settings.file_type, planned)
    if source is not None:
        lines.append(_calibration_line(source, n_tokens))
    making = quantizing_steps(file.meta, source, n_tokens, planned.n_bytes)
    measuring = measuring_steps(file.meta, file.meta.parameter_count, planned.n_bytes)
    job = QuantizeJob(file.name, file.path, settings, source, n_tokens, destination)
    return job, tuple(lines), (*making, *measuring)


def _destination(request: WorkshopRequest, name: str) -> Path:
    """Where the file goes. A name alone is one in the folder of made models, which is there from now on."""
    written = request.output.strip() or name
    if Path(written).name != written:
        return Path(written).expanduser()
    folder = request.folder.strip()
    if not folder:
        made_dir().mkdir(parents=True, exist_ok=True)
    return (Path(folder).expanduser() if folder else made_dir()) / written


def _describe_time(stages: tuple[ExpectedStage, ...]) -> tuple[str, str]:
    """How long it will take in all, and how much of that is the measuring at the end."""
    measured_s = sum(stage.seconds for stage in stages if stage.measures)
    total = human_duration(sum(stage.seconds for stage in stages))
    guess = (
        ""
        if all(stage.is_learnt for stage in stages)
        else "; a first guess, since not all of it was done here before"
    )
    return "takes", f"about {total}, of which {human_duration(measured_s)} measure the result{guess}"


def _calibration_line(source: CalibrationSource, n_tokens: int) -> tuple[str, str]:
    text = "its own answers" if source == OWN_ANSWERS else f"{source}"
    return "reads", f"{n_tokens} tokens of {text}"


def _describe_place(destination: Path, *, exists: bool) -> Lines:
    folder = destination.resolve().parent
    free = human_bytes(shutil.disk_usage(folder).free)
    state = "exists: you are asked before it is replaced" if exists else "new"
    return ("writes", f"{destination.name}, {state}"), ("into", f"{folder}, {free} free")
