"""What would come of a request to the workshop, worked out without writing anything."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from edgespec.catalog.compatibility import check_writes_text
from edgespec.catalog.model_file import ModelFile
from edgespec.catalog.resolve import open_model
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import UsageError
from edgespec.text import human_bytes
from edgespec.worker.jobs.prune import PruneJob
from edgespec.worker.jobs.quantize import QuantizeJob
from edgespec.worker.jobs.request import WorkshopRequest
from edgespec.worker.jobs.written import Lines
from edgespec.worker.protocol import Link
from quant.convert.quantize import check_place, describe_types, plan_types, quantized_name
from quant.prune.choices import Method
from quant.prune.outcome import describe_plan
from quant.prune.plan import plan_pruning
from quant.prune.prune import check_prune
from quant.text.calibration_source import OWN_ANSWERS, CalibrationSource


@dataclass(frozen=True, slots=True)
class Planned:
    """What would come of a request, and the job that does it."""

    job: PruneJob | QuantizeJob
    lines: Lines
    exists: bool
    """Whether there is a file of that name already."""


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
        job, lines = _plan_quantize(file, request) if method is None else _plan_prune(file, request, method)
        exists = job.destination.exists()
        if exists and job.destination.samefile(file.path):
            raise UsageError(f"{job.destination} is the model itself", "name another file")
        return Planned(job, (*lines, *_describe_place(job.destination, exists=exists)), exists)


def _plan_prune(file: ModelFile, request: WorkshopRequest, method: Method) -> tuple[PruneJob, Lines]:
    settings = request.prune_settings(method)
    plan = plan_pruning(file.meta, settings)
    destination = _destination(request, plan.file_name)
    check_prune(plan, destination, force=True)
    lines = [("model", file.name), *describe_plan(plan)]
    if plan.reads_text:
        lines.append(_calibration_line(settings.calibration[0], settings.n_tokens))
    return PruneJob(file.name, file.path, settings, destination), tuple(lines)


def _plan_quantize(file: ModelFile, request: WorkshopRequest) -> tuple[QuantizeJob, Lines]:
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
    return QuantizeJob(file.name, file.path, settings, source, n_tokens, destination), tuple(lines)


def _destination(request: WorkshopRequest, name: str) -> Path:
    return Path(request.output.strip() or name).expanduser()


def _calibration_line(source: CalibrationSource, n_tokens: int) -> tuple[str, str]:
    text = "its own answers" if source == OWN_ANSWERS else f"{source}"
    return "reads", f"{n_tokens} tokens of {text}"


def _describe_place(destination: Path, *, exists: bool) -> Lines:
    folder = destination.resolve().parent
    free = human_bytes(shutil.disk_usage(folder).free)
    state = "exists: you are asked before it is replaced" if exists else "new"
    return ("writes", f"{destination.name}, {state}"), ("into", f"{folder}, {free} free")
