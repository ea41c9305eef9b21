"""System prompts under names: a few that are built in, and the user's own, kept as TOML beside the settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError

from edgespec.documents import build, read_text, read_toml
from edgespec.errors import EdgespecError, UsageError
from edgespec.files import changing, written_whole
from edgespec.paths import system_prompts_file

BUILT_IN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Brief": "Answer in as few words as the question allows. No introduction and no summary.",
        "Editor": "Correct the text that you are given: spelling, grammar, clumsy sentences. Keep its meaning and its tone. "
        "Answer with the corrected text alone.",
        "Programmer": "You are an experienced programmer. Give code that runs, in one block, and then say in a sentence or two what "
        "matters about it. Say so when you are not sure.",
        "Translator": "Translate what you are given into English; translate English into the language that is named. Keep the "
        "meaning, the tone and the layout. Answer with the translation alone.",
        "Tutor": "Explain step by step to somebody who is new to the subject, in plain words and with one small example. "
        "End with a question that shows whether it was understood.",
    }
)
_MOST_CHARACTERS: Final = 60
"""Of a name."""
_MOST_OF_A_TEXT: Final = 100_000


@dataclass(frozen=True, slots=True)
class _Document:
    """The file."""

    prompts: Mapping[str, str] = field(default_factory=dict)


def own_prompts() -> dict[str, str]:
    """Those that the user has saved.

    Raises:
        ConfigError: the file is not TOML, or holds something else than texts.
    """
    path = system_prompts_file()
    if not path.exists():
        return {}
    document = build(_Document, read_toml(path), str(path), hint="mend it, or move it away")
    return dict(document.prompts)


def all_prompts() -> dict[str, str]:
    """Name -> text, by names. The user's own come before those that are built in under the same name.

    Raises:
        ConfigError: as of `own_prompts`.
    """
    found = {**BUILT_IN, **own_prompts()}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def prompt_named(name: str) -> str | None:
    """The text of a name, whatever its capitals; None where there is none.

    Raises:
        ConfigError: as of `own_prompts`.
    """
    wanted = name.strip().lower()
    return next((text for known, text in all_prompts().items() if known.lower() == wanted), None)


def save_prompt(name: str, text: str) -> None:
    """Keeps a text under a name, in the place of one that has it.

    Raises:
        UsageError: no name, or one that is too long; no text, or one that no model could read.
        EdgespecError: the file cannot be read or written.
    """
    name, text = " ".join(name.split()), text.strip()
    if not name or len(name) > _MOST_CHARACTERS:
        raise UsageError(f"the name has {len(name)} characters", f"use 1 to {_MOST_CHARACTERS}")
    if not text or len(text) > _MOST_OF_A_TEXT:
        raise UsageError(f"the text has {len(text):,} characters", f"use 1 to {_MOST_OF_A_TEXT:,}")
    _change(name, text)


def delete_prompt(name: str) -> None:
    """Forgets what was saved under a name; what is built in under it is there again.

    Raises:
        UsageError: nothing was saved under it.
        EdgespecError: the file cannot be read or written.
    """
    if name not in own_prompts():
        raise UsageError(f"{name} is built in and stays", "write another one under its name instead")
    _change(name, None)


def _change(name: str, text: str | None) -> None:
    path = system_prompts_file()
    try:
        with changing(path, private=True) as file, written_whole(file, private=True) as unfinished:
            unfinished.write_text(_changed(file, name, text), encoding="utf-8")
    except TOMLKitError as error:
        raise EdgespecError(f"{path} cannot be read: {error}", "mend it, or move it away") from error
    except OSError as error:
        raise EdgespecError(f"{path} cannot be written: {error.strerror or error}") from error


def _changed(file: Path, name: str, text: str | None) -> str:
    """The file with one text more or less; what else stands in it stays, comments too."""
    document = tomlkit.parse(read_text(file) if file.exists() else "")
    prompts: Any = document.setdefault("prompts", tomlkit.table())
    if text is None:
        prompts.pop(name, None)
    else:
        prompts[name] = tomlkit.string(text, multiline="\n" in text)
    return tomlkit.dumps(document)
