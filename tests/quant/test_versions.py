"""Versions and what they are worth are made once."""

from pathlib import Path

import pytest

from edgespec.bench.builtin_text import builtin_text
from edgespec.catalog.metadata import read_metadata
from quant.gguf.recipe import pruning_method
from quant.prune.choices import Method
from quant.prune.versions import QUALITY_CHUNKS, find_or_make_version, measure_quality
from tests.recorded_progress import RecordedProgress
from tests.tiny import make_tiny_model


def test_a_version_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("quant.prune.versions.CALIBRATION_TOKENS", 1024)
    dense = read_metadata(make_tiny_model(tmp_path / "dense.gguf", blocks=4))
    first, again = RecordedProgress(), RecordedProgress()
    version = find_or_make_version(dense, Method.FLAP, 0.2, first)
    meta = read_metadata(version)
    assert pruning_method(meta) == "flap"
    assert meta.parameter_count < dense.parameter_count
    assert first.labels[-1] == "writing"
    assert find_or_make_version(dense, Method.FLAP, 0.2, again) == version
    assert again.stages == []


def test_a_figure_is_measured_once_for_a_text_and_a_dense_model(tiny_model: Path, tiny_draft: Path):
    first, again, alone = RecordedProgress(), RecordedProgress(), RecordedProgress()
    found = measure_quality(tiny_draft, tiny_model, builtin_text(), progress=first)
    assert (found.n_chunks, first.labels) == (QUALITY_CHUNKS, ["measuring quality"])
    assert found.distance is not None
    assert measure_quality(tiny_draft, tiny_model, builtin_text(), progress=again) == found
    assert again.stages == []
    assert measure_quality(tiny_draft, None, builtin_text(), progress=alone).distance is None
    assert alone.labels != []
