"""Text that can be read in every theme: what would be too pale for its background is made darker or lighter.

Themes choose their colours for themselves, the app dims what matters less, and rows under a cursor have another background:
whoever reads the outcome needs a contrast, whatever came together there.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from rich.color import Color as RichColor
from rich.color import blend_rgb
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

LEAST_CONTRAST: Final = 4.5
"""Of text against its background (WCAG 2.2, success criterion 1.4.3)."""
_STEPS: Final = 20
_BLACK, _WHITE = ColorTriplet(0, 0, 0), ColorTriplet(255, 255, 255)
_TEXT: Final = re.compile(r"[^\s\u2500-\u259f\u2800-\u28ff\U0001fb00-\U0001fbff]")
"""Anything but spaces, and the lines, blocks and dots that frames and charts are made of."""


class ContrastFilter(LineFilter):
    """Lifts the colour of text to LEAST_CONTRAST; frames and charts keep theirs."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The line as it is shown, `background` being what lies below segments that have none of their own."""
        shown, behind = [], background.rich_color
        for segment in segments:
            style = segment.style
            lifted = None if style is None or style.color is None else _lifted(style, behind)
            is_changed = lifted is not None and lifted is not style and _TEXT.search(segment.text)
            shown.append(Segment(segment.text, lifted, None) if is_changed else segment)
        return shown


@lru_cache(4096)
def _lifted(style: Style, background: RichColor) -> Style:
    """The style itself where it can be read."""
    behind = background if style.bgcolor is None or style.bgcolor.is_default else style.bgcolor
    if style.color is None or style.color.triplet is None or behind.triplet is None:
        return style  # a colour of the terminal's own, of which nothing is known here
    readable = _readable(style.color.triplet, behind.triplet)
    return style if readable == style.color.triplet else style + Style(color=RichColor.from_triplet(readable))


def _readable(text: ColorTriplet, background: ColorTriplet) -> ColorTriplet:
    """The nearest colour on the way to black or white that has the contrast."""
    if contrast(text, background) >= LEAST_CONTRAST:
        return text
    end = max((_BLACK, _WHITE), key=lambda one: contrast(one, background))
    steps = (blend_rgb(text, end, step / _STEPS) for step in range(1, _STEPS + 1))
    return next((one for one in steps if contrast(one, background) >= LEAST_CONTRAST), end)


def contrast(one: ColorTriplet, other: ColorTriplet) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: Sequence[int]) -> float:
    """Relative luminance of an sRGB colour (WCAG 2.2)."""
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (part / 255 for part in color)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
