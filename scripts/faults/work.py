"""What is done while things go wrong. A work says how it is begun, gone through and left; what goes wrong is no concern of it.

A command of edgespec is a `Work` in `commands.py` and nothing more. What needs somebody to use it, such as the chat
(`chat.py`) or a server, is a class of its own here beside, with its own `use` and `leave`.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .process import Running

EDGESPEC: Final = (sys.executable, "-m", "edgespec")
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Work:
    """A command that ends by itself."""

    name: str
    arguments: tuple[str, ...]
    program: tuple[str, ...] = EDGESPEC
    environment: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    """Names in the folder of inputs; the home gets copies in its folder `work`, where the command runs."""
    varies: bool = False
    """It measures or talks: which files it writes is not the same every time."""
    needs_terminal: bool = False

    def next_arguments(self, folder: Path) -> tuple[str, ...]:
        """Of the run that follows a fault, in a folder with what that left: a file that is whole may be replaced."""
        is_there = "out.gguf" in self.arguments and (folder / "out.gguf").exists()
        return (*self.arguments, "--force") if is_there else self.arguments

    def use(self, running: Running, seconds: float) -> bool:
        """Does with it what its user does, for so long at most; True when that is done, or it has ended."""
        return running.wait(seconds) is not None

    def leave(self, running: Running, seconds: float) -> int | None:
        """Ends it as its user does; the exit code, None where it does not end."""
        return running.wait(seconds)

    def missed(self, running: Running) -> Iterator[str]:
        """What a user misses in a run that nothing happened to."""
        if running.process.returncode:
            yield f"ended with {running.process.returncode}: {running.last_line()}"

    def troubles(self, _running: Running) -> Iterator[str]:
        """What may not be, whatever happened to it: asked once all of its processes have ended."""
        yield from ()
