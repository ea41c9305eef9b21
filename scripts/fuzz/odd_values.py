"""What a damaged file says: values at whose like programs break, of every type that GGUF has."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import gguf
from hypothesis import strategies as st

from .layout import ARRAY, SCALARS, STRING, Items

Draw = Callable[[st.SearchStrategy[Any]], Any]
"""As Hypothesis gives it to a composite strategy."""

_POWERS: Final = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 20, 31, 32, 53, 63, 64)
NUMBERS: Final = (
    *sorted({2**power + more for power in _POWERS for more in (-1, 0, 1)}),
    *(1000, -1, -2, -100, -(2**31), -(2**63)),
)
_INFINITY: Final = float("inf")
FLOATS: Final = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 0.5, 1e30, 3.4e38, _INFINITY, -_INFINITY, float("nan"))
TEXTS: Final = (
    *(b"", b" ", b"\n", b"\x00", b"\xff\xfe", b"\x1b[31m", b"{{ messages }}", b"{% if %}"),
    *("\u2581".encode(), "\u202e".encode(), b"x" * 300, b"[" * 5000, b"9" * 5000),
    *rb"a 12 { %s%n <0x0A> <|im_end|> </s> ..\.. /etc/passwd".split(),
    b'{"schema": "edgespec.recipe/1", "steps": [1]}',
    *b"linear yarn longrope none imatrix adapter model mmproj lora".split(),
)
TOKENIZERS: Final = tuple(
    b"llama gpt2 bert t5 rwkv plamo2 gemma4 hybriddna whitespace none no_vocab test".split()
)
PRE_TOKENIZERS: Final = tuple(b"default llama-bpe qwen2 gpt-2 deepseek-v3 tekken gpt-4o kimi-k2".split())
ARCHITECTURES: Final = tuple(name.encode() for name in gguf.MODEL_ARCH_NAMES.values())
_FLOAT_TYPES: Final = (6, 12)


def _keys_of(names: type) -> Iterator[str]:
    for name, value in vars(names).items():
        if isinstance(value, str) and not name.startswith("_"):
            yield value
        elif isinstance(value, type):
            yield from _keys_of(value)


KEYS: Final = (
    *sorted(set(_keys_of(gguf.Keys))),
    *("edgespec.recipe", "edgespec.shortlist.frequent", "edgespec.shortlist.extra"),
)
"""Every key that GGUF has a word for; `{arch}` stands for the architecture."""


def number(draw: Draw) -> int:
    """A number at whose like programs break, or a small one."""
    return int(draw(st.one_of(st.sampled_from(NUMBERS), st.integers(0, 300))))


def scalar(draw: Draw, value_type: int) -> object:
    """A value of a type; of an array an empty one."""
    if value_type == ARRAY:
        return Items(draw(st.sampled_from([4, STRING])), [])
    if value_type == STRING:
        return draw(st.sampled_from(TEXTS))
    return draw(st.sampled_from(FLOATS)) if value_type in _FLOAT_TYPES else number(draw)


def any_value(draw: Draw) -> tuple[int, object]:
    """A type, and a value of it."""
    value_type = draw(st.sampled_from([*SCALARS, STRING, ARRAY]))
    if value_type != ARRAY:
        return value_type, scalar(draw, value_type)
    item_type = draw(st.sampled_from([*SCALARS, STRING, ARRAY]))
    return ARRAY, Items(item_type, [scalar(draw, item_type) for _ in range(draw(st.integers(0, 6)))])
