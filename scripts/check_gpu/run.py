"""All checks of a machine, one after another."""

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgespec.catalog.resolve import open_model
from edgespec.catalog.toml_file import load_catalog

from .machine import FailedError, Machine, last_line, line_of
from .placements import check_memory, check_placements
from .speeds import check_bench, check_curve, plot_curves
from .troubles import check_allocation, check_hidden, check_lost, check_stop, check_unknown

SMALL = "smollm2-135m"
PAIR = "qwen2.5-coder"


def run(arguments: argparse.Namespace) -> int:
    """Runs all checks. Returns 0, or 1 where one went wrong."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgespec-gpu-") as folder:
        machine = Machine(arguments.backend, Path(folder))
        small = model_file(arguments.target or SMALL)
        draft = model_file(arguments.draft) if arguments.draft else small
        model = machine.look(small)
        if check_doctor(machine):
            run_checks(machine, small, draft, model, arguments)
    wrong = [check for check in machine.checks if check.ok is False]
    print(
        f"\n{len(machine.checks) - len(wrong)} of {len(machine.checks)} as they should be, {time.monotonic() - started:.0f} s"
    )
    for check in wrong:
        print(line_of(check))
    return 1 if wrong or not machine.checks else 0


def model_file(spec: str) -> Path:
    """A model's file; fetched where it is not here."""
    return open_model(spec, load_catalog(), offline=False).path


def run_checks(
    machine: Machine, small: Path, draft: Path, model: dict[str, Any], arguments: argparse.Namespace
) -> None:
    """Those that were asked for, all by default; one that fails does not keep the others from being made."""
    tokens: int = arguments.tokens
    checks: dict[str, Callable[[], object]] = {
        "tests": lambda: check_tests(machine),
        "placements": lambda: check_placements(
            machine, small, draft, n_layers=model["n_layers"], max_tokens=tokens
        ),
        "memory": lambda: check_memory(machine, small),
        "unknown": lambda: check_unknown(machine, small),
        "hidden": lambda: check_hidden(machine, small),
        "allocation": lambda: check_allocation(machine, small),
        "lost": lambda: check_lost(machine, small),
        "stop": lambda: check_stop(machine, small),
        "curve": lambda: draw_curves(machine, small, arguments),
        "bench": lambda: check_benches(machine, small, draft, arguments),
    }
    for name, check in checks.items():
        if arguments.only and name not in arguments.only:
            continue
        try:
            check()
        except FailedError as failed:
            machine.add(name, str(failed), False)
        except subprocess.TimeoutExpired as hung:
            machine.add(name, f"no end after {hung.timeout:.0f} s", False)


def check_doctor(machine: Machine) -> bool:
    """What `doctor` says of the build; False where the backend has no device."""
    print(f"{platform.platform()}, {machine.backend}\n\n| what | seen | |\n|---|---|---|")
    ran = machine.edgespec("--offline", "doctor")
    for device in machine.devices:
        own = f", at {device['card']}" if device["card"] else ""
        line = (
            f"{device['kind']}, {device['description']}, {device['memory_total_bytes'] / 2**30:.1f} GiB{own}"
        )
        listed = device["name"] in ran.stdout and device["description"] in ran.stdout
        machine.add(f"doctor lists {device['name']}", line, listed and ran.returncode == 0)
    kernels = next((line.split(maxsplit=1)[1] for line in ran.stdout.splitlines() if "Kernels" in line), "")
    machine.add("kernels of the CPU", kernels, kernels.startswith("edgespec") or None)
    if not machine.devices:
        machine.add("devices", f"this build sees no device of {machine.backend}", False)
    return bool(machine.devices)


def check_tests(machine: Machine) -> None:
    """The tests that are marked for devices."""
    ran = machine.start(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", "tests/gpu"]
    )
    machine.add("tests marked gpu", last_line(ran.stdout), ran.returncode == 0)


def draw_curves(machine: Machine, small: Path, arguments: argparse.Namespace) -> None:
    """Of the small model, and of the pair's target where speeds are wanted."""
    targets = [small, *([model_file(f"{PAIR}-1.5b")] if arguments.speeds else [])]
    curves = {target.stem: check_curve(machine, target) for target in targets}
    if arguments.plot:
        plot_curves(curves, arguments.plot)


def check_benches(machine: Machine, small: Path, draft: Path, arguments: argparse.Namespace) -> None:
    """With speeds in earnest, else a short one of the small model, which only shows that it runs."""
    check_bench(machine, small, draft if arguments.draft else None, is_short=not arguments.speeds)
    if arguments.speeds:
        check_bench(machine, model_file(f"{PAIR}-1.5b"), model_file(f"{PAIR}-0.5b"), is_short=False)
