"""The ways of drafting and of thinking, as keys and commands go through them."""

from typing import Final

from edgespec.chat.template import THINKS, Think
from edgespec.decode.policy import Mode
from edgespec.errors import UsageError
from edgespec.worker.protocol import PairOpened

_IN_ORDER: Final = (Mode.AUTO, Mode.MODEL, Mode.NGRAM, Mode.OFF)
_WORDS: Final = {
    "off": Mode.OFF,
    "none": Mode.OFF,
    "model": Mode.MODEL,
    "ngram": Mode.NGRAM,
    "auto": Mode.AUTO,
}


def next_mode(pair: PairOpened) -> Mode:
    """The one after the pair's own, in a circle; without a draft model, that one is left out."""
    modes = [mode for mode in _IN_ORDER if pair.draft or mode is not Mode.MODEL]
    place = modes.index(pair.mode) if pair.mode in modes else -1
    return modes[(place + 1) % len(modes)]


def mode_named(word: str) -> Mode:
    """As it is typed after /mode.

    Raises:
        UsageError: there is no such mode.
    """
    mode = _WORDS.get(word.lower())
    if mode is None:
        raise UsageError(f"unknown mode {word}", "use off, model, ngram or auto")
    return mode


def switch_named(word: str) -> bool:
    """As it is typed after /tools.

    Raises:
        UsageError: it is neither on nor off.
    """
    if word.lower() not in ("on", "off"):
        raise UsageError(f"/tools {word} is not a choice", "it takes on or off")
    return word.lower() == "on"


def next_think(think: Think) -> Think:
    """Whether the model thinks: the choice after this one, in a circle."""
    return THINKS[(THINKS.index(think) + 1) % len(THINKS)]


def think_named(word: str) -> Think:
    """As it is typed after /think.

    Raises:
        UsageError: there is no such choice.
    """
    found = next((think for think in THINKS if think == word.lower()), None)
    if found is None:
        raise UsageError(f"unknown choice {word} for /think", "use auto, on or off")
    return found
