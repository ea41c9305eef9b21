"""What a page says over its socket, as page.js and textual-serve's script write it; anything else is nothing."""

from dataclasses import dataclass
from typing import Any

from edgespec.documents import parse_json
from edgespec.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Typed:
    """Keys, pastes and moves of the mouse, as a terminal sends them."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Resized:
    """The terminal has another size, in cells."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Pinged:
    """The page wants `data` back."""

    data: object


@dataclass(frozen=True, slots=True)
class FocusChanged:
    """The page came to the front, or went behind."""

    has_focus: bool


PageMessage = Typed | Resized | Pinged | FocusChanged


def read_message(text: str) -> PageMessage | None:
    """One message: a JSON list of its kind and what belongs to it. None for what is none: a stranger may write anything."""
    try:
        envelope = parse_json(text, "message")
    except ConfigError:
        return None
    match envelope:
        case ["stdin", str(data), *_]:
            # A lone surrogate is no character.
            return Typed(data.encode("utf-8", "replace"))
        case ["resize", {"width": width, "height": height}, *_] if _is_count(width) and _is_count(height):
            return Resized(int(width), int(height))
        case ["ping", data, *_]:
            return Pinged(data)
        case ["focus" | "blur" as kind, *_]:
            return FocusChanged(kind == "focus")
        case _:
            return None


def _is_count(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and value == value and abs(value) != float("inf")
