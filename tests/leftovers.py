"""What a writer that was killed leaves, made by one that is."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WRITER = """
import sys, time
from pathlib import Path
from edgespec.files import scratch_folder

with scratch_folder(Path(sys.argv[1])) as folder, scratch_folder(folder):
    (folder / "half.gguf").write_bytes(bytes(int(sys.argv[2])))
    print(folder, flush=True)
    time.sleep(600)
"""


@contextmanager
def writing(parent: Path, n_bytes: int = 5000, under: tuple[str, ...] = ()) -> Iterator[Path]:
    """A process that works in a scratch folder of `parent`, the value; killed at the end.

    Args:
        parent: Made where it is not there.
        n_bytes: Of what it has written.
        under: A program that starts it, with its arguments.
    """
    parent.mkdir(parents=True, exist_ok=True)
    command = [*under, sys.executable, "-c", _WRITER, str(parent), str(n_bytes)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield Path(process.stdout.readline().strip())
        finally:
            process.kill()


def leave_behind(parent: Path, n_bytes: int = 5000) -> Path:
    """The scratch folder of a writer that was killed."""
    with writing(parent, n_bytes) as folder:
        pass
    return folder
