"""Screens as wide as a phone's."""

from typing import Final

NARROW_COLUMNS: Final = 60
"""With fewer, what stands side by side elsewhere stands one below the other (`-narrow` in `app.tcss`)."""
