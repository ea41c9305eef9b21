"""Runs another program that speaks over stdin and stdout, and ends it with whoever started this one, however that ends.

Run as a program of its own: what comes on its stdin goes to the other's, and when that ends, the other has a moment left.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import IO

_LEFT_S = 1.0
"""What a program may take to end once nothing comes any more."""


def main() -> None:
    """Runs the program that the arguments name."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the app's affair
    if os.name == "posix" and os.getpgrp() != os.getpid():
        os.setpgrp()  # what is ended in the end is this group
    program = shutil.which(sys.argv[1]) or sys.argv[1]
    try:
        child = subprocess.Popen([program, *sys.argv[2:]], stdin=subprocess.PIPE)
    except OSError as error:
        sys.stderr.write(f"{sys.argv[1]} cannot be started: {error.strerror or error}\n")
        sys.exit(127)
    assert child.stdin is not None
    threading.Thread(target=_pass_on, args=(child, child.stdin), daemon=True).start()
    code = child.wait()
    _end_group()
    os._exit(code if code >= 0 else 128 - code)


def _pass_on(child: subprocess.Popen[bytes], stdin: IO[bytes]) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(0, 1 << 16):
            stdin.write(data)
            stdin.flush()
    with contextlib.suppress(OSError):
        stdin.close()
    try:
        child.wait(_LEFT_S)
    except subprocess.TimeoutExpired:
        _end_group()
        child.kill()


def _end_group() -> None:
    """Ends all that the program has started, and this one."""
    if os.name == "posix":
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
