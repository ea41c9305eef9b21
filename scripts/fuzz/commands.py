"""What is done with each file, and what counts as a fault."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .children import Ended

_MOST_GROWN: Final = 3 << 29
"""Bytes; a helper that tries a file may take 1 GiB. No sound file of the fuzzer takes a tenth of it."""
_DOCUMENTED: Final = (0, 1, 2, 3, 4)
"""Exit codes, less that of an interruption, which nothing here causes."""
_BUG: Final = "this is a bug in edgespec"
_NOT_THOUGHT_OF: Final = "its header cannot be understood"
_OUT_OF_MEMORY: Final = "this machine ran out of memory"
_SAID: Final = re.compile(r"^edgespec: (warning|info|error): ")
_FRAME: Final = re.compile(r'File "[^"]*?((?:edgespec|quant|tui)/[\w/]+\.py)", line \d+, in (\w+)')
_NATIVE: Final = re.compile(r"(\w+\.(?:c|cpp|h)):\d+: (.*)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command finds things."""

    file: Path
    """The damaged one, or the first part of it."""
    sound: Path
    """A sound model in the same folder."""
    text: Path
    out: Path
    """What a command writes."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of edgespec; words in braces are the fields of `Place`."""

    name: str
    words: tuple[str, ...]

    def arguments(self, place: Place) -> list[str]:
        """As they are typed."""
        found = {name: str(getattr(place, name)) for name in Place.__slots__}
        return [word.format(**found) for word in self.words]

    def action(self, place: Place, *more: str) -> Callable[[], int]:
        """Runs it in this process."""
        if self.name == "models screen":
            return lambda: _list_for_the_app(place)
        from edgespec.cli import main

        return lambda: main([*self.arguments(place), *more])


def _command(name: str, line: str) -> Command:
    return Command(name, tuple(line.split()))


_SHORT_TEXT: Final = "--calibration {text} --calibration-tokens 1024"
COMMANDS: Final = (
    _command("show", "show {file} --json"),
    _command("load", "run {file} -p the_cat -n 8 --draft none"),
    _command("pair", "pair {sound} --json"),
    _command("quantize", "quantize {file} --type Q4_0 -o {out} --force"),
    _command("eval", "eval {file} --text {text} -c 32 --chunks 2 --json"),
    _command("plan", "plan {file} --hardware h100 --json"),
    _command("prune", "prune {file} --remove 0 --no-repair -o {out} --force"),
    _command("models screen", ""),
    _command("draft", "run {sound} -p the_cat -n 8 --draft {file}"),
    _command("show", "show {file}"),
    _command("quantize", "quantize {file} --type Q4_K_M --dry-run --json"),
    _command("prune", f"prune {{file}} --method flap --ratio 0.5 {_SHORT_TEXT} -o {{out}} --force"),
    _command("pair", "pair {file}"),
    _command("load", "run {file} -p the_cat -n 8 --draft ngram --json"),
    _command("models", "models show {file}"),
    _command("plan", "plan {sound} --draft {file} --hardware h100"),
    _command("prune", f"prune {{file}} --blocks 1 --criterion bi {_SHORT_TEXT} -o {{out}} --force"),
    _command("eval", "eval {file} --against {sound} --text {text} -c 32 --chunks 1"),
    _command("imatrix", "quantize {sound} --type Q4_0 --imatrix {file} -o {out} --force"),
)
"""In turn, one for each file."""


def _list_for_the_app(place: Place) -> int:
    """The rows of the models screen, with all that it shows of each: the damaged file has one, whatever is in it."""
    from edgespec.session.settings import EngineSettings
    from tui.models.details import describe_row
    from tui.models.rows import load_models

    found = load_models(EngineSettings(), place.file.parent)
    here = [row for row in found.rows if row.path]
    for row in here:
        print(row.trouble, *describe_row(row, found).facts)
    missing = {place.file.name, place.sound.name} - {row.path.name for row in here if row.path}
    if missing:
        raise AssertionError(f"no row for {sorted(missing)}")
    return 0


def fault_of(command: Command, ended: Ended) -> str:
    """What is wrong with how it ended, by kind; empty where nothing is."""
    if ended.timed_out:
        return "time-out"
    if ended.signal_name:
        return f"{ended.signal_name} {_native_words(ended.err)}".strip()
    if ended.code not in _DOCUMENTED:
        return f"exit code {ended.code}: {_place(ended.err)}"
    if _BUG in ended.err:
        return "bug"
    if _NOT_THOUGHT_OF in ended.out + ended.err:
        return "odd header"
    if _OUT_OF_MEMORY in ended.err or ended.grown_bytes > _MOST_GROWN:
        return "memory"
    if ended.code:
        lines = [line for line in ended.err.splitlines() if not _SAID.match(line)]
        return "" if len(lines) == 1 else f"{len(lines)} lines"
    return _wrong_json(ended.out) if "--json" in command.words else ""


def place_of_bug(err: str) -> str:
    """Of what `--debug` printed: the error, and the last function of ours in its traceback."""
    lines = err.strip().splitlines()
    errors = [line for line in lines if re.match(r"^[A-Za-z_.]+(Error|Exception|Interrupt)\b", line)]
    return f"{errors[-1][:100] if errors else '?'} in {_place(err)}"


def _place(err: str) -> str:
    frames = _FRAME.findall(err)
    return " ".join(frames[-1]) if frames else "?"


def _native_words(err: str) -> str:
    found = _NATIVE.findall(err)
    return " ".join(found[-1])[:120] if found else ""


def _wrong_json(out: str) -> str:
    try:
        json.loads(out)
    except ValueError:
        return "no JSON"
    return ""


def in_turn(names: Sequence[str]) -> list[Command]:
    """The commands of those names, or all of them."""
    return [one for one in COMMANDS if not names or one.name in names]
