"""What the steps of one pruning share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from edgespec.llama.quantizer import requantize_file
from edgespec.progress import Progress
from quant.gguf.plan import GgufPlan, copy_of
from quant.gguf.writer import write_gguf
from quant.prune.plan import PrunePlan
from quant.prune.settings import PruneSettings
from quant.text.calibration import Calibration, read_calibration

_WIDE_TYPES: Final = ("F32", "F16", "BF16")


@dataclass(frozen=True, slots=True, eq=False)
class PruneRun:
    """A plan that is being carried out."""

    plan: PrunePlan
    dense: GgufPlan
    """What everything is taken out of."""
    calibration: Calibration
    """Empty where the plan reads no text."""
    folder: Path
    """Takes copies and refitted tensors until the new file is written; its owner removes it."""
    progress: Progress

    @property
    def settings(self) -> PruneSettings:
        """Of the plan."""
        return self.plan.settings

    def open_model(self, meta: GgufMetadata) -> Model:
        """A model to be scored, on the CPU: from a copy in half precision, which is made once, where its types are small.

        llama.cpp reads batches up to three times as fast in half precision as in the small types.

        Args:
            meta: Of the dense model, or of what `write_scratch` gave.

        Raises:
            EngineError: llama.cpp cannot make the copy.
            ModelFileError: llama.cpp cannot load the model.
            NotEnoughMemoryError: the model does not fit.
        """
        return Model(self._in_half_precision(meta), Placement())

    def write_scratch(self, gguf: GgufPlan, name: str) -> GgufMetadata:
        """Writes a model that a later step is to score into the scratch folder.

        Raises:
            DiskSpaceError: the disk has no room.
        """
        path = self.folder / name
        write_gguf(gguf, path)
        return read_metadata(path)

    def _in_half_precision(self, meta: GgufMetadata) -> Path:
        if not needs_half_precision(meta):
            return meta.path
        copy = self.folder / f"{meta.path.stem}-f16.gguf"
        if not copy.exists():
            self.progress.stage("making a copy in half precision")
            requantize_file(meta.path, copy, "F16", n_threads=default_threads())
        return copy


def needs_half_precision(meta: GgufMetadata) -> bool:
    """Whether a model is scored from a copy: some of its types are small."""
    return not all(tensor.ggml_type in _WIDE_TYPES for tensor in meta.tensors)


def begin_run(plan: PrunePlan, folder: Path, progress: Progress) -> PruneRun:
    """Reads the calibration text, if there is to be one.

    Raises:
        UsageError: a text that cannot be read, or is too short.
        NotEnoughMemoryError: the model or a context does not fit.
        ModelFileError: llama.cpp cannot load the model.
    """
    settings, calibration = plan.settings, Calibration.empty()
    if plan.reads_text:
        calibration = read_calibration(
            plan.dense.path, settings.calibration, settings.n_tokens, progress=progress
        )
    return PruneRun(plan, copy_of(plan.dense), calibration, folder, progress)
