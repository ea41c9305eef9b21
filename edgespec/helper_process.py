"""Helper processes: they do what may never end, fill the memory or crash, and whoever asks outlives it.

A line of JSON is a request, a line of JSON its answer.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from edgespec.bound_process import python_path
from edgespec.lifetime import Closes
from edgespec.text import human_bytes

_LOOK_EVERY_S: Final = 0.05
_WINDOWS_ERROR: Final = 0xC0000000
_NO_MEMORY: Final = (0xC0000017, 0xC000012D)
"""Codes of Windows' ntstatus.h: where its errors begin, STATUS_NO_MEMORY and STATUS_COMMITMENT_LIMIT."""


class HelperLostError(Exception):
    """A request without an answer: the helper ended, or was given up. The message is a clause about what it was asked to do.

    Args:
        why: Such as `it takes longer than 5 seconds`.
        exit_code: Of a helper that ended by itself, as `subprocess` has it; None for one that was given up.
    """

    def __init__(self, why: str, exit_code: int | None = None) -> None:
        super().__init__(why)
        self.exit_code = exit_code


class HelperProcess(Closes):
    """One process; it is ended by whoever gives up on it.

    Args:
        command: The program and its arguments.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": python_path()},
        )
        self._answers: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._listen, name="helper's answers", daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            for line in self._process.stdout:
                self._answers.put(line)
        self._answers.put(b"")

    def ask(self, request: Mapping[str, Any], *, limit_s: float, limit_bytes: int) -> dict[str, Any]:
        """Sends a request and waits for its answer.

        Args:
            request: Of what JSON can say.
            limit_s: Seconds of the processor.
            limit_bytes: Resident memory of the process.

        Raises:
            HelperLostError: it takes too long or too much memory, or ends the process.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended, which the answer says
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        begun_s: float | None = None
        while True:
            try:
                line = self._answers.get(timeout=_LOOK_EVERY_S)
            except queue.Empty:
                begun_s = self._check_limits(begun_s, limit_s, limit_bytes)
                continue
            if not line:
                code = self._process.wait()
                raise HelperLostError(f"the process that does it {describe_exit(code)}", code)
            answer: dict[str, Any] = json.loads(line)
            return answer

    def _check_limits(self, begun_s: float | None, limit_s: float, limit_bytes: int) -> float:
        """Looks how far it is; the seconds of the processor when it was first looked at.

        Time of the processor: a busy machine, or one that slept, is not the request's fault.
        """
        import psutil

        try:
            process = psutil.Process(self._process.pid)
            times, used_bytes = process.cpu_times(), process.memory_info().rss
        except psutil.Error:
            return begun_s or 0.0
        now_s = times.user + times.system
        if used_bytes > limit_bytes:
            raise HelperLostError(f"it takes more than {human_bytes(limit_bytes)} of memory")
        if begun_s is not None and now_s - begun_s > limit_s:
            raise HelperLostError(f"it takes longer than {limit_s:g} seconds")
        return now_s if begun_s is None else begun_s

    def close(self) -> None:
        """Ends the process. A second call does nothing."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()


def describe_exit(code: int) -> str:
    """Why a process ended, from its return code."""
    if code in _NO_MEMORY:
        return f"was ended (0x{code:X}), as Windows does when memory runs out"
    if code >= _WINDOWS_ERROR:
        return f"crashed (0x{code:X})"
    if code >= 0:
        return f"ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if -code == getattr(signal, "SIGKILL", 0):
        return f"was killed ({name}), as the system does when memory runs out"
    return f"crashed ({name})"
