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
from typing import Any


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


def own_group(system: str = os.name) -> dict[str, Any]:
    """Options for a process that Ctrl-C in this terminal does not reach, because its parent decides what becomes of it.

    A session of its own, or among consoles of Windows a group of its own (CREATE_NEW_PROCESS_GROUP).
    """
    return {"start_new_session": True} if system == "posix" else {"creationflags": 0x200}


def exit_status(code: int) -> int:
    """What a process ends with that passes on how its child ended: 128 and the number of a signal.

    What Windows ends a process with has 32 bits without a sign (0xC0000005 for a crash), and is passed on as the same bits with one.
    """
    if code < 0:
        return 128 - code
    return code - (1 << 32) if code >= 1 << 31 else code


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
    os._exit(exit_status(child.wait()))


if __name__ == "__main__":
    main()
