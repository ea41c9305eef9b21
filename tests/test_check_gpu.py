"""The script that executes what a device is for, on a machine that may have none: its machinery on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgespec.llama.devices import default_devices, list_devices
from scripts.check_gpu.machine import Check, Machine, line_of
from scripts.check_gpu.placements import compare

REPOSITORY = Path(__file__).resolve().parents[1]


def check(*arguments: str | Path) -> tuple[int, str]:
    """Exit code and table."""
    ran = subprocess.run(
        [sys.executable, "-m", "scripts.check_gpu", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert ran.stderr == ""
    return ran.returncode, ran.stdout


def test_all_of_it_can_be_tried_on_the_cpu(tiny_model: Path, tiny_draft: Path):
    wanted = ("placements", "memory", "unknown", "stop")
    only = [word for name in wanted for word in ("--only", name)]
    code, table = check(
        "--backend", "cpu", "--target", tiny_model, "--draft", tiny_draft, "--tokens", "6", *only
    )
    assert code == 0, table
    assert "| doctor lists CPU | cpu, " in table
    assert "| pair | all layers on the CPU; 3 texts equal; " in table
    assert "| a device that there is not | edgespec: there is no device 'Nowhere0'" in table
    assert "| Ctrl-C in mid-answer | exit 130: edgespec: interrupted | ok |" in table
    assert "WRONG" not in table


@pytest.mark.skipif(
    any(device.name.startswith("CUDA") for device in default_devices(list_devices())),
    reason="this machine has such a device",
)
def test_a_backend_without_a_device_is_wrong(tiny_model: Path):
    code, table = check("--backend", "cuda", "--target", tiny_model)
    assert code == 1
    assert "| devices | this build sees no device of cuda | WRONG |" in table


def test_texts_that_differ_are_judged_by_the_gap_of_the_cpus_logits(tiny_model: Path, tmp_path: Path):
    machine = Machine("cpu", tmp_path)
    asked = {"target": str(tiny_model), "draft": "none", "prompts": ["the cat and"], "max_tokens": 5}
    told = machine.ask(asked)
    other = {**told, "answers": [[*told["answers"][0][:2], 0, 0, 0]]}
    assert compare(machine, tiny_model, told, told) == ("1 texts equal", True)
    words, is_tie = compare(machine, tiny_model, told, other)
    (gap,) = machine.ask(
        {"target": str(tiny_model), "gaps": [[*told["prompts"][0], *told["answers"][0][:2]]]}
    )
    assert words == f"0 texts equal, 1 apart at a gap of {gap:.2f} logits"
    assert is_tie is (gap <= 1)


@pytest.mark.parametrize(("ok", "word"), [(True, "ok"), (False, "WRONG"), (None, "told")])
def test_a_line_of_the_table(ok: bool | None, word: str):
    assert line_of(Check("what", "a | b", ok)) == f"| what | a / b | {word} |"
