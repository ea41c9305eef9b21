"""Stands in for edgespec's helper processes: forks, where starting Python would take most of the time.

They are forked from a process that has everything loaded and computes nothing: the threads of llama.cpp do not come with a
fork, and who waits for them waits for ever.
"""

import json
import os
import resource
import select
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edgespec.helper_process import HelperLostError, describe_exit
from edgespec.lifetime import Closes

from .children import STEP_S, address_bytes, wants_processor

_PROCESSOR_S: Final = 5
_WALL_S: Final = 60.0

_requests = _answers = -1
"""Pipes to and from the process that forks, once there is one."""


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
        sent = {"trial": self._does_trials, "limit_bytes": limit_bytes, "request": dict(request)}
        _write_all(_requests, json.dumps(sent).encode() + b"\n")
        line = _read_line(_answers)
        if line is None:
            raise HelperLostError(f"it takes longer than {_PROCESSOR_S} seconds")
        answer: dict[str, Any] = json.loads(line)
        if "lost" in answer:
            raise HelperLostError(f"the process that does it {answer['lost']}", 1)
        return answer

    def close(self) -> None:
        """There is nothing to end."""


def stand_in() -> None:
    """From here on helpers are forked."""
    from edgespec.chat import renderer
    from edgespec.llama import trial, trial_process  # noqa: F401 (for the children)

    for module in (renderer, trial):
        module.HelperProcess = ForkedHelper  # type: ignore[attr-defined]


def start_forking() -> None:
    """Forks the process that forks helpers for this one."""
    global _requests, _answers
    (asked, _requests), (_answers, answered) = os.pipe(), os.pipe()
    if os.fork():
        os.close(asked)
        os.close(answered)
        return
    os.close(_requests)
    os.close(_answers)
    try:
        while line := _read_line(asked, waits=True):
            _serve(json.loads(line), answered)
    finally:
        os._exit(0)


def _serve(sent: dict[str, Any], answered: int) -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        _be_the_helper(sent, writer)
    os.close(writer)
    line = _read_line(reader)
    os.close(reader)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    _write_all(answered, line or json.dumps({"lost": describe_exit(code)}).encode() + b"\n")


def _be_the_helper(sent: dict[str, Any], writer: int) -> None:
    """Never returns."""
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (_PROCESSOR_S, _PROCESSOR_S + 1))
        most_bytes = address_bytes() + sent["limit_bytes"]
        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
        answer = _try_file(sent["request"], writer) if sent["trial"] else _render(sent["request"])
        _write_all(writer, json.dumps(answer).encode() + b"\n")
    finally:
        os._exit(0)


def _try_file(request: dict[str, Any], writer: int) -> dict[str, Any]:
    from edgespec.llama.native_end import on_native_end
    from edgespec.llama.trial_process import try_file

    on_native_end(lambda words: _write_all(writer, json.dumps({"ended": words}).encode() + b"\n"))
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


def _read_line(reader: int, *, waits: bool = False) -> bytes | None:
    """A line, what there is of one at the end, or None where it takes too long."""
    data = bytearray()
    waited_s = 0.0
    while waits or waited_s < _WALL_S:
        if not select.select([reader], [], [], STEP_S)[0]:
            waited_s += 0.0 if waits or wants_processor(os.getsid(0)) else STEP_S
            continue
        more = os.read(reader, 1 << 16)
        data += more
        if not more or data.endswith(b"\n"):
            return bytes(data)
    return None
