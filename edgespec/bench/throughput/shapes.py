"""What is asked of every batch: tokens in, tokens out, and how many sequences at once."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edgespec.errors import UsageError

DEFAULT_SHAPES: Final = "12x128,82x128,12x512,82x512"
"""Figure 2's four panels."""
DEFAULT_BATCHES: Final = "1,2,4,8,16,32"
MAX_SEQUENCES: Final = 256
"""llama.cpp's own limit of sequences in a context (llama-cparams.h)."""


@dataclass(frozen=True, slots=True, order=True)
class Shape:
    """Tokens of a prompt and of its answer, `12x128`."""

    prompt_n: int
    output_n: int

    def __str__(self) -> str:
        return f"{self.prompt_n}x{self.output_n}"


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences of one shape that are answered at once."""

    shape: Shape
    size: int

    def __str__(self) -> str:
        return f"{self.shape}, batch {self.size}"


class Layout(StrEnum):
    """How the sequences of a batch hold their keys and values."""

    UNIFIED = "unified"
    """In one cache, where what their prompts share stands once."""
    SPLIT = "split"
    """Each in a part of its own."""


def parse_shapes(text: str) -> tuple[Shape, ...]:
    """Shapes from `12x128,82x512`, in that order, each once.

    Raises:
        UsageError: not a list of shapes.
    """
    shapes = []
    for part in text.lower().split(","):
        prompt, _, output = part.strip().partition("x")
        if not (prompt.isdecimal() and output.isdecimal() and int(prompt) > 0 and int(output) > 1):
            raise UsageError(
                f"`shape` {part.strip()!r} is not a shape",
                "write tokens in and out, at least 1 and 2, such as 12x128,82x512",
            )
        shapes.append(Shape(int(prompt), int(output)))
    return tuple(dict.fromkeys(shapes))


def parse_batches(text: str) -> tuple[int, ...]:
    """Batch sizes from `1,2,4`, ascending.

    Raises:
        UsageError: not a list of numbers from 1 to `MAX_SEQUENCES`.
    """
    sizes = set()
    for part in text.split(","):
        if not (part.strip().isdecimal() and 1 <= int(part) <= MAX_SEQUENCES):
            raise UsageError(
                f"`batch` {part.strip()!r} is not a batch size", f"use numbers from 1 to {MAX_SEQUENCES}"
            )
        sizes.add(int(part))
    return tuple(sorted(sizes))
