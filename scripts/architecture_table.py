"""The table that `check_architectures.py` writes: `docs/architectures.md`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

HEADER = """# Architectures

Every architecture of which llama.cpp's own test makes a model: a tiny random one each, through everything that edgespec
does with models. Written by `scripts/check_architectures.py`, which says how; the models come from
`scripts/build_test_archs.py`. Their scales and norms are set so that they feel every token of their context: a memory that
holds anything but the text shows as another answer.

- **memory**: KV is a plain cache of keys and values, window one in which some layers see only the last tokens, state
  that of recurrent layers; snapshots are states that llama.cpp keeps for a rollback.
- **half right**, **n-gram**, **copy**: whether drafted text is plain text, token for token, greedily and with a seed, with the
  prompt new and in the cache. Half right drafts the answer with every third token wrong, n-gram what stood in the
  text, copy is the model itself in Q4_0 or as it is. How many of the drafted tokens that were tested were kept stands behind it.
  Equal to a tie: until two tokens are nearer to each other than a decode of one row is to a decode of several, as rounding has it.
- **stop**: Ctrl-C while a prompt is read, then another prompt and the same one again, both with the text of a fresh context.
- **cache**: how far the estimated cache lies from the one that llama.cpp allocates for 4096 tokens; **header**: the same with
  weights and buffers, which in so small a model are mostly buffers, estimated from the file's header; **asked**: with the buffers that
  llama.cpp plans when it is asked, as it is where they decide whether a model fits.
- A number refers to the reason below the table.

"""
COLUMNS = (
    "model",
    "memory",
    "text",
    "half right",
    "n-gram",
    "copy",
    "stop",
    "quantize",
    "prune",
    "eval",
    "plan",
    "cache",
    "header",
    "asked",
)
_CACHES = ("KV", "RS", "state")
"""What llama.cpp calls its buffers of memory; the last are the compressors' states of DeepSeek 4."""
SEEN_NOISE = 1e-4
"""In logits: with less, no draw in a hundred thousand tells the two apart."""
MOST_DRIFT = 0.02
"""Share of the spread of a model's logits by which a context may differ from one that read the same tokens at once. Kernels
that compute in 16 bits reach a hundredth of that, and a memory that holds other tokens several times as much."""


class Reasons:
    """Refusals, each with a number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def refer(self, said: str, name: str) -> str:
        """The number of a reason, in brackets; the model's own name is no part of it."""
        reason = said.removeprefix("edgespec: ").replace(f"{name}.gguf", "MODEL").replace(name, "MODEL")
        reason = re.sub(r"of the architecture [\w.-]+", "of this architecture", reason)
        return f"[{self._numbers.setdefault(reason, len(self._numbers) + 1)}]"

    def lines(self) -> list[str]:
        """All of them."""
        return [f"{number}. {reason}" for reason, number in self._numbers.items()]


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """The whole document.

    Args:
        results: `Result` of `check_architectures.py`, as JSON has them.
    """
    reasons = Reasons()
    rows = [_row(result, reasons) for result in results]
    lines = [_line(COLUMNS), _line("---" for _ in COLUMNS), *map(_line, rows)]
    return HEADER + "\n".join(lines) + "\n\nReasons:\n\n" + "\n".join(reasons.lines()) + "\n"


