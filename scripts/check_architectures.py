"""Runs a tiny model of every architecture through what edgespec does with models, and writes the table of it.

    python scripts/check_architectures.py FOLDER/woken [--only REGEX] [--jobs 2] [--keep results.json] [--output docs/architectures.md]

The models are those of `build_test_archs.py`, woken: they feel every token of their context, so a memory that is wrong
shows in the text. Everything runs in processes of its own with limits of time and memory, so a crash is a result. Exits
with 1 where a command crashed, showed a traceback, or drafted another text than the plain one. Not part of CI.
"""

import argparse
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from architecture_table import MOST_DRIFT, is_tie, table

SCRIPTS = Path(__file__).resolve().parent
CPU_S = 90
"""Of a process; the slowest needs 10."""
WALL_S = 1800
"""Far more, as the machine may be busy with something else."""
MEMORY_BYTES = 12 * 2**30
_BUG = re.compile(r"Traceback \(most recent|unexpected \w+|this is a defect|this is a bug|report this defect")
_TEXT_TOKENS = 2048
_CHARACTERS_PER_TOKEN = 5
"""Of the tokenizer that these models have."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a process ended."""

    kind: str
    """`ok`, `refused`, `bug` (a traceback or its one-line form), `crash` or `time`."""
    said: str = ""
    """The last line of stderr, or the signal."""
    code: int = 0


@dataclass(slots=True)
class Result:
    """A model with all that was tried."""

    name: str
    commands: dict[str, Ran] = field(default_factory=dict)
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What `architecture_trial.py` told, by step."""
    trial: Ran = field(default_factory=lambda: Ran("ok"))


def main() -> int:
    """Runs all models. Returns 0, or 1 where something is wrong with one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the models")
    parser.add_argument("--only", default="", help="only models whose name this regular expression finds")
    parser.add_argument("--jobs", type=int, default=1, help="models that are tried at once")
    parser.add_argument("--keep", type=Path, help="a JSON file for all that was found")
    parser.add_argument("--output", type=Path, help="the table, in Markdown")
    arguments = parser.parse_args()
    files = [file for file in sorted(arguments.folder.glob("*.gguf")) if re.search(arguments.only, file.stem)]
    results = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for result in pool.map(try_model, files):
            results.append(result)
            print(f"{result.name:24} {'; '.join(wrongs(result)) or 'fine'}", flush=True)
            documents = [asdict(result) for result in results]
            if arguments.keep:
                arguments.keep.write_text(json.dumps(documents, indent=1) + "\n", encoding="utf-8")
            if arguments.output:
                arguments.output.write_text(table(documents), encoding="utf-8")
    bad = [result for result in results if wrongs(result)]
    print(f"{len(results) - len(bad)} of {len(results)} without a fault")
    return 1 if bad else 0


def try_model(model: Path) -> Result:
    """One model through the commands and the trial, in a folder of its own."""
    result = Result(model.stem)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, copy = folder / model.name, folder / "draft" / f"copy-{model.name}"
        copy.parent.mkdir()
        for path in (file, copy):
            path.symlink_to(model.resolve())
        text = folder / "text.txt"
        text.write_text(sample_text(), encoding="utf-8")
        environment = {**os.environ, "EDGESPEC_HOME": str(folder / "home"), "GGML_NO_BACKTRACE": "1"}
        for command, arguments in commands_for(file, copy, text, folder).items():
            if command in _NEEDS and result.commands[_NEEDS[command]].kind != "ok":
                continue
            ran, _ = run_limited(
                [sys.executable, "-m", "edgespec", "--offline", *arguments], folder, environment
            )
            result.commands[command] = ran
        trial = [sys.executable, str(SCRIPTS / "architecture_trial.py"), str(file), str(copy)]
        result.trial, output = run_limited(trial, folder, environment)
    for line in output.splitlines():
        if not line.startswith("{"):
            continue  # llama.cpp says something before it ends the process
        told = json.loads(line)
        result.steps[told.pop("step")] = told
    return result


