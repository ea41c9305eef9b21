"""What a new model is worth beside the dense one: quality on a text, and plain speed."""

from dataclasses import dataclass, replace
from pathlib import Path

from edgespec.bench.builtin_text import builtin_text
from edgespec.bench.plain_speed import N_ROUNDS, PlainSpeed, measure_plain_speeds
from edgespec.catalog.model_file import ModelFile, open_file
from edgespec.session.settings import EngineSettings
from edgespec.worker.jobs.expected import (
    QUALITY_OF_DENSE,
    QUALITY_OF_NEW,
    TIMING,
    learn,
    measuring_steps,
)
from edgespec.worker.jobs.paces import TimedProgress
from edgespec.worker.protocol import JobReported, Link
from quant.measure.evaluate import Evaluation
from quant.prune.versions import measure_quality


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """A model in the comparison; None is what has not been measured yet."""

    name: str
    size_bytes: int
    parameter_count: int
    bpw: float
    """Bits per weight, over the whole file."""
    quality: Evaluation | None = None
    speed: PlainSpeed | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The dense model and the new one."""

    dense: ModelFigures
    made: ModelFigures


@dataclass(frozen=True, slots=True)
class MeasureJob:
    """Measures quality and speed of both models; `Comparison` is told after each step and is the result."""

    dense: Path
    made: Path
    engine: EngineSettings

    def run(self, link: Link) -> Comparison:
        """Evaluation first, then both models decode side by side.

        Raises:
            EdgespecError: any error of `measure_quality` and `measure_plain_speeds`.
        """
        files = [open_file(path.stem, path) for path in (self.dense, self.made)]
        found = Comparison(*(_figures(file) for file in files))
        link.send(JobReported(found))
        text, progress = builtin_text(), TimedProgress(link.progress)
        quality = measure_quality(self.dense, None, text, label=QUALITY_OF_DENSE, progress=progress)
        found = replace(found, dense=replace(found.dense, quality=quality))
        link.send(JobReported(found))
        quality = measure_quality(self.made, self.dense, text, label=QUALITY_OF_NEW, progress=progress)
        found = replace(found, made=replace(found.made, quality=quality))
        link.send(JobReported(found))
        progress.stage(TIMING, N_ROUNDS)
        dense, made = measure_plain_speeds(files, self.engine, progress=progress)
        new = files[1].meta
        learn(progress, measuring_steps(files[0].meta, new.parameter_count, new.weights_bytes))
        return Comparison(replace(found.dense, speed=dense), replace(found.made, speed=made))


def _figures(file: ModelFile) -> ModelFigures:
    meta = file.meta
    return ModelFigures(file.name, meta.file_bytes, meta.parameter_count, meta.bpw)
