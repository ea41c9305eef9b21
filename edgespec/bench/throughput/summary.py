"""From runs to points: medians with their spread, and the ratio to the first curve."""

from collections.abc import Sequence
from dataclasses import replace

from edgespec.bench.statistics import mean_ratio, median, sample_sd
from edgespec.bench.throughput.result import Curve, Point, Run, ThroughputResult
from edgespec.bench.throughput.shapes import Shape


def with_runs(point: Point, runs: Sequence[Run]) -> Point:
    """The point with these runs and their medians."""
    rates = [tok_per_s(point, run) for run in runs]
    latencies = [run.latency_s for run in runs]
    tested = sum(run.draft_n for run in runs)
    return replace(
        point,
        runs=tuple(runs),
        left_out="",
        latency_s=median(latencies),
        latency_s_sd=sample_sd(latencies),
        tok_per_s=median(rates),
        tok_per_s_sd=sample_sd(rates),
        ttft_s=median([run.prompt_s for run in runs]),
        python_share=median([1 - run.engine_s / run.latency_s for run in runs]),
        acceptance=sum(run.draft_n_accepted for run in runs) / tested if tested else None,
    )


def with_speedups(points: Sequence[Point], first: str) -> tuple[Point, ...]:
    """The points with their throughput over that of the curve `first`, paired by repeat."""
    base = {
        (point.prompt_n, point.output_n, point.batch): {run.repeat: run for run in point.runs}
        for point in points
        if point.curve == first
    }
    return tuple(_with_speedup(p, base.get((p.prompt_n, p.output_n, p.batch), {})) for p in points)


def _with_speedup(point: Point, base: dict[int, Run]) -> Point:
    ratios = [
        base[run.repeat].latency_s / run.latency_s
        for run in point.runs
        if run.repeat in base and run.latency_s > 0
    ]
    estimate = mean_ratio({"": ratios})
    return replace(point, speedup=estimate.value, speedup_sd=estimate.sd)


def tok_per_s(point: Point, run: Run) -> float:
    """Throughput of one run: all tokens that were written, over the latency."""
    return point.batch * point.output_n / run.latency_s


def shapes_of(result: ThroughputResult) -> tuple[Shape, ...]:
    """The shapes of a run, in the order of its settings."""
    return tuple(dict.fromkeys(Shape(point.prompt_n, point.output_n) for point in result.points))


def points_of(result: ThroughputResult, shape: Shape, curve: Curve | None = None) -> tuple[Point, ...]:
    """The points of one shape, of one curve or of all, by batch size and then in the order of the curves."""
    order = {one.name: place for place, one in enumerate(result.curves)}
    found = [
        point
        for point in result.points
        if (point.prompt_n, point.output_n) == (shape.prompt_n, shape.output_n)
        and (curve is None or point.curve == curve.name)
    ]
    return tuple(sorted(found, key=lambda point: (point.batch, order[point.curve])))
