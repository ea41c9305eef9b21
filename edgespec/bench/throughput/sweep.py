"""The sweep: every curve at every shape and batch size, again and again, cheap points first.

All curves run one after the other at a point before the next point, so that what the machine does in a minute is
the same for all of them. Every point is saved when it is measured; what a budget has no room for is left out.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from time import perf_counter

from edgespec.bench.store import ResultStore, new_run_id
from edgespec.bench.throughput.point_runner import SPLIT, UNIFIED, Bed
from edgespec.bench.throughput.result import Point, ThroughputResult
from edgespec.bench.throughput.shapes import Shape
from edgespec.bench.throughput.summary import with_runs, with_speedups
from edgespec.bench.throughput.variant import predict_context_bytes
from edgespec.catalog.memory import available_memory_bytes
from edgespec.llama.sampler import Sampling
from edgespec.session.settings import EngineSettings

Progress = Callable[[float, float, str], None]
"""Called with seconds of work done, of how many expected, and what is being done."""


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """What is run."""

    shapes: tuple[Shape, ...]
    batches: tuple[int, ...]
    warm_up: int = 2
    """Batches of a few tokens before each one that counts."""
    repeat: int = 5
    budget_s: float | None = None
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class _Group:
    """All curves at one shape and batch size."""

    shape: Shape
    batch: int


class ThroughputSweep:
    """One sweep over loaded subjects; the first is what the others are compared with.

    Args:
        beds: The subjects at work.
        engine: Threads, types, flash attention.
        settings: Shapes, batches, repeats.
        store: Where the run is saved after every point.
        env: Where it is made, for the result.
        earlier: A run of the same curves that was not finished; its points are kept.
        progress: Told about every point.
        planned: Told how many seconds all of it is expected to take.
        clock: Seconds; another one in tests.
    """

    def __init__(
        self,
        beds: Sequence[Bed],
        engine: EngineSettings,
        settings: SweepSettings,
        store: ResultStore,
        env: dict[str, object],
        earlier: ThroughputResult | None = None,
        progress: Progress = lambda _done_s, _total_s, _label: None,
        planned: Callable[[float], None] = lambda _expected_s: None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._beds, self._engine, self._settings, self._store = beds, engine, settings, store
        self._env, self._progress, self._planned, self._clock = env, progress, planned, clock
        self._run_id = earlier.run_id if earlier else new_run_id()
        self._started = earlier.started_at if earlier else datetime.now(UTC).isoformat(timespec="seconds")
        self._points = {_key(point): point for point in earlier.points} if earlier else {}
        self._layouts: dict[_Group, str] = {}
        self._step_s: dict[int, float] = {}
        self._done_s = self._expected_s = 0.0

    def run(self) -> ThroughputResult:
        """Measures everything. Ctrl-C ends it early: what is measured is saved and returned as incomplete."""
        started = self._clock()
        complete = True
        try:
            self._predict()
            groups = self._plan()
            rounds = list(itertools.product(range(self._settings.repeat), groups))
            self._expected_s = sum(self._cost_s(group, repeat) for repeat, group in rounds)
            self._planned(self._expected_s)
            self._expected_s = min(self._expected_s, self._settings.budget_s or self._expected_s)
            for repeat, group in rounds:
                cost_s = self._cost_s(group, repeat)
                if self._fits_budget(group, cost_s, self._clock() - started):
                    self._measure_group(group, repeat)
        except KeyboardInterrupt:
            complete = False
        result = self._result(complete=complete)
        if any(point.runs for point in result.points) or complete:
            self._store.save(result)
        return result

    def _predict(self) -> None:
        """A point for every curve, shape and batch; those that do not fit into the memory say so at once."""
        free = available_memory_bytes()
        for shape, batch, bed in itertools.product(self._settings.shapes, self._settings.batches, self._beds):
            layout = UNIFIED if batch == 1 or bed.subject.draft else SPLIT
            needed = self._predicted_bytes(bed, _Group(shape, batch), layout)
            point = Point(bed.subject.name, shape.prompt_n, shape.output_n, batch, bed.loaded_bytes + needed)
            if needed > free:
                mib = 2**20
                point = replace(
                    point, left_out=f"needs {needed / mib:.0f} MiB more memory, {free / mib:.0f} MiB are free"
                )
            known = self._points.get(_key(point))
            if known is None or not known.runs:
                self._points[_key(point)] = point

    def _predicted_bytes(self, bed: Bed, group: _Group, layout: str) -> int:
        unified = layout == UNIFIED
        return predict_context_bytes(bed.subject, self._engine, group.shape, group.batch, unified=unified)

    def _plan(self) -> list[_Group]:
        """The groups, the cheapest first; what a step costs at each batch size is timed on the first curve."""
        smallest = min(self._settings.shapes)
        first = self._beds[0]
        for batch in self._settings.batches:
            if not self._point(first, _Group(smallest, batch)).left_out:
                self._progress(0.0, 1.0, f"timing a step of {batch}")
                self._step_s[batch] = first.step_s(smallest, batch, SPLIT if batch > 1 else UNIFIED)
        groups = [
            _Group(shape, batch)
            for shape, batch in itertools.product(self._settings.shapes, self._settings.batches)
        ]
        return sorted(groups, key=lambda group: self._cost_s(group, 0))

    def _cost_s(self, group: _Group, repeat: int) -> float:
        """What a group is expected to take, by the weights that each curve reads in a step."""
        return sum(
            self._bed_step_s(bed, group) * group.shape.output_n
            for bed in self._beds
            if not self._is_done(bed, group, repeat) and self._is_possible(bed, group)
        )

    def _bed_step_s(self, bed: Bed, group: _Group) -> float:
        first = self._beds[0].subject.model.meta.weights_bytes
        return self._step_s.get(group.batch, 0.0) * bed.subject.model.meta.weights_bytes / first

    def _fits_budget(self, group: _Group, cost_s: float, spent_s: float) -> bool:
        budget_s = self._settings.budget_s
        if budget_s is None or spent_s + cost_s <= budget_s:
            return True
        for bed in self._beds:
            point = self._point(bed, group)
            if not point.runs and not point.left_out:
                reason = (
                    f"would take about {cost_s:.0f} s, the budget had {max(budget_s - spent_s, 0):.0f} s left"
                )
                self._points[_key(point)] = replace(point, left_out=reason)
        return False

    def _measure_group(self, group: _Group, repeat: int) -> None:
        for bed in self._beds:
            if self._is_done(bed, group, repeat) or not self._is_possible(bed, group):
                continue
            step_s = self._bed_step_s(bed, group)

            def report(bed: Bed = bed, step_s: float = step_s) -> None:
                self._done_s += step_s
                self._report(bed, group, repeat)

            report()
            layout = self._layout(group, bed)
            predicted = bed.loaded_bytes + self._predicted_bytes(bed, group, layout)
            measured = bed.run(
                group.shape,
                group.batch,
                repeat,
                layout=layout,
                warm_up_n=self._settings.warm_up if repeat == 0 else 1,
                stepped=report,
            )
            point = self._point(bed, group)
            self._points[_key(point)] = replace(
                with_runs(point, [*point.runs, measured.run]),
                layout=layout,
                predicted_memory_bytes=predicted,
                memory_bytes=max(point.memory_bytes, bed.loaded_bytes + measured.context_bytes),
            )
            self._store.save(self._result(complete=False))

    def _layout(self, group: _Group, bed: Bed) -> str:
        """One cache for all sequences or one for each, whichever is faster half-way through the answers."""
        if group.batch == 1 or bed.subject.draft:
            # Drafts of different lengths would split a decode of caches of their own into several.
            return UNIFIED
        known = self._point(self._beds[0], group).layout or self._layouts.get(group)
        if known is None:
            self._progress(
                self._done_s, self._expected_s, f"{group.shape}, batch {group.batch}: cache layout"
            )
            times = {
                layout: self._beds[0].step_s(group.shape, group.batch, layout) for layout in (UNIFIED, SPLIT)
            }
            known = self._layouts[group] = min(times, key=times.__getitem__)
        return known

    def _point(self, bed: Bed, group: _Group) -> Point:
        return self._points[bed.subject.name, group.shape.prompt_n, group.shape.output_n, group.batch]

    def _is_done(self, bed: Bed, group: _Group, repeat: int) -> bool:
        return any(run.repeat == repeat for run in self._point(bed, group).runs)

    def _is_possible(self, bed: Bed, group: _Group) -> bool:
        return not self._point(bed, group).left_out

    def _report(self, bed: Bed, group: _Group, repeat: int) -> None:
        label = f"{group.shape}, batch {group.batch}, {bed.subject.name}"
        if self._settings.repeat > 1:
            label += f", {repeat + 1} of {self._settings.repeat}"
        self._progress(self._done_s, self._expected_s, label)

    def _result(self, *, complete: bool) -> ThroughputResult:
        return ThroughputResult(
            run_id=self._run_id,
            started_at=self._started,
            env=self._env,
            settings={
                **asdict(self._settings),
                "shapes": [str(shape) for shape in self._settings.shapes],
                "batches": list(self._settings.batches),
            },
            curves=tuple(bed.subject.curve for bed in self._beds),
            points=with_speedups(list(self._points.values()), self._beds[0].subject.name),
            complete=complete,
        )


def _key(point: Point) -> tuple[str, int, int, int]:
    return point.curve, point.prompt_n, point.output_n, point.batch
