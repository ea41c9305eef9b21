"""How a model wants its tokens picked: its file says it, or the catalogue does where the file is silent."""

from collections.abc import Mapping
from typing import Final

from edgespec.catalog.metadata import GgufMetadata
from edgespec.ranges import RANGES

WHOLE_CONTEXT: Final = 2**15
"""In place of -1, llama.cpp's word for as many tokens as there are."""
_KEYS: Final = {
    "general.sampling.temp": "temperature",
    "general.sampling.top_k": "top_k",
    "general.sampling.top_p": "top_p",
    "general.sampling.min_p": "min_p",
    "general.sampling.penalty_repeat": "repeat_penalty",
    "general.sampling.penalty_last_n": "repeat_last_n",
}
"""Keys of a GGUF file (`Keys.General` of gguf-py's constants.py, and `common_init_sampler_from_model` of llama.cpp's common.cpp, which
takes the same ones) -> fields of `Sampling`."""
_WHOLE: Final = frozenset({"top_k", "repeat_last_n", "seed"})
LISTED: Final = frozenset({*_KEYS.values(), "presence_penalty", "frequency_penalty"})
"""What the catalogue may say."""


def own_sampling(meta: GgufMetadata, listed: Mapping[str, float]) -> dict[str, float | int]:
    """Fields of `Sampling` by their names, those that make sense.

    Args:
        meta: Header of the model; what it says counts first, and alone where it gives a temperature.
        listed: What the catalogue says of the model.
    """
    said = {name: meta.fields.get(key) for key, name in _KEYS.items()}
    found = {name: value for name, value in said.items() if isinstance(value, int | float)}
    chosen = found if "temperature" in found else {**listed, **found}
    return {name: _number(name, value) for name, value in chosen.items() if makes_sense(name, value)}


def makes_sense(name: str, value: float) -> bool:
    """Whether a field may have that value."""
    if isinstance(value, bool) or value != value or value in (float("inf"), float("-inf")):
        return False
    if name == "repeat_last_n":
        return value >= -1
    return name in LISTED and RANGES[name][0](value)


def _number(name: str, value: float) -> float | int:
    if name == "repeat_last_n" and value < 0:
        return WHOLE_CONTEXT
    return int(value) if name in _WHOLE else float(value)
