"""Plain speeds side by side: the right tokens are counted, the right times divided."""

from itertools import count
from pathlib import Path

import pytest

from edgespec.bench.plain_speed import measure_plain_speeds
from edgespec.catalog.model_file import open_file
from edgespec.errors import NotEnoughMemoryError
from edgespec.session.settings import EngineSettings
from tests.recorded_progress import RecordedProgress


def test_every_model_is_timed_in_every_round_and_compared_with_the_first(
    tiny_model: Path, tiny_draft: Path
) -> None:
    files = [open_file(path.stem, path) for path in (tiny_model, tiny_draft)]
    told = RecordedProgress()
    told.stage("timing both", 3)
    ticks = count()
    # Two readings of the clock a token: every token takes a tick of a tenth of a second.
    speeds = measure_plain_speeds(
        files,
        EngineSettings(),
        n_tokens=6,
        n_rounds=3,
        progress=told,
        clock=lambda: next(ticks) / 10,
    )
    assert told.steps == [(done, 3, "timing both") for done in (0, 1, 2, 3)]
    assert [speed.tok_per_s.value for speed in speeds] == pytest.approx([10, 10])
    assert [speed.speedup.value for speed in speeds] == pytest.approx([1, 1])
    assert (speeds[0].speedup.sd, next(ticks)) == (0.0, 2 * 6 * 2 * 3)


def test_two_models_that_do_not_fit_together_are_refused(
    tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgespec.catalog.memory.available_memory_bytes", lambda: 1000)
    files = [open_file(path.stem, path) for path in (tiny_model, tiny_draft)]
    with pytest.raises(NotEnoughMemoryError):
        measure_plain_speeds(files, EngineSettings())
