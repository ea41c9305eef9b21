"""How fast it is there: the cost curve, the benchmark with its floor and regret, and what `plan` said before."""

import json
from pathlib import Path
from typing import Any, Final

from .answers import CURVE_ROWS
from .machine import Machine, last_line
from .placements import PROMPTS

FLOOR: Final = 0.98
"""Of plain decoding's speed, below which no kind of prompt may be."""
MOST_REGRET: Final = 0.10
"""That `auto` may lose against the best fixed length, chosen afterwards."""
PLAN_SHARE: Final = 0.20
"""That a prediction may be off."""
_CURVE_S: Final = 30.0


def check_curve(machine: Machine, target: Path, budget_s: float = _CURVE_S) -> dict[int, float]:
    """t_v(n) for 1 to 16 rows, there."""
    asked = {
        "target": str(target),
        "draft": "none",
        "prompts": PROMPTS[:1],
        "max_tokens": 2,
        "gpu_layers": "all",
    }
    told = machine.ask({**asked, "curve": budget_s})
    curve = {int(rows): float(seconds) for rows, seconds in told["curve"].items()}
    steps = " ".join(f"{rows}:{curve[rows] / curve[1]:.2f}" for rows in sorted(curve))
    seen = f"t_v(1) {curve[1] * 1e3:.2f} ms; t_v(n)/t_v(1) {steps}"
    machine.add(f"cost curve of {target.stem}", seen, set(curve) == set(CURVE_ROWS))
    return curve


def plot_curves(curves: dict[str, dict[int, float]], file: Path) -> None:
    """Draws curves by what they are of."""
    from matplotlib.figure import Figure

    from edgespec.figure import PALETTE, save_figure

    def draw() -> Figure:
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = figure.add_subplot()
        for colour, (name, curve) in zip(PALETTE, curves.items(), strict=False):
            rows = sorted(curve)
            axes.plot(rows, [curve[n] / curve[1] for n in rows], marker="o", color=colour, label=name)
        axes.set_xlabel("rows of a decode")
        axes.set_ylabel("time of a plain step")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        return figure

    save_figure(draw, file)


def check_bench(machine: Machine, target: Path, draft: Path | None, *, is_short: bool) -> None:
    """The benchmark: texts, floor, regret; then the prediction for the same target."""
    size = ["-r", "3", "-n", "96", "--limit", "1"]
    if is_short:
        size = ["-r", "1", "-n", "24", "--category", "code", "--category", "edit"]
    arms = ["--draft", str(draft), "--fixed", "1,2,3,4"] if draft else ["--draft", "none"]
    ran = machine.edgespec("bench", target, "--json", *arms, *size)
    name = target.stem
    if ran.returncode:
        machine.add(f"bench {name}", last_line(ran.stderr), False)
        return
    run = json.loads(ran.stdout)
    by_name = {arm["name"]: arm for arm in run["arms"]}
    speeds = ", ".join(f"{arm['name']} {arm['tok_per_s']:.1f} ({arm['speedup']:.2f}x)" for arm in run["arms"])
    audit = run["audit"]
    large = sum(difference["large"] for difference in audit["first_differences"])
    seen = (
        f"{speeds}; {audit['identical']} of {audit['compared']} texts equal, {large} apart by more than a tie"
    )
    machine.add(f"bench {name}, tok/s", seen, not large)
    _check_floor(machine, name, by_name["auto"], is_judged=not is_short)
    _check_regret(machine, name, run["regret"], is_judged=not is_short)
    _check_plan(machine, target, by_name["plain"]["tok_per_s"], is_judged=not is_short)


def _check_floor(machine: Machine, target: str, auto: dict[str, Any], *, is_judged: bool) -> None:
    kinds = {name: kind for name, kind in auto["by_category"].items() if kind["speedup"] is not None}
    lowest = min(kinds, key=lambda name: kinds[name]["speedup"])
    kind = kinds[lowest]
    # What the repeats cannot tell from the floor is not below it.
    reach = kind["speedup_high"] if kind["speedup_high"] is not None else kind["speedup"]
    machine.add(
        f"lowest kind of {target}", f"{lowest} {kind['speedup']:.2f}x", reach >= FLOOR if is_judged else None
    )


def _check_regret(machine: Machine, target: str, regret: dict[str, Any] | None, *, is_judged: bool) -> None:
    if regret is None:
        machine.add(f"regret of {target}", "there is no model draft, and so no fixed length", None)
        return
    seen = f"{regret['regret']:+.1%} against {regret['best_fixed']}"
    machine.add(f"regret of {target}", seen, regret["regret"] <= MOST_REGRET if is_judged else None)


def _check_plan(machine: Machine, target: Path, measured: float, *, is_judged: bool) -> None:
    ran = machine.edgespec("plan", target, "--json")
    if ran.returncode:
        machine.add(f"plan {target.stem}", last_line(ran.stderr), False)
        return
    foreseen = float(next(iter(json.loads(ran.stdout)["predictions"]))["tok_per_s"])
    good = abs(foreseen / measured - 1) <= PLAN_SHARE if is_judged else None
    machine.add(f"plan {target.stem}", f"{foreseen:.1f} tok/s foreseen, {measured:.1f} measured", good)
