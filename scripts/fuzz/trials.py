"""The loop: a damaged file, a command in a child, a look at how it ended."""

import random
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from .children import Ended, run_in_child
from .commands import Command, Place, fault_of, place_of_bug
from .damage import damaged
from .helpers import start_forking
from .seeds import Seed

_BATCH: Final = 200
"""Files that Hypothesis makes before it starts afresh."""


def _zeros() -> defaultdict[str, float]:
    return defaultdict(float)


@dataclass(slots=True)
class Tally:
    """What was tried, and what came of it."""

    files: int = 0
    succeeded: int = 0
    refused: int = 0
    commands: Counter[str] = field(default_factory=Counter)
    """Files by command."""
    seconds: dict[str, float] = field(default_factory=_zeros)
    """By command."""
    faults: Counter[str] = field(default_factory=Counter)
    """By kind."""
    examples: dict[str, str] = field(default_factory=dict)
    """By kind: the command and the folder that has the file."""

    def add(self, other: "Tally") -> None:
        """Puts another's figures to these."""
        self.files += other.files
        self.succeeded += other.succeeded
        self.refused += other.refused
        self.commands += other.commands
        for name, seconds in other.seconds.items():
            self.seconds[name] += seconds
        self.faults += other.faults
        self.examples = other.examples | self.examples


def _prepared(action: Callable[[], int]) -> Callable[[], int]:
    def run() -> int:
        start_forking()
        return action()

    return run


@dataclass(slots=True)
class Trials:
    """One stream of files; several may run side by side in processes of their own."""

    seeds: Sequence[Seed]
    commands: Sequence[Command]
    folder: Path
    """Its own; the home is in it."""
    kept: Path
    """Takes an example of every kind of fault."""
    deadline_s: float
    """Of `time.monotonic`."""
    tally: Tally = field(default_factory=Tally)
    _turn: int = 0

    def run_batch(self, number: int, most: int) -> Tally:
        """Tries up to `most` files, and gives the figures of these alone.

        Args:
            number: Of the batch: the same one makes the same files.
            most: Files.
        """
        self.tally = Tally()

        @seed(number)
        @settings(
            max_examples=min(most, _BATCH),
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.data())
        def attempt(data: st.DataObject) -> None:
            chosen = data.draw(st.sampled_from(self.seeds))
            damaged_part = data.draw(st.integers(0, len(chosen.parts) - 1))
            content = data.draw(damaged(chosen.parts[damaged_part][1]))
            # Hypothesis wants to draw the same whenever it looks.
            if time.monotonic() < self.deadline_s:
                self._try(chosen, damaged_part, content)

        # Hypothesis seeds and restores the global generator itself; the turn of commands must not follow it.
        self._turn = random.Random(number).randrange(len(self.commands))
        attempt()
        return self.tally

    def _try(self, chosen: Seed, damaged_part: int, data: bytes) -> None:
        command = self._next_command(chosen)
        place = self._lay_out(chosen, damaged_part, data)
        began_s = time.monotonic()
        ended = run_in_child(_prepared(command.action(place)), self.folder)
        self.tally.seconds[command.name] += time.monotonic() - began_s
        self.tally.files += 1
        self.tally.commands[command.name] += 1
        fault = fault_of(command, ended)
        if not fault:
            self.tally.succeeded += ended.code == 0
            self.tally.refused += ended.code != 0
            return
        if fault == "bug":
            again = run_in_child(_prepared(command.action(place, "--debug")), self.folder)
            fault = f"bug: {place_of_bug(again.err)}"
        self._keep(f"{fault} [{command.name}]", command, place, ended)

    def _next_command(self, chosen: Seed) -> Command:
        while True:
            self._turn += 1
            command = self.commands[self._turn % len(self.commands)]
            # What reads importance matrices gets them, and now and then something else.
            if (
                (command.name == "imatrix") == chosen.is_imatrix
                or not self._turn % 7
                or len(self.commands) == 1
            ):
                return command

    def _lay_out(self, chosen: Seed, damaged_part: int, data: bytes) -> Place:
        models = self.folder / "models"
        shutil.rmtree(models, ignore_errors=True)
        models.mkdir()
        sound = models / "sound.gguf"
        sound.hardlink_to(self.folder / "sound.gguf")
        for number, (name, file) in enumerate(chosen.parts):
            (models / name).write_bytes(data if number == damaged_part else file.encode())
        out = self.folder / "out.gguf"
        out.unlink(missing_ok=True)
        return Place(models / chosen.parts[0][0], sound, self.folder / "text.txt", out)

    def _keep(self, fault: str, command: Command, place: Place, ended: Ended) -> None:
        self.tally.faults[fault] += 1
        if fault in self.tally.examples:
            return
        number = sum(1 for _ in self.kept.iterdir())
        folder = self.kept / f"{self.folder.name}-{number:04d}"
        shutil.copytree(place.file.parent, folder)
        typed = " ".join(command.arguments(place)) or command.name
        said = f"{fault}\nedgespec {typed}\n\n{ended.out}\n{ended.err}"
        (folder / "fault.txt").write_text(said, encoding="utf-8")
        self.tally.examples[fault] = f"{typed}  ({folder})"
