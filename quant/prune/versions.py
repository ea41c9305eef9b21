"""Pruned versions of a model that are made once and kept, with what they are worth on a text."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from edgespec.catalog.metadata import GgufMetadata, is_whole
from edgespec.documents import build, read_json
from edgespec.errors import ConfigError
from edgespec.files import written_whole
from edgespec.paths import derived_file
from quant.measure.evaluate import Quality, evaluate
from quant.progress import StageProgress, stage_of
from quant.prune.amount import Amount
from quant.prune.choices import Method
from quant.prune.run import prune
from quant.prune.settings import PruneSettings

CALIBRATION_TOKENS = 4096
"""Of a version's calibration: enough to compare methods, a quarter of what `edgespec prune` takes."""
QUALITY_CHUNKS = 4


def find_or_make_version(
    meta: GgufMetadata, method: Method, ratio: float, progress: StageProgress | None = None
) -> Path:
    """The model with `ratio` of its block weights removed by `method`, repaired; made now if it is not here.

    Raises:
        EdgespecError: any error of `quant.prune.run.prune`.
    """
    version = derived_file(meta.path, f"{method}-{ratio:.4g}.gguf")
    if not is_whole(version):
        version.parent.mkdir(parents=True, exist_ok=True)
        settings = PruneSettings(Amount(ratio=ratio), method, n_tokens=CALIBRATION_TOKENS)
        prune(meta, settings, version, force=True, progress=progress)
    return version


def measure_quality(
    path: Path, dense: Path | None, text: str, progress: StageProgress | None = None
) -> Quality:
    """Perplexity, and distance from the dense model, on the first chunks of a text; kept for the next time.

    Raises:
        EdgespecError: any error of `quant.measure.evaluate.evaluate`.
    """
    asked = [text, str(QUALITY_CHUNKS), str(derived_file(dense, "")) if dense else ""]
    digest = hashlib.sha256("|".join(asked).encode()).hexdigest()[:12]
    store = derived_file(path, f"quality-{digest}.json")
    known = _read_quality(store)
    if known is None:
        stage = stage_of(progress, "measuring quality")
        known = evaluate(path, text, against=dense, n_chunks=QUALITY_CHUNKS, progress=stage)
        _write_quality(store, known)
    return known


def _read_quality(path: Path) -> Quality | None:
    try:
        return build(Quality, read_json(path), str(path))
    except ConfigError:
        return None


def _write_quality(path: Path, quality: Quality) -> None:
    with written_whole(path) as unfinished:
        unfinished.write_text(json.dumps(asdict(quality)), encoding="utf-8")
