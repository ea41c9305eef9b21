"""Renders chat templates within limits of time and memory, in a process of their own that starts with the first one."""

import atexit
import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edgespec.chat import jinja_process
from edgespec.errors import ModelFileError
from edgespec.lifetime import Closes
from edgespec.text import human_bytes, plain_text

LIMIT_S: Final = 5.0
"""Of the processor, for one request. The largest template of llama.cpp's collection takes 0.02 s."""
LIMIT_BYTES: Final = 1 << 30
"""Resident memory of the process; it begins with 20 MiB."""
_LOOK_EVERY_S: Final = 0.05
_HINT: Final = "`edgespec run` with `raw` sends a prompt without the template"


def template_error(words: str) -> ModelFileError:
    """The error of a template that fails, in its own words."""
    return ModelFileError(f"the model's chat template fails: {plain_text(words)}", _HINT)


class _RenderProcess(Closes):
    """One process; it is ended by whoever gives up on it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(jinja_process.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._answers: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._listen, name="chat templates", daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            for line in self._process.stdout:
                self._answers.put(line)
        self._answers.put(b"")

    def ask(self, request: Mapping[str, Any]) -> list[dict[str, str]]:
        """Has templates rendered.

        Raises:
            ModelFileError: it takes too long, too much memory, or ends the process.
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
                begun_s = self._check_limits(begun_s)
                continue
            if not line:
                raise template_error("it ended the process that renders it")
            results: list[dict[str, str]] = json.loads(line)["results"]
            return results

    def _check_limits(self, begun_s: float | None) -> float:
        """Looks how far it is; the seconds of the processor when it was first looked at.

        Time of the processor: a busy machine, or one that slept, is not the template's fault.
        """
        import psutil

        try:
            process = psutil.Process(self._process.pid)
            times, used_bytes = process.cpu_times(), process.memory_info().rss
        except psutil.Error:
            return begun_s or 0.0
        now_s = times.user + times.system
        if used_bytes > LIMIT_BYTES:
            raise template_error(f"it takes more than {human_bytes(LIMIT_BYTES)} of memory")
        if begun_s is not None and now_s - begun_s > LIMIT_S:
            raise template_error(f"it takes longer than {LIMIT_S:g} seconds")
        return now_s if begun_s is None else begun_s

    def close(self) -> None:
        """Ends the process. A second call does nothing."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()


_lock = threading.Lock()
_process: _RenderProcess | None = None


def render_all(source: str, calls: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Renders a template several times.

    Args:
        source: In Jinja.
        calls: The variables of each time; plain values, as JSON has them.

    Returns:
        For each a `text`, or an `error` in the template's own words.

    Raises:
        ModelFileError: beyond the limits.
    """
    global _process
    with _lock:
        if _process is None:
            _process = _RenderProcess()
        try:
            return _process.ask({"source": source, "calls": list(calls)})
        except BaseException:
            _end_process()
            raise


def _end_process() -> None:
    global _process
    process, _process = _process, None
    if process is not None:
        process.close()


atexit.register(_end_process)