def is_tie(sampling: str, outcome: Mapping[str, Any], spread: float) -> bool:
    """Whether two texts part where rounding alone may decide.

    Greedily that is where the two tokens are no further apart than decodes of one and of several rows are from each
    other. Of a draw nobody can tell; that the memory is right shows in how far the logits have drifted.

    Args:
        sampling: `greedy` or `seed`, and what follows it.
        outcome: With what `Trial.describe_difference` found.
        spread: Of the model's logits.
    """
    rounding = max(outcome["noise"], outcome["drift"])
    if rounding > MOST_DRIFT * spread:
        return False
    if sampling.startswith("greedy"):
        return bool(abs(outcome["apart"]) <= 2 * rounding)
    return bool(rounding > SEEN_NOISE)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _row(result: Mapping[str, Any], reasons: Reasons) -> list[str]:
    name, steps, commands = result["name"], result["steps"], result["commands"]
    load = steps.get("load", {})

    def ended(command: str) -> str:
        return _ended(commands[command]["kind"], commands[command]["said"], name, reasons)

    def drafted(step: str) -> str:
        spread = steps.get("feels", {}).get("spread", 0.0)
        return _drafted(steps.get(step, {}), spread, result["trial"], name, reasons)

    copy = "copy" if "copy" in steps else "load copy"
    prunes = [ended("prune"), ended("prune flap")]
    return [
        name,
        _memory(load),
        ended("run") if load.get("result") != "ok" else "yes",
        drafted("half right"),
        drafted("ngram"),
        drafted(copy) if load.get("result") == "ok" else "",
        _stopped(steps.get("stop", {}), name, reasons),
        ended("quantize"),
        prunes[0] if prunes[0] == prunes[1] else " / ".join(prunes),
        ended("eval"),
        ended("plan"),
        *_distances(load),
    ]


def _ended(kind: str, said: str, name: str, reasons: Reasons) -> str:
    return (
        "yes"
        if kind == "ok"
        else f"{'no' if kind == 'refused' else kind.upper()} {reasons.refer(said, name)}"
    )


def _drafted(
    step: Mapping[str, Any], spread: float, trial: Mapping[str, Any], name: str, reasons: Reasons
) -> str:
    if not step:
        return ""
    if "result" not in step:
        return f"{trial['kind'].upper()} {reasons.refer(trial['said'], name)}"
    if step["result"] == "refused":
        return f"no {reasons.refer(step['reason'], name)}"
    outcomes = [outcome for outcome in step.values() if isinstance(outcome, dict)]
    count, kept = (sum(outcome[key] for outcome in outcomes) for key in ("drafted", "accepted"))
    figures = f"({kept} of {count})"
    differing = {which: outcome for which, outcome in step.items() if _differs(outcome)}
    if not all(is_tie(which, outcome, spread) for which, outcome in differing.items()):
        return f"ANOTHER TEXT {figures}"
    if differing:
        return f"equal to a tie {figures}"
    return f"equal {figures}" if count else "never drafts"


def _differs(outcome: Any) -> bool:
    return isinstance(outcome, dict) and not outcome["equal"]


def _stopped(step: Mapping[str, Any], name: str, reasons: Reasons) -> str:
    if not step:
        return ""
    if step.get("result") != "ok":
        return f"no {reasons.refer(step.get('reason', 'no end'), name)}"
    if not (step["other"] and step["same"]):
        return "ANOTHER TEXT"
    return "yes" if step["stopped"] else "NOT STOPPED"


def _memory(load: Mapping[str, Any]) -> str:
    names = load.get("memory", [])
    parts = []
    if any("kv_cache" in name for name in names):
        parts.append("KV")
    if load.get("window"):
        parts.append("window")
    if any("recurrent" in name for name in names):
        parts.append("state")
    for mark in ("dsa", "msa", "dsv4", "idx"):
        if any(mark in name for name in names):
            parts.append(mark)
    if load.get("snapshots"):
        parts.append(f"{load['snapshots']} snapshots")
    return ", ".join(parts)


def _distances(load: Mapping[str, Any]) -> list[str]:
    """How far the estimates lie from what was allocated, in percent: cache, everything, and the same as llama.cpp plans it."""
    if load.get("result") != "ok":
        return ["", "", ""]
    allocated, estimate = load["allocated_mib"], load["estimate_mib"]
    cache = sum(allocated.get(key, 0.0) for key in _CACHES)
    caches = sum(value for key, value in estimate.items() if key in ("kv_bytes", "state_bytes"))
    total = sum(allocated.values())
    totals = [_percent(load[key], total) for key in ("header_total_mib", "asked_total_mib")]
    return [_percent(caches, cache), *totals]


def _percent(estimate: float, actual: float) -> str:
    return f"{100 * (estimate / actual - 1):+.0f} %" if actual else ""
