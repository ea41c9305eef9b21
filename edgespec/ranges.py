"""What the numbers of settings may be, from wherever they come: the command line, a file of settings, a Python program."""

import math
import os
from collections.abc import Callable, Mapping
from typing import Final

from edgespec.errors import UsageError

_INT32: Final = 2**31 - 1
"""llama.cpp's own numbers end there; larger ones would wrap around."""
MOST_THREADS: Final = min(512, max(64, 8 * (os.cpu_count() or 1)))
"""512 is GGML_MAX_N_THREADS of ggml.h. Threads of ggml wait for each other in a loop after every product: 512 of them on two cores
took 40 s of processor time for four tokens of a small model, 64 of them 5 s."""
_FINITE: Final = (math.isfinite, "a finite number; 0 is off")
_FROM_0: Final = (lambda value: 0 <= value <= _INT32, "0 or more")
_FROM_1: Final = (lambda value: 1 <= value <= _INT32, "1 or more")
_SHARE: Final = (lambda value: 0.0 <= value <= 1.0, "0 to 1")

RANGES: Final[Mapping[str, tuple[Callable[[float], bool], str]]] = {
    "batch": _FROM_1,
    "budget": (lambda value: 0.0 < value < math.inf, "a time above 0"),
    "calibration_tokens": _FROM_1,
    "ctx_size": (
        lambda value: value == 0 or 64 <= value <= _INT32,
        "64 or more tokens, or 0 for what suits the model",
    ),
    "drop_attention": _FROM_1,
    "frequency_penalty": _FINITE,
    "gpu_layers": _FROM_0,
    "keep_alive": (lambda value: 0.0 <= value < math.inf, "0 (unload at once), a time, or never"),
    "kv_groups": _FROM_0,
    "max_tokens": (lambda value: 1 <= value <= _INT32, "1 or more tokens"),
    "min_p": _SHARE,
    "narrow": _SHARE,
    "parallel": (lambda value: 1 <= value <= 128, "1 to 128"),
    "presence_penalty": _FINITE,
    "protect_first": _FROM_0,
    "protect_last": _FROM_0,
    "repeat": _FROM_1,
    "repeat_penalty": (lambda value: 0.0 < value < math.inf, "above 0; 1 is off"),
    # LLAMA_DEFAULT_SEED, the largest number, asks llama.cpp for a random one.
    "seed": (lambda value: 0 <= value < 2**32 - 1, "0 to 4294967294"),
    "temperature": (lambda value: 0.0 <= value <= 10.0, "0 (greedy) to 10"),
    "tensor_split": (lambda value: 0.0 <= value < math.inf, "shares such as 3,1"),
    "think_budget": (lambda value: 0 <= value <= _INT32, "0 or more tokens"),
    "threads": (
        lambda value: 0 <= value <= MOST_THREADS,
        f"1 to {MOST_THREADS}, or 0 for the physical cores",
    ),
    "top_k": (lambda value: 0 <= value <= _INT32, "0 (off) or more"),
    "top_p": (lambda value: 0.0 < value <= 1.0, "above 0, at most 1"),
    "warmup": _FROM_0,
}
"""What each setting may be, by the name that messages have for it, and that in words."""


def check_ranges(**values: float | None) -> None:
    """Refuses numbers that a setting cannot have.

    Args:
        values: By the names in `RANGES`; None where nothing was asked for.

    Raises:
        UsageError: names the setting, its value and its range.
    """
    for setting, value in values.items():
        holds, words = RANGES[setting]
        if value is not None and not holds(value):
            raise UsageError(f"`{setting}` {value} is out of range", f"use {words}")
