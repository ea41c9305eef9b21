"""How often a draft is right, where nobody has measured it: an assumption with its ground, and how users state theirs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgespec.errors import UsageError

MEASURED: Final = "measured"
_AT_RATIO, _RATIO = 0.88, 70.6 / 8.03
"""Llama 3 8B drafting for 70B, both Q4_K_M: of drafts of 8 tokens 58.7 % were accepted, of 10 54.6 % (llama.cpp,
four prompts, https://devquasar.com/uncategorized/speculative-decoding-tradeoffs-gpu-with-large-models-llama-70b-8b/),
which is 0.88 for each token given those before it."""
_FALL = 0.12
"""What a factor of ten in size costs beyond: a guess."""
_LEAST, _MOST = 0.4, 0.95


@dataclass(frozen=True, slots=True)
class AcceptanceRate:
    """The share of draft tokens that the target accepts, each given those before it."""

    rate: float
    """0 to 1."""
    source: str
    """Where it comes from: `assumed`, `as stated` or `measured`."""


def assumed_acceptance(draft_params: int, target_params: int) -> AcceptanceRate:
    """A stated assumption for a draft of the target's own family: less by a fixed amount for each factor of ten in size.

    Args:
        draft_params: Weights of the draft.
        target_params: Weights of the target.
    """
    ratio = target_params / draft_params
    rate = _AT_RATIO - _FALL * math.log10(ratio / _RATIO)
    return AcceptanceRate(min(max(rate, _LEAST), _MOST), "assumed")


@dataclass(frozen=True, slots=True)
class StatedAcceptance:
    """What the user said: one rate for all drafts, rates by name, or only measured ones."""

    for_all: float | None = None
    by_name: tuple[tuple[str, float], ...] = ()
    only_measured: bool = False

    def of(self, draft: str) -> AcceptanceRate | None:
        """What was stated for a draft; None where nothing was."""
        rate = dict(self.by_name).get(draft, self.for_all)
        return None if rate is None else AcceptanceRate(rate, "as stated")


def parse_acceptance(texts: Sequence[str]) -> StatedAcceptance:
    """Reads `0.8`, `NAME=0.8` (several of them) and `measured`.

    Raises:
        UsageError: Something else, or a rate that is not between 0 and 1.
    """
    for_all: float | None = None
    by_name: dict[str, float] = {}
    for text in texts:
        if text == MEASURED:
            continue
        name, equals, number = text.rpartition("=")
        rate = _rate(number, text)
        if equals:
            by_name[name] = rate
        else:
            for_all = rate
    return StatedAcceptance(for_all, tuple(by_name.items()), MEASURED in texts)


def _rate(number: str, text: str) -> float:
    try:
        rate = float(number)
    except ValueError:
        rate = math.nan
    if not 0.0 <= rate <= 1.0:
        raise UsageError(
            f"`acceptance` {text!r} is not a share of accepted tokens",
            "use a number from 0 to 1, NAME=NUMBER for one draft, or measured",
        )
    return rate
