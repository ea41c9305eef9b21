"""What a sweep says, in plain sentences: which method is ahead, where, by how much, and what it cost."""

import math
from collections.abc import Sequence
from typing import Final

from edgespec.bench.statistics import geometric_mean
from edgespec.bench.throughput.result import Curve, Point, ThroughputResult

_NOISE: Final = 0.02
"""Ratios of medians closer to 1 than this are called level."""


def throughput_verdict(result: ThroughputResult) -> str:
    """Sentences on every curve against the first one, and on the pruned ones against each other."""
    first, *others = result.curves
    if not any(point.runs for point in result.points):
        return "nothing was measured"
    sentences = [_against_first(result, first, curve) for curve in others]
    sentences += _between_methods(result)
    if not others:
        sentences = [_alone(result, first)]
    text = "; ".join(sentence for sentence in sentences if sentence)
    return text + ("" if result.complete else " (so far: the run is not finished)")


def _alone(result: ThroughputResult, curve: Curve) -> str:
    measured = [point for point in result.points if point.runs]
    best = max(measured, key=lambda point: point.tok_per_s)
    return (
        f"{curve.name} writes {best.tok_per_s:.0f} tok/s at most, "
        f"with {best.batch} sequences of {best.prompt_n}x{best.output_n}"
    )


def _against_first(result: ThroughputResult, first: Curve, curve: Curve) -> str:
    points = [point for point in result.points if point.curve == curve.name and math.isfinite(point.speedup)]
    if not points:
        return f"{curve.name} was not measured beside {first.name}"
    text = f"{curve.name} has {_range(points)} the throughput of {first.name}"
    if curve.draft:
        lost = sorted({point.batch for point in points if point.speedup < 1 - _NOISE})
        gained = [point.batch for point in points if point.speedup > 1 + _NOISE]
        text += f", ahead up to batch {max(gained)}" if gained else ", ahead at no batch"
        if lost:
            text += f", behind from batch {lost[0]}"
    if curve.removed_share:
        text += f" with {curve.removed_share:.0%} fewer block weights".replace("%", " %")
    if curve.quality and first.quality and not curve.draft:
        text += f", perplexity {curve.quality.perplexity:.1f} against {first.quality.perplexity:.1f}"
    return text


def _between_methods(result: ThroughputResult) -> list[str]:
    """The pruned curves against the fastest of them, batch by batch."""
    pruned = [curve for curve in result.curves[1:] if curve.removed_share and not curve.draft]
    speedups = {curve.name: _speedups(result, curve) for curve in pruned}
    measured = [curve for curve in pruned if speedups[curve.name]]
    if len(measured) < 2:
        return []
    best = max(measured, key=lambda curve: geometric_mean(list(speedups[curve.name].values())))
    return [
        _compared(best, other, _ratio_by_batch(speedups[best.name], speedups[other.name]))
        for other in measured
        if other is not best
    ]


def _speedups(result: ThroughputResult, curve: Curve) -> dict[tuple[int, int, int], float]:
    """By batch size and shape."""
    return {
        (point.batch, point.prompt_n, point.output_n): point.speedup
        for point in result.points
        if point.curve == curve.name and math.isfinite(point.speedup)
    }


def _ratio_by_batch(
    one: dict[tuple[int, int, int], float], other: dict[tuple[int, int, int], float]
) -> dict[int, float]:
    """The mean ratio over the shapes that both have."""
    ratios: dict[int, list[float]] = {}
    for place in sorted(one.keys() & other.keys()):
        ratios.setdefault(place[0], []).append(one[place] / other[place])
    return {batch: geometric_mean(values) for batch, values in ratios.items()}


def _compared(best: Curve, other: Curve, by_batch: dict[int, float]) -> str:
    if not by_batch:
        return f"{best.name} and {other.name} have no point in common"
    low, high = min(by_batch.values()), max(by_batch.values())
    if low > 1 - _NOISE and high < 1 + _NOISE:
        return f"{best.name} and {other.name} are level at every batch"
    where = "at every batch" if low >= 1 - _NOISE else "on the whole"
    behind = [batch for batch, ratio in by_batch.items() if ratio < 1 - _NOISE]
    text = f"{best.name} is ahead of {other.name} {where}: {low:.2f}x to {high:.2f}x"
    return text + (f", behind at batch {', '.join(map(str, behind))}" if behind else "")


def _range(points: Sequence[Point]) -> str:
    values = [point.speedup for point in points]
    low, high = f"{min(values):.2f}x", f"{max(values):.2f}x"
    return low if low == high else f"{low} to {high}"
