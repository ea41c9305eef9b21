"""What passes cost on some machines, to replay recorded answers as if they had been given there."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.documents import build, parse_json

_FILE = "machines.json"


@dataclass(frozen=True, slots=True)
class RecordedMachine:
    """A pair's cost curves, over a plain step of its target."""

    name: str
    origin: str
    """Where they come from, in a sentence."""
    verify: Mapping[int, float]
    """Rows -> plain steps, of a pass of the target with logits on every row."""
    draft: Mapping[int, float]
    """Rows -> plain steps, of a pass of the draft with logits on the last row."""

    def costs(self) -> PairCosts:
        """For a replay in which a plain step takes a second."""
        return PairCosts(CostCurve(self.verify), CostCurve(self.draft))


def recorded_machines() -> tuple[RecordedMachine, ...]:
    """Flat rows, the same with fast memory, a staircase, linear rows, and flat rows with a slow draft."""
    text = resources.files("edgespec").joinpath("data", _FILE).read_text(encoding="utf-8")
    return build(tuple[RecordedMachine, ...], parse_json(text, _FILE), _FILE)
