"""What goes wrong with a device: it is not there, it refuses memory, it is lost, the user stops. One line each, and nothing hangs."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from .machine import LIMIT_S, REPOSITORY, Machine, last_line

_SOURCE: Final = Path(__file__).with_name("lost_device.c")
_PROMPT: Final = (
    "-p",
    "Name three colours and say what each is like.",
    "--draft",
    "none",
    "--gpu-layers",
    "all",
)
_LOST_AT: Final = (0, 40)
"""Submissions: while the weights are loaded, and while tokens are computed."""
_BUFFER_BYTES: Final = 1 << 20
_LOADER: Final = "libvulkan.so.1"


def check_hidden(machine: Machine, target: Path) -> None:
    """Without a device the same build computes on the CPU, and says so."""
    hidden = machine.hidden()
    if not hidden:
        return
    ran = machine.edgespec("run", target, *_PROMPT, "-n", "8", **hidden)
    warned = "no GPU" in ran.stderr
    machine.add(
        "no device is there", last_line(ran.stderr), ran.returncode == 0 and warned and bool(ran.stdout)
    )
    doctor = machine.edgespec("--offline", "doctor", **hidden)
    said = next((line for line in doctor.stdout.splitlines() if "GPU" in line), "")
    machine.add("no device is there: doctor", said, doctor.returncode == 0 and "sees no GPU" in said)


def check_unknown(machine: Machine, target: Path) -> None:
    """A device that there is not is refused by name."""
    ran = machine.edgespec("run", target, *_PROMPT, "-n", "4", "--device", "Nowhere0")
    machine.add("a device that there is not", last_line(ran.stderr), is_one_line(ran, 2))


def check_allocation(machine: Machine, target: Path) -> None:
    """A buffer that the device refuses is an error of memory."""
    if machine.backend != "vulkan":
        machine.add("a buffer that is refused", "only with Vulkan can that be had on purpose", None)
        return
    sizes = {
        "GGML_VK_FORCE_MAX_BUFFER_SIZE": str(_BUFFER_BYTES),
        "GGML_VK_FORCE_MAX_ALLOCATION_SIZE": str(_BUFFER_BYTES),
    }
    ran = machine.edgespec("run", target, *_PROMPT, "-n", "4", **sizes)
    machine.add("a buffer that is refused", last_line(ran.stderr), is_one_line(ran, 4))


def check_lost(machine: Machine, target: Path) -> None:
    """A device that is lost ends the command with one line."""
    if machine.backend != "vulkan" or sys.platform != "linux" or not shutil.which("cc"):
        machine.add("a device that is lost", "only with Vulkan on Linux can that be had on purpose", None)
        return
    layer = machine.home / "lost_device.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(layer), str(_SOURCE), "-ldl"], check=True)
    for at in _LOST_AT:
        preloaded = {"LD_PRELOAD": f"{layer} {_LOADER}", "EDGESPEC_LOST_AT": str(at)}
        ran = machine.edgespec("run", target, *_PROMPT, "-n", "200", **preloaded)
        what = f"a device that is lost at submission {at}"
        machine.add(what, f"exit {ran.returncode}: {last_line(ran.stderr)}", is_one_line(ran, 1))


def check_stop(machine: Machine, target: Path) -> None:
    """Ctrl-C in mid-answer."""
    command = [sys.executable, "-m", "edgespec", "run", str(target), *_PROMPT, "-n", "4000", "-c", "8192"]
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=machine.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.read(8)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT_S)
    said = last_line(err.decode("utf-8", "replace"))
    good = (process.returncode, said) == (130, "edgespec: interrupted") and len(first) == 8
    machine.add("Ctrl-C in mid-answer", f"exit {process.returncode}: {said}", good)


def is_one_line(ran: "subprocess.CompletedProcess[str]", code: int) -> bool:
    """Whether a command ended with this code and one line of edgespec's own."""
    said = last_line(ran.stderr)
    return ran.returncode == code and said.startswith("edgespec: ") and "bug in edgespec" not in ran.stderr
