"""Throughput runs with known figures, and runners that go by a clock of their own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgespec.bench.sweep.point_runner import TimedBatch
from edgespec.bench.sweep.variant import Variant
from edgespec.bench.throughput.result import Curve, Point, Quality, Run, ThroughputResult
from edgespec.bench.throughput.shapes import Batch, Layout, Shape
from edgespec.bench.throughput.summary import with_runs, with_speedups
from edgespec.catalog.metadata import read_metadata
from edgespec.catalog.model_file import ModelFile

STEP_S = {"dense": 1.0, "depth": 0.75, "flap": 0.8}
"""Of one sequence; each further one adds a tenth."""


def quality(perplexity: float) -> Quality:
    return Quality(perplexity, 0.5, 0.1, 0.8, "the built-in prompts")


def curve(name: str = "dense", **changes: Any) -> Curve:
    removed = 0.0 if name == "dense" else 0.27
    plain = {
        "name": name,
        "model": f"tiny-{name}",
        "file": f"{name}.gguf",
        "file_bytes": 1000,
        "parameter_count": 500,
        "method": name,
        "removed_share": removed,
        "quality": quality(12.0 if name == "dense" else 16.0),
    }
    return Curve(**{**plain, **changes})


def point(curve: str, shape: Shape, batch: int, *latencies: float, **changes: Any) -> Point:
    runs = [Run(n, latency, latency / 10, 0.99 * latency) for n, latency in enumerate(latencies)]
    empty = Point(curve, shape.prompt_n, shape.output_n, batch, 2 << 20, "split", 3 << 20, **changes)
    return with_runs(empty, runs) if runs else empty


def sweep(*points: Point, curves: tuple[Curve, ...] | None = None, **changes: Any) -> ThroughputResult:
    """A run of the points, with their speed-ups."""
    names = dict.fromkeys(one.curve for one in points)
    return ThroughputResult(
        **{
            "run_id": "20260102-030405-1f9a",
            "started_at": "2026-01-02T03:04:05+00:00",
            "env": {"cpu": "a processor"},
            "settings": {"repeat": 2},
            "curves": curves or tuple(curve(name) for name in names),
            "points": with_speedups(points, next(iter(names), "dense")),
            **changes,
        }
    )


@dataclass
class FakeClock:
    """Goes on when somebody works."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class FakeRunner:
    """A model whose steps take what `STEP_S` says; it notes what it was asked for."""

    variant: Variant
    clock: FakeClock
    asked: list[tuple[str, str, int, int, str]]
    loaded_bytes: int = 1000
    interrupt_at: int = -1
    unified_penalty: float = 1.5

    def run(self, batch: Batch, repeat: int, *, layout: Layout, warm_up_n: int, stepped: Any) -> TimedBatch:
        if len(self.asked) == self.interrupt_at:
            raise KeyboardInterrupt
        self.asked.append((self.variant.name, str(batch.shape), batch.size, repeat, layout))
        latency_s = batch.shape.output_n * self.step_s(batch, Layout.SPLIT)
        self.clock.now_s += latency_s
        for _ in range(batch.shape.output_n - 1):
            stepped()
        return TimedBatch(Run(repeat, latency_s, 0.1, 0.99 * latency_s), 500)

    def step_s(self, batch: Batch, layout: Layout) -> float:
        step_s = STEP_S[self.variant.name] * (0.9 + 0.1 * batch.size)
        return step_s * (self.unified_penalty if layout is Layout.UNIFIED and batch.size > 1 else 1.0)


def runners(model: Path, clock: FakeClock, *names: str, **changes: Any) -> list[Any]:
    """Runners of a tiny model under several names, and one list of what they were asked for."""
    asked: list[tuple[str, str, int, int, str]] = []
    file = ModelFile("tiny", model, read_metadata(model))
    return [FakeRunner(Variant(curve(name), file), clock, asked, **changes) for name in names]
