"""Which points a sweep measures, in which order, and what it keeps when it is stopped."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from edgespec.bench.document import to_json
from edgespec.bench.store import ResultStore
from edgespec.bench.sweep import sweep as sweep_module
from edgespec.bench.sweep.sweep import SweepSettings, ThroughputSweep
from edgespec.bench.throughput.result import Point, ThroughputResult
from edgespec.bench.throughput.shapes import Shape
from edgespec.session.settings import EngineSettings
from tests.bench.throughput.sweeps import FakeClock, runners
from tests.recorded_progress import RecordedProgress

SHORT, LONG = Shape(12, 10), Shape(12, 100)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def settings(**changes: Any) -> SweepSettings:
    return SweepSettings(**{"shapes": (LONG, SHORT), "batches": (1, 4), "repeat": 2, **changes})


def run(
    made: list[Any], clock: FakeClock, store: ResultStore, wanted: SweepSettings, **more: Any
) -> ThroughputResult:
    return ThroughputSweep(made, EngineSettings(), wanted, store, {}, clock=clock, **more).run()


def at(result: ThroughputResult, curve: str, shape: Shape, batch: int) -> Point:
    (found,) = (p for p in result.points if (p.curve, p.output_n, p.batch) == (curve, shape.output_n, batch))
    return found


def test_cheap_points_come_first_all_curves_at_each_and_repeats_after_all_of_them(
    tiny_model: Path, clock: FakeClock, store: ResultStore
):
    made = runners(tiny_model, clock, "dense", "depth")
    result = run(made, clock, store, settings())
    order = [(shape, batch, repeat) for _, shape, batch, repeat, _ in made[0].asked[::2]]
    once = [("12x10", 1, 0), ("12x10", 4, 0), ("12x100", 1, 0), ("12x100", 4, 0)]
    assert order == [*once, *((shape, batch, 1) for shape, batch, _ in once)]
    assert [name for name, *_ in made[0].asked] == ["dense", "depth"] * 8
    assert result.complete
    assert store.load("latest") == result


def test_latency_throughput_and_speed_up_are_as_published(
    tiny_model: Path, clock: FakeClock, store: ResultStore
):
    result = run(runners(tiny_model, clock, "dense", "depth"), clock, store, settings())
    dense, depth = (at(result, name, LONG, 4) for name in ("dense", "depth"))
    assert dense.latency_s == pytest.approx(100 * 1.3)
    assert dense.tok_per_s == pytest.approx(4 * 100 / dense.latency_s)
    assert (dense.speedup, depth.speedup) == (1.0, pytest.approx(1 / 0.75))
    assert dense.tok_per_s_sd == pytest.approx(0.0)
    assert dense.python_share == pytest.approx(0.01)
    assert dense.memory_bytes == 1500
    assert dense.predicted_memory_bytes > 1000


@pytest.mark.parametrize(("penalty", "layout"), [(1.5, "split"), (0.7, "unified")])
def test_the_faster_layout_of_the_cache_is_taken_for_all_curves(
    tiny_model: Path, clock: FakeClock, store: ResultStore, penalty: float, layout: str
):
    made = runners(tiny_model, clock, "dense", "depth", unified_penalty=penalty)
    result = run(made, clock, store, settings(shapes=(SHORT,)))
    assert {chosen for _, _, batch, _, chosen in made[0].asked if batch == 4} == {layout}
    assert {chosen for _, _, batch, _, chosen in made[0].asked if batch == 1} == {"unified"}
    assert at(result, "depth", SHORT, 4).layout == layout


def test_what_the_budget_has_no_room_for_is_left_out_and_says_so(
    tiny_model: Path, clock: FakeClock, store: ResultStore
):
    made = runners(tiny_model, clock, "dense")
    result = run(made, clock, store, settings(budget_s=130.0))
    assert [(shape, batch, repeat) for _, shape, batch, repeat, _ in made[0].asked] == [
        ("12x10", 1, 0),
        ("12x10", 4, 0),
        ("12x100", 1, 0),
    ]
    left_out = at(result, "dense", LONG, 4)
    assert left_out.left_out == "would take about 130 s, the budget had 7 s left"
    assert not left_out.runs
    assert at(result, "dense", LONG, 1).left_out == ""
    assert result.complete


def test_an_interrupted_sweep_keeps_its_points_and_goes_on_where_it_stopped(
    tiny_model: Path, clock: FakeClock, store: ResultStore
):
    stopped = run(runners(tiny_model, clock, "dense", "depth", interrupt_at=5), clock, store, settings())
    assert not stopped.complete
    assert to_json(store.load("latest")) == to_json(stopped)
    assert sum(len(p.runs) for p in stopped.points) == 5
    made = runners(tiny_model, clock, "dense", "depth")
    result = run(made, clock, store, settings(), earlier=stopped)
    assert len(made[0].asked) == 16 - 5
    assert (result.run_id, result.started_at) == (stopped.run_id, stopped.started_at)
    assert all(len(p.runs) == 2 for p in result.points)
    assert len(store.entries()) == 1


def test_a_sweep_stopped_before_its_first_point_leaves_no_file(
    tiny_model: Path, clock: FakeClock, store: ResultStore
):
    stopped = run(runners(tiny_model, clock, "dense", interrupt_at=0), clock, store, settings())
    assert not any(p.runs for p in stopped.points)
    assert store.entries() == ()


def test_points_without_room_in_memory_are_known_before_anything_runs(
    tiny_model: Path, clock: FakeClock, store: ResultStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sweep_module, "available_memory_bytes", lambda: 10 << 20)
    made = runners(tiny_model, clock, "dense")
    result = run(made, clock, store, settings(shapes=(SHORT,), batches=(1, 256)))
    large = at(result, "dense", SHORT, 256)
    assert re.fullmatch(r"needs \d{2} MiB more memory, 10 MiB are free", large.left_out)
    assert large.runs == ()
    assert {batch for _, _, batch, _, _ in made[0].asked} == {1}


def test_progress_ends_at_what_was_expected(tiny_model: Path, clock: FakeClock, store: ResultStore):
    told = RecordedProgress()
    run(runners(tiny_model, clock, "dense"), clock, store, settings(), progress=told)
    done_s, expected_s, label = told.steps[-1]
    assert done_s == pytest.approx(expected_s)
    assert label == "12x100, batch 4, dense, 2 of 2"
    assert all(a[0] <= b[0] for a, b in itertools.pairwise(told.steps))
    assert "seconds" in told.units
