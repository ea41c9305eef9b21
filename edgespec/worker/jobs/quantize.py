"""Writing a model in other types, in a process of its own."""

from dataclasses import dataclass, replace
from pathlib import Path

from edgespec.catalog.model_file import open_file
from edgespec.llama.quantizer import QuantizeSettings
from edgespec.worker.jobs.expected import LOADING, learn, quantizing_steps
from edgespec.worker.jobs.paces import TimedProgress
from edgespec.worker.jobs.written import Made
from edgespec.worker.protocol import Link
from quant.convert.quantize import quantize_model, source_note
from quant.measure.imatrix import importance_of, measure_file
from quant.text.calibration_source import CalibrationSource


@dataclass(frozen=True, slots=True)
class QuantizeJob:
    """Writes a model in other types. The result is `Made`."""

    name: str
    """What the model is called."""
    model: Path
    settings: QuantizeSettings
    calibration: CalibrationSource | None
    """What the importance of the weights is measured on; None measures none."""
    n_tokens: int
    """Of the calibration text."""
    destination: Path
    force: bool = False
    """Replace an existing file."""

    def run(self, link: Link) -> Made:
        """Measures the importance where that is asked for, and quantizes.

        Raises:
            EdgespecError: any error of `quant.measure.imatrix.measure_file` and `quant.convert.quantize.quantize_model`.
        """
        file = open_file(self.name, self.model)
        settings, progress = self.settings, TimedProgress(link.progress)
        if self.calibration is not None:
            progress.stage(LOADING)
            moments = measure_file(file.meta, self.calibration, self.n_tokens, progress=progress)
            settings = replace(settings, importance=importance_of(moments))
        made = quantize_model(
            file.meta,
            settings,
            self.destination,
            calibration=str(self.calibration or ""),
            force=self.force,
            progress=progress,
        )
        learn(progress, quantizing_steps(file.meta, self.calibration, self.n_tokens, made.weights_bytes))
        note = source_note(file.meta)
        return Made(file.path, self.destination, (("note", note),) if note else ())
