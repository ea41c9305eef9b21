"""The machine that is checked: how edgespec is started on it, what it computes on, and the table of what was seen."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from edgespec.helper_process import describe_exit

Backend = Literal["cpu", "vulkan", "cuda"]

PREFIXES: Final[Mapping[Backend, str]] = {"cpu": "CPU", "vulkan": "Vulkan", "cuda": "CUDA"}
"""What llama.cpp calls the devices of a backend, before their number."""
_VISIBLE: Final[Mapping[Backend, str]] = {"vulkan": "GGML_VK_VISIBLE_DEVICES", "cuda": "CUDA_VISIBLE_DEVICES"}
_HIDDEN: Final[Mapping[Backend, dict[str, str]]] = {
    "vulkan": {"VK_ICD_FILENAMES": os.devnull, "VK_DRIVER_FILES": os.devnull, "GGML_VK_VISIBLE_DEVICES": ""},
    "cuda": {"CUDA_VISIBLE_DEVICES": "-1"},
}
REPOSITORY: Final = Path(__file__).resolve().parents[2]
LIMIT_S: Final = 1800.0
"""Of a process; the slowest device known is a processor that plays one."""


class FailedError(Exception):
    """A process of edgespec ended in an error; the message is its last line."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table."""

    what: str
    seen: str
    ok: bool | None
    """None where it is only told."""


@dataclass(slots=True)
class Machine:
    """Starts edgespec with the devices of a backend.

    Args:
        backend: Which devices.
        home: For all that edgespec keeps.
    """

    backend: Backend
    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    devices: tuple[dict[str, Any], ...] = ()
    """Of the backend, as llama.cpp reports them."""
    checks: list[Check] = field(default_factory=list)

    def look(self, model: Path) -> dict[str, Any]:
        """Finds the devices, and says what a model is. A processor that plays a device is taken where there is no other."""
        found = self._describe(model)
        if not self.devices and self.backend == "vulkan":
            # llama.cpp takes such a one only where it is told to.
            self.environment[_VISIBLE["vulkan"]] = "0"
            try:
                found = self._describe(model)
            except FailedError:
                del self.environment[_VISIBLE["vulkan"]]
        return found

    def _describe(self, model: Path) -> dict[str, Any]:
        told = self.ask({"describe": str(model)})
        own = [device for device in told["devices"] if device["name"].startswith(PREFIXES[self.backend])]
        self.devices = tuple(own)
        return dict(told["model"])

    def add(self, what: str, seen: str, ok: bool | None) -> None:
        """A line for the table, told at once."""
        self.checks.append(Check(what, seen, ok))
        print(line_of(self.checks[-1]), flush=True)

    def ask(self, asked: dict[str, Any] | list[dict[str, Any]], **environment: str) -> Any:
        """What `answers.py` tells, in one process: some drivers take long to make the first pass there.

        Raises:
            FailedError: it ended in an error.
        """
        command = [sys.executable, "-m", "scripts.check_gpu.answers", json.dumps(asked)]
        ran = self.start(command, **environment)
        if ran.returncode:
            # Of a crash the last line of stderr is any.
            crashed = describe_exit(ran.returncode) if ran.returncode < 0 else ""
            raise FailedError(crashed or last_line(ran.stderr) or describe_exit(ran.returncode))
        return json.loads(ran.stdout)

    def edgespec(self, *arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Runs a command to its end."""
        return self.start([sys.executable, "-m", "edgespec", *map(str, arguments)], **environment)

    def start(self, command: Sequence[str], **environment: str) -> "subprocess.CompletedProcess[str]":
        """Runs a process to its end."""
        return subprocess.run(
            command,
            cwd=REPOSITORY,
            env=self.variables(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=LIMIT_S,
        )

    def variables(self, **more: str) -> dict[str, str]:
        """The environment of a process."""
        own = {"EDGESPEC_HOME": str(self.home), "NO_COLOR": "1", "GGML_NO_BACKTRACE": "1", "COLUMNS": "160"}
        return {**os.environ, **own, **self.environment, **more}

    def hidden(self) -> dict[str, str]:
        """Variables with which the backend has no device."""
        return dict(_HIDDEN.get(self.backend, {}))

    def twice(self) -> dict[str, str]:
        """Variables with which there are two devices: those there are, or the first one counted twice."""
        if len(self.devices) > 1 or self.backend not in _VISIBLE:
            return {}
        return {_VISIBLE[self.backend]: "0,0"}


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def line_of(check: Check) -> str:
    """A check as a line of a Markdown table."""
    verdict = "told" if check.ok is None else "ok" if check.ok else "WRONG"
    seen = check.seen.replace("|", "/")
    return f"| {check.what} | {seen} | {verdict} |"
