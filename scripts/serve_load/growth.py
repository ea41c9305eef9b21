"""What becomes of a process's memory, handles and threads while requests come."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psutil

MIB: Final = 1 << 20
LIMIT_MIB: Final = 1.0
"""That 1,000 requests may add to a process."""
LIMIT_SHARE: Final = 0.01
"""That all requests after the warm-up may add."""
_WARM_UP: Final = 0.3
"""Share of the requests before the line begins: caches fill, pools of threads too, and the allocator finds its size."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Of one process, at one moment when nobody asks."""

    request_n: int
    """Requests so far."""
    n_bytes: int
    """Memory of its own (USS)."""
    n_handles: int
    n_threads: int

    def __str__(self) -> str:
        return f"{self.n_bytes / MIB:.1f} MiB, {self.n_handles} handles, {self.n_threads} threads"


def take_sample(pid: int, request_n: int) -> Sample:
    """How a process stands."""
    process = psutil.Process(pid)
    with process.oneshot():
        return Sample(request_n, process.memory_full_info().uss, process.num_fds(), process.num_threads())


@dataclass(frozen=True, slots=True)
class Growth:
    """What became of a process after its warm-up."""

    name: str
    first: Sample
    last: Sample
    mib_per_1000: float

    @property
    def share(self) -> float:
        """What the line rose by, of what there was."""
        return (
            self.mib_per_1000 * MIB * (self.last.request_n - self.first.request_n) / 1000 / self.first.n_bytes
        )

    @property
    def is_within(self) -> bool:
        """Whether nothing leaks."""
        return (
            self.mib_per_1000 < LIMIT_MIB
            and self.share < LIMIT_SHARE
            and self.last.n_handles <= self.first.n_handles
            and self.last.n_threads <= self.first.n_threads
        )

    def __str__(self) -> str:
        return (
            f"{self.name:<7} {self.first} -> {self.last}: "
            f"{self.mib_per_1000:+.2f} MiB per 1,000 requests, {self.share:+.2%} since the warm-up"
        )


def growth_of(name: str, samples: Sequence[Sample], warm_up: float = _WARM_UP) -> Growth:
    """The line (least squares) through what came after the warm-up: at least two samples."""
    kept = [one for one in samples if one.request_n >= warm_up * samples[-1].request_n]
    line = statistics.linear_regression([one.request_n for one in kept], [one.n_bytes / MIB for one in kept])
    return Growth(name, kept[0], kept[-1], 1000 * line.slope)
