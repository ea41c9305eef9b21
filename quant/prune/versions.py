"""Pruned versions of a model that are made once and kept, with what they are worth on a text."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from edgespec.catalog.derived import find_or_make
from edgespec.catalog.metadata import GgufMetadata
from edgespec.documents import build, read_json
from edgespec.errors import ConfigError
from edgespec.files import written_whole
from edgespec.paths import derived_file
from edgespec.progress import SILENT, Progress
from quant.measure.evaluate import Evaluation, evaluate
from quant.prune.amount import Amount
from quant.prune.choices import Method
from quant.prune.plan import plan_pruning
from quant.prune.prune import prune
from quant.prune.settings import PruneSettings

CALIBRATION_TOKENS: Final = 4096
"""Of a version's calibration: enough to compare methods, a quarter of what `edgespec prune` takes."""
QUALITY_CHUNKS: Final = 4
"""Of the text that versions are compared on: the rows of docs/pruning.md have as many."""


def find_or_make_version(
    meta: GgufMetadata, method: Method, ratio: float, progress: Progress = SILENT
) -> Path:
    """The model with `ratio` of its block weights removed by `method`, repaired; made now if it is not here.

    Args:
        meta: Of the dense model.
        method: How it is chosen what leaves.
        ratio: 0 to 1.
        progress: Gets a stage for every step of the pruning.

    Raises:
        EdgespecError: any error of `plan_pruning` and `prune`.
    """
    version = derived_file(meta.path, f"{method}-{ratio:.4g}.gguf")
    settings = PruneSettings(Amount(ratio=ratio), method, n_tokens=CALIBRATION_TOKENS)

    def make() -> None:
        prune(plan_pruning(meta, settings), version, force=True, progress=progress)

    return find_or_make(version, make, progress)


def measure_quality(
    path: Path,
    dense: Path | None,
    text: str,
    *,
    label: str = "measuring quality",
    progress: Progress = SILENT,
) -> Evaluation:
    """Perplexity, and distance from the dense model, on the first chunks of a text; kept for the next time.

    Args:
        path: What is measured.
        dense: What it is compared with.
        text: Two chunks of it at least.
        label: What the stage of measuring is called.
        progress: Gets that stage, in chunks, where it is measured now.

    Raises:
        EdgespecError: any error of `quant.measure.evaluate.evaluate`.
    """
    asked = [text, str(QUALITY_CHUNKS), str(derived_file(dense, "")) if dense else ""]
    digest = hashlib.sha256("|".join(asked).encode()).hexdigest()[:12]
    store = derived_file(path, f"quality-{digest}.json")
    known = _read_quality(store)
    if known is None:
        known = evaluate(path, text, against=dense, n_chunks=QUALITY_CHUNKS, label=label, progress=progress)
        _write_quality(store, known)
    return known


def _read_quality(path: Path) -> Evaluation | None:
    try:
        return build(Evaluation, read_json(path), str(path))
    except ConfigError:
        return None


def _write_quality(path: Path, quality: Evaluation) -> None:
    with written_whole(path) as unfinished:
        unfinished.write_text(json.dumps(asdict(quality)), encoding="utf-8")
