"""Other programs that end with this process, however it ends: a kill leaves nothing running.

Such a program is started by this file, run as a program of its own. It waits for its stdin to end, which the system does
when the parent is gone, and then ends what it started.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def bound_process(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Runs a program for as long as the block runs, and no longer than this process.

    Its stdin is empty, and what it says on stderr comes on stdout. The return code is there after the block; that of a
    signal is 128 and its number.

    Args:
        command: The program and its arguments. Python wants `-P`, or the current folder is on its path.
        environment: Its variables; None for those of this process.

    Raises:
        OSError: no process can be started.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", str(Path(__file__).resolve()), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=environment,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process
    except BaseException:
        process.stdin.close()  # ends it
        raise
    finally:
        process.wait()
        process.stdin.close()
        process.stdout.close()


def python_path() -> str:
    """PYTHONPATH for a process of this program: the folder of this package is on it, wherever that is started."""
    root = str(Path(__file__).resolve().parents[1])
    return os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])


def _end_with_parent(child: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1 << 12):
        pass
    with contextlib.suppress(OSError):
        child.kill()


def main() -> None:
    """Runs the program that the arguments name, until it ends or stdin does."""
    # Ctrl-C in a terminal reaches all of them, and the parent decides. A handler is not inherited, "ignore" would be.
    signal.signal(signal.SIGINT, lambda *_: None)
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_parent, args=(child,), daemon=True).start()
    code = child.wait()
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
