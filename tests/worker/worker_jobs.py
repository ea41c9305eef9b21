"""Jobs for the tests of the worker process, which imports this file."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass

from edgespec.worker.protocol import JobReported, Link


@dataclass(frozen=True)
class NoisyJob:
    """Prints where native code prints; its value is what the process has imported of the terminal."""

    def run(self, link: Link) -> object:
        os.write(1, b"native noise on fd 1\n" * 50)
        print("python noise")
        link.send(JobReported("between"))
        os.write(1, b"\x00\xff more")
        return [name for name in sys.modules if name.partition(".")[0] in ("textual", "textual_plot", "rich")]


@dataclass(frozen=True)
class FailingJob:
    """Fails in the way that it is told to."""

    error: Exception

    def run(self, _link: Link) -> object:
        raise self.error


@dataclass(frozen=True)
class EndlessJob:
    """Counts until it is stopped."""

    def run(self, link: Link) -> object:
        count = 0
        while True:
            count += 1
            link.progress.stage(f"step {count}", 1 << 30, done=count)


@dataclass(frozen=True)
class CountingJob:
    """Takes many steps in two stages, faster than anybody looks."""

    n_steps: int

    def run(self, link: Link) -> object:
        for label in ("counting", "counting again"):
            link.progress.stage(label, self.n_steps)
            for _ in range(self.n_steps):
                link.progress.advance()
        return self.n_steps


@dataclass(frozen=True)
class StubbornJob:
    """Hears no stop."""

    def run(self, link: Link) -> object:
        while True:
            try:
                link.send(JobReported("on"))
                time.sleep(0.1)
            except KeyboardInterrupt:
                pass


@dataclass(frozen=True)
class FloodingJob:
    """Says more than any pipe holds."""

    def run(self, link: Link) -> object:
        while True:
            link.send(JobReported(b"x" * 100_000))


@dataclass(frozen=True)
class ParentJob:
    """Starts a process that keeps the pipes of this one, and tells its id."""

    def run(self, link: Link) -> object:
        child = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(300)"], stdin=subprocess.DEVNULL
        )
        link.send(JobReported(child.pid))
        child.wait()
        return None
