"""Documents of plain values with something odd in them, for tests of what reads them."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, -(2**63), 2**64, 10**400]),
    st.sampled_from([0.0, -0.0, 0.5, -1.5, 1e-320, 1e308, float("inf"), float("nan")]),
    st.sampled_from(["", " ", "x", "12", "\x1b[31m", "a\nb", "\ud800", "../..", "\u202e", "n" * 500]),
    # Copies: the next change may be made inside one.
    st.sampled_from([[], [[]], {}, {"x": {}}, [1, "a"], {"": 1}]).map(copy.deepcopy),
)
"""What stands where something else is expected."""


@st.composite
def changed(draw: Callable[[st.SearchStrategy[Any]], Any], sound: Any) -> Any:
    """A copy with one to three changes anywhere in it: a value is another, a key or an item is gone, one is added."""
    document = copy.deepcopy(sound)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(document))
        if not places:
            return document
        holder, key = draw(st.sampled_from(places))
        match draw(st.integers(0, 4)):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder["unknown"] = draw(ODD)
            case 1:
                holder.append(draw(ODD))
            case _:
                holder[key] = draw(ODD)
    return document


def damage_json(file: Path, damage: str | Callable[[Any], object]) -> None:
    """Writes another text into a file, or its document as a function changes it."""
    if isinstance(damage, str):
        file.write_text(damage, encoding="utf-8")
        return
    document = json.loads(file.read_text(encoding="utf-8"))
    damage(document)
    file.write_text(json.dumps(document), encoding="utf-8")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every key of every table, and every item of every list, with what holds it."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from _places(inner)
