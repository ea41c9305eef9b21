"""Files that a message mentions as `@path`: read, fenced, and put below what is written."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from edgespec.errors import UsageError
from edgespec.text import human_bytes, one_line

MOST_BYTES: Final = 2 << 20
"""Some ten times what the longest usual context holds of text."""
_MENTION: Final = re.compile(r"""(?<!\S)@(?:"([^"\n]+)"|'([^'\n]+)'|([^\s"']\S*))""")
_TRAILING: Final = ".,;:!?)]}"
"""May end the sentence that a path stands in."""
_SURELY_PATHS: Final = ("./", "../", "/", "~/", ".\\", "..\\")
_FENCE: Final = re.compile(r"`{3,}")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file within the text of a message."""

    name: str
    """As it was written."""
    start: int
    """Where it begins in the text, with what names it."""
    end: int
    size_bytes: int
    token_n: int = 0
    """Of that part; 0 where nobody counted."""


@dataclass(frozen=True, slots=True)
class MessageWithFiles:
    """What the model is to see."""

    text: str
    attachments: tuple[Attachment, ...] = ()

    def parts(self) -> tuple[str, ...]:
        """The text of each file, with what names it."""
        return tuple(self.text[one.start : one.end] for one in self.attachments)

    def counted(self, token_n: Sequence[int]) -> "MessageWithFiles":
        """With the tokens of each file."""
        counted = [replace(one, token_n=n) for one, n in zip(self.attachments, token_n, strict=True)]
        return replace(self, attachments=tuple(counted))


def mentioned_files(text: str) -> list[str]:
    """The files that are mentioned in a text, each once.

    What is no file here is none, for `@property` or `@types/node` may be meant, unless it begins as only paths do.
    """
    found: list[str] = []
    for match in _MENTION.finditer(text):
        name = match[1] or match[2] or match[3]
        for candidate in (name, name.rstrip(_TRAILING)):
            if candidate and _exists(candidate):
                found.append(candidate)
                break
        else:
            if match[1] or match[2] or name.startswith(_SURELY_PATHS):
                found.append(name)
    return list(dict.fromkeys(found))


def attach(text: str, files: Sequence[str]) -> MessageWithFiles:
    """A text with files below it. Reads them: call it from a thread.

    Args:
        text: That mentions them.
        files: As they are mentioned there.

    Raises:
        UsageError: one is no file, is huge, is no text, or cannot be read.
    """
    whole, attachments = text, []
    for name in files:
        body = _read(name)
        start = len(whole)
        whole += f"\n\n{one_line(name)}:\n{_fenced(body, Path(name).suffix.lstrip('.'))}"
        attachments.append(Attachment(name, start, len(whole), len(body.encode())))
    return MessageWithFiles(whole, tuple(attachments))


def mention(path: str) -> str:
    """How a path is mentioned."""
    if not re.search(r"[\s\"']", path):
        return f"@{path}"
    return f'@"{path}"' if '"' not in path else f"@'{path}'"


def dropped_files(pasted: str) -> list[str]:
    """The files that a terminal pastes where they are dropped on it: absolute paths, quoted, escaped or as addresses.

    Returns:
        Empty where anything else is pasted.
    """
    lines = [line.strip() for line in pasted.strip().splitlines()]
    paths = [_dropped(line) for line in lines]
    found = [path for path in paths if path and Path(path).is_absolute() and _is_file(path)]
    return found if found and len(found) == len(lines) else []


def _dropped(line: str) -> str:
    if line.startswith("file://"):
        return unquote(urlsplit(line).path)
    if len(line) > 2 and line[0] == line[-1] and line[0] in "\"'":
        return line[1:-1]
    return line if _is_file(line) else re.sub(r"\\(.)", r"\1", line)


def _exists(name: str) -> bool:
    try:
        return Path(name).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def _read(name: str) -> str:
    path, shown = Path(name).expanduser(), one_line(name)
    try:
        if path.is_dir():
            raise UsageError(f"{shown} is a folder", "mention the files in it that matter")
        if not path.exists():
            raise UsageError(f"there is no file {shown}", "correct its path")
        if not path.is_file():
            raise UsageError(f"{shown} is no file", "mention one that can be read to its end")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror or error}", "make it readable") from error
    if len(data) > MOST_BYTES:
        size = human_bytes(path.stat().st_size)
        raise UsageError(f"{shown} has {size}", f"mention a part of it, {human_bytes(MOST_BYTES)} at most")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{shown} is no text in UTF-8", "mention a text") from None
    if "\0" in text:
        raise UsageError(f"{shown} is no text", "mention a text")
    return text.replace("\r\n", "\n").rstrip("\n")


def _fenced(text: str, language: str) -> str:
    """In a fence that nothing in the text closes."""
    longest = max((len(run) for run in _FENCE.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language if language.isalnum() else ''}\n{text}\n{fence}"
