"""Wherever layers are, the text is that of the CPU; differences are judged by the audit of the benchmark."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgespec.bench.audit import LARGE_GAP, first_difference

from .machine import FailedError, Machine

PROMPTS: Final = (
    "Write a Python function that adds two numbers.",
    "Name three colours and say what each is like.",
    "Repeat after me: one two three, one two three, one two three.",
)
_MIB: Final = 1 << 20
_ESTIMATE_SHARE: Final = 0.25
"""That a device may take more or less than was foreseen."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What is asked for, and under which environment."""

    what: str
    asked: dict[str, Any]
    environment: dict[str, str]
    wanted: str = ""
    """What the placements' words must hold."""


def placements(machine: Machine, n_layers: int, draft: str) -> Iterator[Placed]:
    """All placements of a target, and those of a pair."""
    name = machine.devices[0]["name"]
    if machine.backend == "cpu":
        yield Placed("n-grams draft", {"draft": "ngram"}, {})
        yield Placed("pair", {"draft": draft}, {})
        return
    half = str(n_layers // 2)
    yield Placed("layers auto", {}, {}, f"{n_layers} of {n_layers} layers fit on {name}")
    yield Placed(f"layers {half}", {"gpu_layers": half}, {}, f"{half} of {n_layers} layers offloaded")
    yield Placed("layers all", {"gpu_layers": "all"}, {}, f"{n_layers} of {n_layers} layers offloaded")
    yield Placed("layers 0", {"gpu_layers": "0"}, {})
    yield Placed(f"device {name}", {"device": [name]}, {}, f"fit on {name}")
    yield Placed("KV cache here", {"gpu_layers": "all", "kv_offload": False}, {}, "layers offloaded")
    yield Placed("n-grams draft", {"gpu_layers": "all", "draft": "ngram"}, {}, "layers offloaded")
    pair = {"draft": draft}
    yield Placed("pair, both there", pair, {}, f"fit on {name}")
    here = {"draft": draft, "draft_gpu_layers": "0"}
    yield Placed("pair, draft here", here, {}, f"fit on {name}")
    yield Placed("pair, target here", {"draft": draft, "gpu_layers": "0"}, {}, f"fit on {name}")
    two = machine.twice()
    if two or len(machine.devices) > 1:
        names = [f"{name.rstrip('0123456789')}{number}" for number in (0, 1)]
        split = {"device": names, "tensor_split": [2, 1]}
        yield Placed("two devices, shares 2,1", split, two, f"fit on {', '.join(names)}")


def check_placements(machine: Machine, target: Path, draft: Path, *, n_layers: int, max_tokens: int) -> None:
    """Answers everywhere, and compares."""
    asked = {"target": str(target), "draft": "none", "prompts": PROMPTS, "max_tokens": max_tokens}
    plain = machine.ask({**asked, "gpu_layers": "0"})
    for placed in placements(machine, n_layers, str(draft)):
        try:
            told = machine.ask({**asked, **placed.asked}, **placed.environment)
        except FailedError as failed:
            machine.add(placed.what, str(failed), False)
            continue
        said = "; ".join(told["placements"]) or "all layers on the CPU"
        equal, ties = compare(machine, target, plain, told)
        is_right = placed.wanted in said if placed.wanted else not told["placements"]
        seen = f"{said}; {equal}; {speed_of(told):.1f} tok/s, {told['draft_n']} drafted"
        machine.add(placed.what, seen, ties and is_right)
    machine.add("plain, on the CPU", f"{speed_of(plain):.1f} tok/s", None)


def compare(machine: Machine, target: Path, plain: dict[str, Any], told: dict[str, Any]) -> tuple[str, bool]:
    """In words, and whether every difference is a tie."""
    texts = []
    for prompt, one, other in zip(plain["prompts"], plain["answers"], told["answers"], strict=True):
        place = first_difference(one, other)
        if place is not None:
            texts.append([*prompt, *one[:place]])
    count = len(plain["answers"])
    if not texts:
        return f"{count} texts equal", True
    gaps: Sequence[float] = machine.ask({"target": str(target), "gaps": texts})
    largest = max(gaps)
    return (
        f"{count - len(texts)} texts equal, {len(texts)} apart at a gap of {largest:.2f} logits",
        largest <= LARGE_GAP,
    )


def speed_of(told: dict[str, Any]) -> float:
    """Tokens per second, the mean over prompts."""
    return float(sum(told["tok_per_s"]) / len(told["tok_per_s"]))


def check_memory(machine: Machine, target: Path) -> None:
    """What the device, or the process that plays it, took against what was foreseen; and that closing gives it back."""
    asked = {
        "target": str(target),
        "draft": "none",
        "prompts": PROMPTS[:1],
        "max_tokens": 4,
        "gpu_layers": "all",
    }
    told = machine.ask({**asked, "times": 3})
    name = machine.devices[0]["name"]
    estimate = told["estimate"]
    foreseen = sum(value for key, value in estimate.items() if key.endswith("_bytes"))
    taken = told["free_before"][name] - told["free_loaded"][name]
    reports = taken > 0
    seen = f"{taken / _MIB:.0f} MiB less free" if reports else "the device reports no change"
    good = abs(taken - foreseen) <= _ESTIMATE_SHARE * foreseen if reports else None
    machine.add(f"memory of {name}", f"{foreseen / _MIB:.0f} MiB foreseen; {seen}", good)
    free = [closed["free"][name] for closed in told["closed"]]
    resident = [closed["resident"] for closed in told["closed"]]
    lost = free[0] - free[-1]
    grown = resident[-1] - resident[0]
    limit = foreseen // 4
    seen = f"{lost / _MIB:.0f} MiB of the device and {grown / _MIB:.0f} MiB here not given back from the first closing to the third"
    machine.add("open and close, three times", seen, lost <= limit and grown <= limit)
