"""What becomes of a process's memory, handles and threads while it is asked for one thing after the other.

What a process takes first is no leak: tables and pools of threads come to their size, caches fill up to their limits, and the
allocator gets the holes that it then fills again. So growth is counted from a warm-up on.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psutil

MIB: Final = 1 << 20
LIMIT_MIB: Final = 1.0
"""That 1,000 turns or requests may add to a process."""
_WARM_UP: Final = 0.3
"""Share of them before the line begins."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Of one process, at one moment when nobody asks."""

    done_n: int
    """Turns or requests so far."""
    n_bytes: int
    """Memory of its own (USS)."""
    n_handles: int
    n_threads: int

    def __str__(self) -> str:
        return f"{self.n_bytes / MIB:.1f} MiB, {self.n_handles} handles, {self.n_threads} threads"


def take_sample(pid: int, done_n: int) -> Sample:
    """How a process stands."""
    process = psutil.Process(pid)
    with process.oneshot():
        return Sample(done_n, process.memory_full_info().uss, process.num_fds(), process.num_threads())


@dataclass(frozen=True, slots=True)
class Growth:
    """What became of a process after its warm-up."""

    name: str
    first: Sample
    last: Sample
    mib_per_1000: float
    limit_share: float = float("inf")
    """What all of it may add, of what there was after the warm-up."""

    @property
    def share(self) -> float:
        """What the line rose by, of what there was."""
        return self.mib_per_1000 * MIB * (self.last.done_n - self.first.done_n) / 1000 / self.first.n_bytes

    @property
    def is_within(self) -> bool:
        """Whether nothing leaks."""
        return (
            self.mib_per_1000 < LIMIT_MIB
            and self.share < self.limit_share
            and self.last.n_handles <= self.first.n_handles
            and self.last.n_threads <= self.first.n_threads
        )

    def __str__(self) -> str:
        return (
            f"{self.name:<7} {self.first} -> {self.last}: "
            f"{self.mib_per_1000:+.2f} MiB per 1,000, {self.share:+.2%} since the warm-up"
        )


def growth_of(
    name: str, samples: Sequence[Sample], warm_up: float = _WARM_UP, *, limit_share: float = float("inf")
) -> Growth:
    """The line (least squares) through what came after the warm-up: at least two samples."""
    kept = [one for one in samples if one.done_n >= warm_up * samples[-1].done_n]
    line = statistics.linear_regression([one.done_n for one in kept], [one.n_bytes / MIB for one in kept])
    return Growth(name, kept[0], kept[-1], 1000 * line.slope, limit_share)
