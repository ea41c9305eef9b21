"""The app's own colours: quiet blue-greys, green for what speculation brought, amber for plain decoding."""

from typing import Final

from textual.theme import Theme

EDGESPEC_THEME: Final = Theme(
    name="edgespec",
    primary="#5fa8d3",
    secondary="#7f8fa6",
    accent="#b48ead",
    success="#7fbf7f",
    warning="#e5b567",
    error="#d9697a",
    background="#14181d",
    surface="#1b2027",
    panel="#232a33",
    foreground="#d5dbe3",
    dark=True,
    variables={"footer-key-foreground": "#5fa8d3", "block-cursor-text-style": "none"},
)
