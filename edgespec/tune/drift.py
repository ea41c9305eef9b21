"""Drift correction: timings that can be compared though they were taken minutes apart.

A machine that is shared, or warm, computes at changing speeds; a variant that is timed in a good minute would win by that
alone. So the published target stays open and takes some plain steps before and after every part of a timing, and times
are scaled to its usual step: what takes 6 s while a step takes 3 times the usual is said to take 2 s.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

from edgespec.decode.measure_costs import time_decodes
from edgespec.lifetime import Closes
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model

_PARTS: Final = 3
"""Of a timing, each between steps of its own; the median of their figures counts."""
_STEPS: Final = 3
"""Before and after a part; their median counts."""
_USUAL_STEPS: Final = 9
"""At the beginning, for the usual step."""
_TOKEN: Final = 13


class DriftCorrection(Closes):
    """Plain steps of one model, taken again and again, and timings in terms of them.

    Args:
        path: The published target.
        n_threads: Of the CPU.
        clock: Seconds; another one in tests.

    Raises:
        NotEnoughMemoryError: no room for a context.
    """

    def __init__(self, path: Path, n_threads: int, clock: Callable[[], float] = perf_counter) -> None:
        self.n_threads, self._clock = n_threads, clock
        self._model = Model(path)
        try:
            self._context = Context(self._model, ContextSettings(_USUAL_STEPS + 1, n_threads))
        except BaseException:
            self._model.close()
            raise
        self._usual_s = self._step_s(_USUAL_STEPS)

    def time_decodes(
        self, context: Context, rows: Sequence[int], budget_s: float, *, all_outputs: bool
    ) -> dict[int, float]:
        """Seconds of a decode by its rows, as they would be at the usual speed of the machine.

        Args:
            context: Empty afterwards.
            rows: In the order of their use.
            budget_s: For all parts together; the steps between them come on top.
            all_outputs: Whether every row gives logits, or only the last.
        """
        found: dict[int, list[float]] = {}
        before = self._step_s(_STEPS)
        for _ in range(_PARTS):
            part = time_decodes(context, rows, budget_s / _PARTS, all_outputs=all_outputs, clock=self._clock)
            after = self._step_s(_STEPS)
            factor = 2 * self._usual_s / (before + after)
            for count, seconds in part.items():
                found.setdefault(count, []).append(factor * seconds)
            before = after
        return {count: median(values) for count, values in found.items()}

    def _step_s(self, count: int) -> float:
        self._context.clear()
        self._context.decode([_TOKEN])
        took = []
        for _ in range(count):
            before = self._clock()
            self._context.decode([_TOKEN])
            self._context.logits(1)
            took.append(self._clock() - before)
        return median(took)

    def close(self) -> None:
        """Frees the published target."""
        self._context.close()
        self._model.close()
