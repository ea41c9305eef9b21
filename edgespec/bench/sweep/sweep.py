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
from edgespec.bench.sweep.point_runner import PointRunner
from edgespec.bench.sweep.variant import predict_context_bytes
from edgespec.bench.throughput.result import Point, ThroughputResult
from edgespec.bench.throughput.shapes import Batch, Layout, Shape
from edgespec.bench.throughput.summary import with_runs, with_speedups
from edgespec.catalog.memory import available_memory_bytes
from edgespec.llama.sampler import Sampling
from edgespec.progress import SILENT, Progress
from edgespec.ranges import check_ranges
from edgespec.session.settings import EngineSettings


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """What is run.

    Raises:
        UsageError: a number outside its range.
    """

    shapes: tuple[Shape, ...]
    batches: tuple[int, ...]
    """Sequences at once."""
    warm_up: int = 2
    """Batches of a few tokens before each one that counts."""
    repeat: int = 5
    budget_s: float | None = None
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        check_ranges(warmup=self.warm_up, repeat=self.repeat, budget=self.budget_s)
        for batch in self.batches:
            check_ranges(batch=batch)


class ThroughputSweep:
    """One sweep over loaded variants; the first is what the others are compared with.

    Args:
        runners: A curve each.
        engine: Threads, types, flash attention.
        settings: Shapes, batches, repeats.
        store: Where the run is saved after every point.
        env: Where it is made, for the result.
        earlier: A run of the same curves that was not finished; its points are kept.
        progress: Told about every point, in seconds of the plan.
        planned: Told how many seconds all of it is expected to take.
        clock: Seconds; another one in tests.
    """

    def __init__(
        self,
        runners: Sequence[PointRunner],
        engine: EngineSettings,
        settings: SweepSettings,
        store: ResultStore,
        env: dict[str, object],
        earlier: ThroughputResult | None = None,
        progress: Progress = SILENT,
        planned: Callable[[float], None] = lambda _expected_s: None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._runners, self._engine, self._settings, self._store = runners, engine, settings, store
        self._env, self._progress, self._planned, self._clock = env, progress, planned, clock
        self._run_id = earlier.run_id if earlier else new_run_id()
        self._started = earlier.started_at if earlier else datetime.now(UTC).isoformat(timespec="seconds")
        self._points = {_key(point): point for point in earlier.points} if earlier else {}
        self._layouts: dict[Batch, Layout] = {}
        self._step_s: dict[int, float] = {}
        """Of the first curve, by batch size."""
        self._done_s = self._expected_s = 0.0

    def run(self) -> ThroughputResult:
        """Measures everything. Ctrl-C ends it early: what is measured is saved and returned as incomplete."""
        started = self._clock()
        complete = True
        try:
            self._predict_memory()
            rounds = list(itertools.product(range(self._settings.repeat), self._plan()))
            self._expected_s = sum(self._cost_s(batch, repeat) for repeat, batch in rounds)
            self._planned(self._expected_s)
            self._expected_s = min(self._expected_s, self._settings.budget_s or self._expected_s)
            for repeat, batch in rounds:
                cost_s = self._cost_s(batch, repeat)
                if self._fits_budget(batch, cost_s, self._clock() - started):
                    self._measure(batch, repeat)
        except KeyboardInterrupt:
            complete = False
        result = self._result(complete=complete)
        if any(point.runs for point in result.points) or complete:
            self._store.save(result)
        return result

    # The plan

    def _predict_memory(self) -> None:
        """A point for every curve, shape and batch; those that do not fit into the memory say so at once."""
        free = available_memory_bytes()
        for batch, runner in itertools.product(self._batches(), self._runners):
            layout = Layout.UNIFIED if batch.size == 1 or runner.variant.draft else Layout.SPLIT
            needed = predict_context_bytes(runner.variant, self._engine, batch, layout)
            shape = batch.shape
            point = Point(
                runner.variant.name, shape.prompt_n, shape.output_n, batch.size, runner.loaded_bytes + needed
            )
            if needed > free:
                mib = 2**20
                point = replace(
                    point, left_out=f"needs {needed / mib:.0f} MiB more memory, {free / mib:.0f} MiB are free"
                )
            known = self._points.get(_key(point))
            if known is None or not known.runs:
                self._points[_key(point)] = point

    def _batches(self) -> list[Batch]:
        return [
            Batch(shape, size)
            for shape, size in itertools.product(self._settings.shapes, self._settings.batches)
        ]

    def _plan(self) -> list[Batch]:
        """The batches, the cheapest first; what a step costs at each size is timed on the first curve."""
        smallest = min(self._settings.shapes)
        first = self._runners[0]
        for size in self._settings.batches:
            batch = Batch(smallest, size)
            if not self._point(first, batch).left_out:
                self._progress.stage(f"timing a step of {size}")
                self._step_s[size] = first.step_s(batch, Layout.SPLIT if size > 1 else Layout.UNIFIED)
        return sorted(self._batches(), key=lambda batch: self._cost_s(batch, 0))

    def _cost_s(self, batch: Batch, repeat: int) -> float:
        """What the curves are expected to take that this repeat lacks, in seconds."""
        return sum(
            self._step_cost_s(runner, batch) * batch.shape.output_n
            for runner in self._runners
            if self._is_wanted(runner, batch, repeat)
        )

    def _step_cost_s(self, runner: PointRunner, batch: Batch) -> float:
        """Of one curve, by the weights that it reads in a step."""
        first = self._runners[0].variant.model.meta.weights_bytes
        return self._step_s.get(batch.size, 0.0) * runner.variant.model.meta.weights_bytes / first

    def _fits_budget(self, batch: Batch, cost_s: float, spent_s: float) -> bool:
        budget_s = self._settings.budget_s
        if budget_s is None or spent_s + cost_s <= budget_s:
            return True
        for runner in self._runners:
            point = self._point(runner, batch)
            if not point.runs and not point.left_out:
                reason = (
                    f"would take about {cost_s:.0f} s, the budget had {max(budget_s - spent_s, 0):.0f} s left"
                )
                self._points[_key(point)] = replace(point, left_out=reason)
        return False

    # Measuring

    def _measure(self, batch: Batch, repeat: int) -> None:
        """All curves that lack this repeat, one after the other."""
        for runner in self._runners:
            if self._is_wanted(runner, batch, repeat):
                layout = self._layout(batch, runner)
                self._begin(f"{batch}, {runner.variant.name}", repeat)
                self._measure_point(runner, batch, repeat, layout)
                self._store.save(self._result(complete=False))

    def _measure_point(self, runner: PointRunner, batch: Batch, repeat: int, layout: Layout) -> None:
        step_s = self._step_cost_s(runner, batch)

        def stepped() -> None:
            self._done_s += step_s
            self._progress.advance(step_s)

        stepped()  # the first token is the prompt's, which no decode of the batch brings
        found = runner.run(
            batch,
            repeat,
            layout=layout,
            warm_up_n=self._settings.warm_up if repeat == 0 else 1,
            stepped=stepped,
        )
        point = self._point(runner, batch)
        needed = predict_context_bytes(runner.variant, self._engine, batch, layout)
        self._points[_key(point)] = replace(
            with_runs(point, [*point.runs, found.run]),
            layout=layout,
            predicted_memory_bytes=runner.loaded_bytes + needed,
            memory_bytes=max(point.memory_bytes, runner.loaded_bytes + found.context_bytes),
        )

    def _layout(self, batch: Batch, runner: PointRunner) -> Layout:
        """One cache for all sequences or one for each, whichever is faster half-way through the answers."""
        if batch.size == 1 or runner.variant.draft:
            # Drafts of different lengths would split a decode of caches of their own into several.
            return Layout.UNIFIED
        first = self._runners[0]
        if known := self._point(first, batch).layout:
            return Layout(known)
        if batch not in self._layouts:
            self._begin(f"{batch}: cache layout")
            self._layouts[batch] = min(Layout, key=lambda layout: first.step_s(batch, layout))
        return self._layouts[batch]

    def _begin(self, label: str, repeat: int | None = None) -> None:
        if repeat is not None and self._settings.repeat > 1:
            label += f", {repeat + 1} of {self._settings.repeat}"
        self._progress.stage(label, self._expected_s, done=self._done_s, unit="seconds")

    # The points

    def _point(self, runner: PointRunner, batch: Batch) -> Point:
        return self._points[runner.variant.name, batch.shape.prompt_n, batch.shape.output_n, batch.size]

    def _is_wanted(self, runner: PointRunner, batch: Batch, repeat: int) -> bool:
        """Whether a point lacks this repeat and has not been left out."""
        point = self._point(runner, batch)
        return not point.left_out and all(run.repeat != repeat for run in point.runs)

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
            curves=tuple(runner.variant.curve for runner in self._runners),
            points=with_speedups(list(self._points.values()), self._runners[0].variant.name),
            complete=complete,
        )


def _key(point: Point) -> tuple[str, int, int, int]:
    return point.curve, point.prompt_n, point.output_n, point.batch
