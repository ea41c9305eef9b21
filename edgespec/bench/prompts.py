"""The prompts of a benchmark: the package's own, or a file in Spec-Bench's format."""

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from edgespec.chat.messages import ChatMessage
from edgespec.documents import build, parse_json
from edgespec.errors import ConfigError, UsageError

_KNOWN_LINES: Final = (
    'each line is a JSON object like {"id": "a1", "category": "chat", "prompt": "..."} '
    'or Spec-Bench\'s {"question_id": 1, "category": "qa", "turns": ["..."]}'
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One conversation that every arm answers once per repeat."""

    id: str
    category: str
    messages: tuple[ChatMessage, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    """What a line may say, in all of its forms."""

    id: str | int | None = None
    question_id: str | int | None = None
    category: str | int | None = None
    prompt: str | None = None
    turns: tuple[str, ...] | None = None
    messages: tuple[ChatMessage, ...] | None = None


def builtin_prompts() -> tuple[Prompt, ...]:
    """The package's own prompts: five of each of ten kinds, in different lengths, as they are typed into a chat.

    Only `edit` asks for its text back. `multi-turn` are conversations; `long-context` has texts of 700 to 1,100 tokens.
    """
    text = resources.files("edgespec").joinpath("data", "prompts.jsonl").read_text(encoding="utf-8")
    return _parse(text, "the built-in prompts")


def load_prompts(path: Path) -> tuple[Prompt, ...]:
    """Read prompts from a JSONL file; blank lines are skipped.

    Three kinds of lines are read: Spec-Bench's (`question_id`, `category`, `turns`: the first turn is used), one with
    `prompt`, and one with `messages` of `role` and `content`. `id` and `category` may be left out of the last two.

    Raises:
        UsageError: the file cannot be read.
        ConfigError: a line is not of these kinds (the message names it), two prompts share an id, or there are none.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})", _KNOWN_LINES) from error
    except OSError as error:
        raise UsageError(
            f"cannot read the prompts file {path}: {error.strerror or error}",
            "give the path of a JSONL file to `prompts`, or leave it out for the built-in prompts",
        ) from error
    return _parse(text, str(path))


def select(
    prompts: Sequence[Prompt], categories: Sequence[str] = (), limit: int | None = None
) -> tuple[Prompt, ...]:
    """The first `limit` prompts of each category in their own order; no categories means all of them.

    Raises:
        UsageError: a category that no prompt has (the nearest is named), or a limit below one.
    """
    known = tuple(dict.fromkeys(p.category for p in prompts))
    for name in categories:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]!r}? There" if near else "there"
            raise UsageError(f"no prompt has the category {name!r}", f"{meant} are: {', '.join(known)}")
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} prompts a category leaves none", "give `limit` 1 or more")
    seen: Counter[str] = Counter()
    chosen = []
    for prompt in prompts:
        seen[prompt.category] += 1
        wanted = not categories or prompt.category in categories
        if wanted and (limit is None or seen[prompt.category] <= limit):
            chosen.append(prompt)
    return tuple(chosen)


def _parse(text: str, source: str) -> tuple[Prompt, ...]:
    prompts: dict[str, Prompt] = {}
    # Not splitlines(): JSON strings may hold U+2028 and its like, which do not end a line of JSONL.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{source}, line {number}"
        prompt = _prompt(line, where, number)
        if prompt.id in prompts:
            raise ConfigError(
                f"{where}: the id {prompt.id!r} was used before", "give every prompt its own id"
            )
        prompts[prompt.id] = prompt
    if not prompts:
        raise ConfigError(f"{source} has no prompts", _KNOWN_LINES)
    return tuple(prompts.values())


def _prompt(line: str, where: str, number: int) -> Prompt:
    entry = build(_Line, parse_json(line, where, hint=_KNOWN_LINES), where, hint=_KNOWN_LINES)
    given_id = entry.question_id if entry.id is None else entry.id
    return Prompt(
        id=_label(given_id, f"line-{number}", where),
        category=_label(entry.category, "prompts", where),
        messages=_messages(entry, where),
    )


def _label(given: str | int | None, default: str, where: str) -> str:
    label = default if given is None else str(given)
    if not label.strip():
        raise ConfigError(f"{where}: {given!r} is not a name", _KNOWN_LINES)
    return label


def _messages(entry: _Line, where: str) -> tuple[ChatMessage, ...]:
    if entry.messages is not None:
        if not entry.messages or entry.messages[-1].role != "user":
            raise ConfigError(f"{where}: 'messages' must end with what the user says", _KNOWN_LINES)
        return entry.messages
    text = entry.prompt if entry.turns is None else "".join(entry.turns[:1])
    if not text or not text.strip():
        raise ConfigError(
            f"{where}: no text to answer (neither 'turns' nor 'prompt' nor 'messages')", _KNOWN_LINES
        )
    return (ChatMessage("user", text),)
