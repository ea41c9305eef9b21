"""What can come after a slash command, where that is known: models, drafts, modes."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgespec.catalog.resolve import local_models
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import EdgespecError
from edgespec.text import human_bytes, one_line
from edgespec.worker.protocol import PairOpened
from tui.chat.choices import draft_choices
from tui.chat.slash import SlashCommand

_WORDS: Final = re.compile(r"\[(\w+(?:\|\w+)+)\]")
_MEANINGS: Final = {
    ("mode", "auto"): "Draft with whatever is fastest now, or not at all",
    ("mode", "model"): "Draft with the draft model only",
    ("mode", "ngram"): "Draft only what the text itself repeats",
    ("mode", "off"): "Draft nothing: plain decoding",
    ("tools", "on"): "Start the servers in mcp.json; each call is shown and asked about",
    ("tools", "off"): "End them",
    ("sampling", "temperature"): "How daring: 0 takes the likeliest token, 0.7 is usual for conversations",
    ("sampling", "top-k"): "Among so many of the likeliest tokens; 0 is off",
    ("sampling", "top-p"): "Among the likeliest that have so much of the odds together",
    ("sampling", "min-p"): "Among those that are at least so likely beside the likeliest",
    ("sampling", "repeat-penalty"): "Tokens of late become less likely; 1 is off, 1.1 is usual",
    ("sampling", "presence-penalty"): "The same for all that came of late; 0 is off",
    ("sampling", "frequency-penalty"): "The same by how often they came; 0 is off",
    ("sampling", "seed"): "The same number, the same answer",
    ("sampling", "model"): "For this model wherever it answers, not for this chat alone",
    ("sampling", "reset"): "As the model's file or the catalogue says",
    ("version", "next"): "The one made after it",
    ("version", "previous"): "The one made before it",
    ("tab", "new"): "An empty conversation in a tab of its own",
    ("tab", "next"): "The one at the right",
    ("tab", "previous"): "The one at the left",
    ("tab", "close"): "Close this one; its conversation stays in the list",
    ("think", "auto"): "As the model's template has it",
    ("think", "on"): "Let the model think before it answers",
    ("think", "off"): "Have the answer at once",
}


@dataclass(frozen=True, slots=True)
class Argument:
    """Something that can come after a command."""

    value: str
    detail: str = ""


def words_of(command: SlashCommand) -> list[Argument]:
    """The words that a command takes, where it takes nothing else."""
    if command.name == "sampling":
        words = [word for name, word in _MEANINGS if name == command.name]
    else:
        found = _WORDS.fullmatch(command.argument)
        words = found[1].split("|") if found else []
    return [Argument(word, _MEANINGS.get((command.name, word), "")) for word in words]


def is_looked_up(command: SlashCommand) -> bool:
    """Whether `look_up` knows something of it."""
    return command.name in ("model", "draft", "schema")


def look_up(command: SlashCommand, pair: PairOpened | None) -> list[Argument]:
    """What lies on disk for a command. Reads headers: call it from a thread.

    Args:
        command: One that `is_looked_up`.
        pair: What is loaded, which drafts have to suit.
    """
    try:
        if command.name == "draft":
            return _drafts(pair) if pair is not None else []
        if command.name == "schema":
            return [Argument("off", "Answers of any form"), *map(_file, sorted(Path().glob("*.json")))]
        return [
            Argument(model.spec, f"{human_bytes(model.size_bytes)} · {model.origin}")
            for model in local_models(load_catalog())
        ]
    except (EdgespecError, OSError):
        return []  # a name can be written all the same, and what is wrong is said where it is taken


def _file(path: Path) -> Argument:
    return Argument(str(path), human_bytes(path.stat().st_size))


def _drafts(pair: PairOpened) -> list[Argument]:
    return [
        Argument(
            choice.value, one_line(f"{choice.title.removeprefix(choice.value).strip()}  {choice.detail}")
        )
        for choice in draft_choices(pair)
        if not choice.disabled
    ]
