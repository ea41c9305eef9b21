"""Measuring this machine: with a clock that ticks once a call every decode takes one tick, whatever it computes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgespec.errors import DiskSpaceError
from edgespec.paths import derived_models_dir
from edgespec.plan import probe
from edgespec.plan.probe import PROBED_ROWS, ProcessorTime, TypeSpeed, measure_block, measure_type
from edgespec.plan.zero_model import ZeroModel
from edgespec.session.settings import EngineSettings

SETTINGS = EngineSettings(n_ctx=256, n_threads=1)
FREE = dict.fromkeys(PROBED_ROWS, 0.0)


def ticking(tick_s: float) -> Callable[[], float]:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += tick_s
        return now

    return clock


@pytest.fixture
def small_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Narrow models in place of those of hundreds of megabytes; they are timed by a clock that does not care."""
    monkeypatch.setattr(probe, "_WIDTH", 256)
    monkeypatch.setattr(probe, "_HIDDEN", 512)


@pytest.fixture
def every_decode_takes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    return lambda tick_s: monkeypatch.setattr(probe, "perf_counter", ticking(tick_s))


def test_the_time_of_a_thin_model_is_shared_among_its_blocks(
    every_decode_takes: Callable[[float], None],
) -> None:
    every_decode_takes(0.0024)
    assert measure_block(SETTINGS, ProcessorTime()) == pytest.approx(dict.fromkeys(PROBED_ROWS, 0.0001))


@pytest.mark.usefixtures("small_models")
def test_the_time_of_a_model_is_shared_among_its_bytes(every_decode_takes: Callable[[float], None]) -> None:
    every_decode_takes(0.001)
    speed = measure_type("Q4_K", FREE, SETTINGS, ProcessorTime())
    assert speed.small_bytes == ZeroModel("Q4_K", 2, 256, 512).n_bytes
    assert speed.large_bytes == 4 * speed.small_bytes
    assert speed.small == pytest.approx(dict.fromkeys(PROBED_ROWS, 0.001 / speed.small_bytes))
    assert speed.large == pytest.approx(dict.fromkeys(PROBED_ROWS, 0.001 / speed.large_bytes))


@pytest.mark.usefixtures("small_models")
def test_what_blocks_cost_besides_is_not_charged_to_their_bytes(
    every_decode_takes: Callable[[float], None],
) -> None:
    every_decode_takes(0.001)
    speed = measure_type("Q8_0", dict.fromkeys(PROBED_ROWS, 0.0001), SETTINGS, ProcessorTime())
    assert speed.small[1] * speed.small_bytes == pytest.approx(0.001 - 2 * 0.0001)
    assert speed.large[1] * speed.large_bytes == pytest.approx(0.001 / 2), "eight blocks would leave a fifth"


@pytest.mark.usefixtures("small_models")
def test_where_time_is_short_many_rows_cost_what_as_many_single_ones_do(
    every_decode_takes: Callable[[float], None],
) -> None:
    every_decode_takes(0.1)
    speed = measure_type("F16", FREE, SETTINGS, ProcessorTime())
    assert speed.small[2] == pytest.approx(speed.small[1])
    assert [speed.small[rows] / speed.small[1] for rows in (4, 8, 16)] == pytest.approx([4, 8, 16])


@pytest.mark.usefixtures("small_models")
def test_without_memory_for_a_large_model_the_small_one_speaks_for_it(
    every_decode_takes: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    every_decode_takes(0.001)
    large = ZeroModel("Q4_0", 8, 256, 512)
    monkeypatch.setattr(probe, "available_memory_bytes", lambda: 3 * large.n_bytes - 1)
    speed = measure_type("Q4_0", FREE, SETTINGS, ProcessorTime())
    assert (speed.large_bytes, speed.large) == (speed.small_bytes, speed.small)
    assert speed.byte_s(1, 10**12) == speed.small[1]


@pytest.mark.usefixtures("small_models")
def test_a_real_clock_gives_a_time_for_every_number_of_rows_and_leaves_no_file() -> None:
    speed = measure_type("F16", measure_block(SETTINGS, ProcessorTime()), SETTINGS, ProcessorTime())
    assert set(speed.small) == set(speed.large) == set(PROBED_ROWS)
    assert all(seconds > 0 for seconds in (*speed.small.values(), *speed.large.values()))
    assert list(derived_models_dir().iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_named() -> None:
    derived_models_dir().parent.mkdir(parents=True)
    derived_models_dir().write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(DiskSpaceError, match="cannot write a model to time") as caught:
        measure_block(SETTINGS, ProcessorTime())
    assert str(derived_models_dir()) in caught.value.message
    assert caught.value.hint


def test_a_disk_that_is_full_is_named_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(_model: ZeroModel, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ZeroModel, "write", full_disk)
    with pytest.raises(DiskSpaceError, match="No space left on device"):
        measure_block(SETTINGS, ProcessorTime())
    assert list(derived_models_dir().iterdir()) == []


def test_between_the_two_sizes_a_byte_costs_the_share_that_is_beyond_the_small_one() -> None:
    speed = TypeSpeed(100, {1: 1.0}, 300, {1: 3.0})
    assert [speed.byte_s(1, n_bytes) for n_bytes in (10, 100, 150, 200, 300, 900)] == [1, 1, 1.5, 2, 3, 3]
