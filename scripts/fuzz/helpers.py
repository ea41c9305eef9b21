"""Stands in for edgespec's helper processes: a fork of the process that asks, where starting Python would take most of the time."""

import json
import os
import resource
import select
import signal
from collections.abc import Mapping, Sequence
from typing import Any, Final

from edgespec.helper_process import HelperLostError, describe_exit
from edgespec.lifetime import Closes

from .children import address_bytes

_PROCESSOR_S: Final = 5
_WALL_S: Final = 60.0
_STEP_S: Final = 0.5


class ForkedHelper(Closes):
    """As `edgespec.helper_process.HelperProcess`; every request has a process of its own.

    Args:
        command: What would be started; it says which helper this is.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._does_trials = command[-1].endswith("trial_process")

    def ask(self, request: Mapping[str, Any], *, limit_s: float, limit_bytes: int) -> dict[str, Any]:
        """Answers within limits of its own.

        Raises:
            HelperLostError: the process ended without an answer, or took too long.
        """
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            self._answer(dict(request), writer, limit_bytes)
        os.close(writer)
        answer = _read_all(reader)
        os.close(reader)
        if answer is None:
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if answer is None or -code == signal.SIGXCPU:
            raise HelperLostError(f"it takes longer than {_PROCESSOR_S} seconds")
        if not answer:
            raise HelperLostError(f"the process that does it {describe_exit(code)}", code)
        found: dict[str, Any] = json.loads(answer)
        return found

    def _answer(self, request: dict[str, Any], writer: int, limit_bytes: int) -> None:
        """Never returns."""
        try:
            used = resource.getrusage(resource.RUSAGE_SELF)
            most = int(used.ru_utime + used.ru_stime) + _PROCESSOR_S
            resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))
            most_bytes = address_bytes() + limit_bytes
            resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
            answer = _try_file(request, writer) if self._does_trials else _render(request)
            _write_all(writer, json.dumps(answer).encode())
        finally:
            os._exit(0)

    def close(self) -> None:
        """There is nothing to end."""


def _try_file(request: dict[str, Any], writer: int) -> dict[str, Any]:
    from pathlib import Path

    from edgespec.llama.library import on_native_abort
    from edgespec.llama.trial_process import try_file

    on_native_abort(lambda words: _write_all(writer, json.dumps({"ended": words}).encode()))
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    try_file(Path(request["path"]), request["use"])
    return {}


def _render(request: dict[str, Any]) -> dict[str, Any]:
    from edgespec.chat.jinja_process import render

    return {"results": [render(request["source"], variables) for variables in request["calls"]]}


def _write_all(writer: int, data: bytes) -> None:
    while data:
        data = data[os.write(writer, data) :]


def _read_all(reader: int) -> bytes | None:
    """All that comes; None where it takes too long."""
    data = b""
    # In short steps: time for which all of this was stopped does not count.
    for _ in range(int(_WALL_S / _STEP_S)):
        while select.select([reader], [], [], _STEP_S)[0]:
            more = os.read(reader, 1 << 20)
            if not more:
                return data
            data += more
    return None


def stand_in() -> None:
    """From here on helpers are forked."""
    from edgespec.chat import renderer
    from edgespec.llama import trial

    for module in (renderer, trial):
        module.HelperProcess = ForkedHelper  # type: ignore[attr-defined]