def commands_for(file: Path, copy: Path, text: Path, folder: Path) -> dict[str, list[str]]:
    """The command lines by what they are called in the table."""
    model, small, pruned = str(file), str(folder / "q.gguf"), str(folder / "p.gguf")
    # Threads that wait for one another take long where several models are tried at once.
    ask = ["--raw", "-p", text.read_text(encoding="utf-8")[:600], "-n", "24", "--threads", "1"]
    calibration = ["--calibration", str(text), "--calibration-tokens", "1024"]
    return {
        "show": ["show", model],
        "pair": ["pair", model],
        "plan": ["plan", model, "--hardware", "m3-max", "--draft", str(copy)],
        "run": ["run", model, *ask],
        "run ngram": ["run", model, *ask, "--draft", "ngram", "--temperature", "0.8"],
        "run copy": ["run", model, *ask, "--draft", str(copy)],
        "eval": ["eval", model, "--text", str(text), "--chunks", "1", "-c", "64"],
        "imatrix": ["quantize", model, "--type", "Q4_K_M", "--calibrate", str(text), "-o", small],
        "quantize": ["quantize", model, "--type", "Q8_0", "-o", small, "--force"],
        "run quantized": ["run", small, *ask],
        "prune": ["prune", model, "--blocks", "1", *calibration, "-o", pruned],
        "prune flap": ["prune", model, "--method", "flap", *calibration, "-o", pruned, "--force"],
        "run pruned": ["run", pruned, *ask],
    }


def sample_text() -> str:
    """Words that no tokenizer of these models reads twice alike."""
    words = (f"{(place * 7919) % 99991:x}{(place * 104729) % 999983:x}" for place in range(4000))
    return " ".join(words)[: _TEXT_TOKENS * _CHARACTERS_PER_TOKEN]


def run_limited(command: Sequence[str], folder: Path, environment: dict[str, str]) -> tuple[Ran, str]:
    """How a command ended, and its stdout."""
    try:
        ran = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=WALL_S,
            preexec_fn=limit_process,
        )
    except subprocess.TimeoutExpired:
        return Ran("time", f"no end after {WALL_S} s"), ""
    return judge(ran.returncode, ran.stderr), ran.stdout


def limit_process() -> None:
    """In the child: bounded processor time and memory."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def judge(code: int, stderr: str) -> Ran:
    """What an exit code and the words beside it mean."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    last = next((line for line in lines if "GGML_ASSERT" in line or "GGML_ABORT" in line), "")
    last = last.rsplit("/", 1)[-1] or (lines[-1] if lines else "")
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return Ran("time", f"more than {CPU_S} s of processor time", code)
    if code < 0:
        return Ran("crash", f"{signal.Signals(-code).name}: {last}", code)
    if _BUG.search(stderr):
        return Ran("bug", last, code)
    return Ran("refused" if code else "ok", last, code)


def wrongs(result: Result) -> list[str]:
    """What must not be: crashes, tracebacks, endless work, other text than the plain one."""
    ends = {**result.commands, "trial": result.trial}
    found = [f"{name}: {ran.kind}: {ran.said}" for name, ran in ends.items() if ran.kind in _WRONG]
    unfinished = [name for name, step in result.steps.items() if "result" not in step]
    found += [f"{name}: no end" for name in unfinished]
    spread = result.steps.get("feels", {}).get("spread", 0.0)
    for name, step in result.steps.items():
        for which, outcome in step.items():
            if not isinstance(outcome, dict) or "equal" not in outcome:
                continue
            if not outcome["equal"] and not is_tie(which, outcome, spread):
                found.append(f"{name}, {which}: another text")
            if outcome["drift"] > MOST_DRIFT * spread:
                found.append(f"{name}, {which}: the memory has drifted by {outcome['drift']:.3g}")
        if name == "stop" and step.get("result") == "ok":
            found += [f"stop: {key} differs" for key in ("stopped", "other", "same") if not step[key]]
        if name != "load copy" and step.get("code") == 1:
            found.append(f"{name}: failed: {step['reason']}")
    return found


_NEEDS = {"run quantized": "quantize", "run pruned": "prune"}
"""Commands that need another's file."""
_WRONG = ("crash", "bug", "time")


if __name__ == "__main__":
    sys.exit(main())
