"""Where a calibration text comes from, in the words that a user says it in.

Plain values: what only copies need not load numpy, which is a tenth of a second and 18 MB.
"""

from pathlib import Path
from typing import Final, Literal

OWN_ANSWERS: Final = "self"
CalibrationSource = Path | Literal["self"]
"""A text file, or OWN_ANSWERS: what the model itself answers to the built-in prompts."""

DEFAULT_TOKENS: Final = 16384
"""Of a calibration text. More is better up to here and hardly beyond: SmolLM2 without seven of its blocks had, repaired, a
perplexity of 30.5 after 4,096 tokens and 24.4 after these (docs/pruning.md)."""


def source_of(text: str) -> CalibrationSource:
    """The source that a user names: OWN_ANSWERS, or a path."""
    return OWN_ANSWERS if text == OWN_ANSWERS else Path(text)
