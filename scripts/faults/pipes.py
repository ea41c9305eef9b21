"""Streams that are closed, full or not read: a command says one line, or nothing, and leaves with a documented code."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from edgespec.errors import ExitCode

from .home import Home
from .process import Ended, end_all, run
from .trials import Outcome
from .work import EDGESPEC, Work

_MODEL: Final = "tiny.gguf"
COMMANDS: Final = (
    ("--help",),
    ("--version",),
    ("doctor", "--json"),
    ("models",),
    ("show", _MODEL),
    ("pair", _MODEL),
    ("plan", _MODEL),
    ("results",),
    ("eval", _MODEL, "--text", "text.txt"),
    ("run", _MODEL, "--draft", "none", "-p", "the heron", "-n", "200", "-t", "1"),
)
_SHELL: Final = {
    "stdout closed": '"$0" "$@" >&-',
    "stdout full": '"$0" "$@" >/dev/full',
    "stderr closed": '"$0" "$@" 2>&-',
    "stderr full": '"$0" "$@" 2>/dev/full',
    "stdin closed": '"$0" "$@" <&-',
    "all closed": '"$0" "$@" <&- >&- 2>&-',
    "reader gone": '{ "$0" "$@"; echo $? >&3; } 3>code | head -c 1; exit "$(cat code)"',
}


def streams(folder: Path, inputs: Path, seed: int) -> Outcome:
    """One command with one stream in trouble, both by the seed."""
    chance = random.Random(seed)
    arguments = COMMANDS[seed % len(COMMANDS)]
    trouble = [*_SHELL, "nobody reads"][seed // len(COMMANDS) % (len(_SHELL) + 1)]
    work = Work("streams", arguments, inputs=(_MODEL, "text.txt"))
    home = Home.make(folder / f"streams-{seed}", work, inputs)
    try:
        if trouble == "nobody reads":
            found = list(_unread(work, home, chance))
        else:
            ended = run(work, home, before=("sh", "-c", _SHELL[trouble]))
            found = list(
                ended.complaints() if "stderr" not in trouble and "all" not in trouble else _quiet(ended)
            )
        found += home.unfinished()
    finally:
        home.remove()
    return Outcome(1, tuple(f"{' '.join(arguments)}, {trouble}: {one}" for one in found))


def _quiet(ended: Ended) -> Iterator[str]:
    """Complaints about a run that could say nothing."""
    yield from ended.left_alive()
    if ended.code not in set(ExitCode):
        yield f"ended with {ended.code}"


def _unread(work: Work, home: Home, chance: random.Random) -> Iterator[str]:
    """A pipe that is filled before the command begins, so that its first word blocks; Ctrl-C ends it all the same."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    while True:
        try:
            os.write(writing, bytes(4096))
        except BlockingIOError:
            break
    os.set_blocking(writing, True)
    process = subprocess.Popen(
        [*EDGESPEC, *work.arguments],
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=home.folder / "work",
        env=home.environment(work),
        start_new_session=True,
    )
    os.close(writing)
    time.sleep(chance.uniform(1.0, 3.0))
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=20)
        yield from Ended(process.returncode, "", err.decode(errors="replace"), 0.0).complaints()
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        yield "Ctrl-C does not end it"
    finally:
        os.close(reading)
    for one in end_all(home.token):
        yield f"outlived by {one}"


Streams = Callable[[Path, Path, int], Outcome]
