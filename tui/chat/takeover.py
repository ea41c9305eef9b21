"""The conversations of edgespec 0.1.0, one JSON file each, into the database: once, whole, and without doubling."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgespec.documents import build, read_json
from edgespec.errors import ConfigError, EdgespecError
from tui.chat.conversation import Conversation, Message
from tui.chat.store import OLD_FILES_FOLDER, ChatStore, head_of, message_ids, write_conversation

_FORMAT: Final = 1
"""Of the files that 0.1.0 wrote."""
_BUSY_S: Final = 120.0
"""Another app may be taking over some thousands of them."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """What came of it."""

    n: int
    """Conversations that are in the database now."""
    folder: Path
    """Where their files are kept."""
    left_out: tuple[str, ...]
    """What is wrong with each file that stays where it was."""


def has_old_files(store: ChatStore) -> bool:
    """Whether there is anything to take over."""
    return next(_old_files(store.folder), None) is not None


def take_over(store: ChatStore) -> TakenOver:
    """Reads all files into the database in one transaction, then moves them to a folder beside it.

    Of a run that was killed, either nothing is in the database or everything; files that were not moved yet are
    known by what is in them, and moved by the next run.

    Raises:
        EdgespecError: the database cannot be written, or the files cannot be moved.
    """
    files = sorted(_old_files(store.folder))
    folder = store.folder / OLD_FILES_FOLDER
    taken: list[Path] = []
    left_out: list[str] = []

    def work(connection: sqlite3.Connection) -> None:
        taken.clear()
        left_out.clear()
        for file in files:
            try:
                conversation = _read(file)
            except EdgespecError as error:
                left_out.append(f"{error.message}: it was left out, and stays where it is")
            else:
                _insert(connection, conversation)
                taken.append(file)

    store.database.write(work, busy_s=_BUSY_S)
    _move(taken, folder)
    return TakenOver(len(taken), folder, tuple(left_out))


def _old_files(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.glob("*.json")
    except OSError as error:
        raise EdgespecError(f"{folder} cannot be read: {error.strerror or error}") from error


def _read(file: Path) -> Conversation:
    """Raises ConfigError for whatever else lies under such a name."""
    if not file.is_file():
        raise ConfigError(f"{file} is no file")
    document = read_json(file, version=_FORMAT)
    found = build(Conversation, document, str(file))
    return _with_ids(found, [json.dumps(message) for message in document.get("messages", ())])


def _with_ids(conversation: Conversation, texts: Sequence[str]) -> Conversation:
    """With an id for each message that follows from all that was said until then: a file gives the same ones each time.

    Args:
        conversation: Its id goes into those of its messages.
        texts: What distinguishes each message from others in its place.
    """
    messages: list[Message] = []
    before = conversation.id
    for message, text in zip(conversation.messages, texts, strict=True):
        before = hashlib.sha256(json.dumps([before, text]).encode()).hexdigest()[:32]
        messages.append(replace(message, id=before))
    return replace(conversation, messages=tuple(messages), branches={})


def _insert(connection: sqlite3.Connection, conversation: Conversation) -> None:
    """Adds what is new in it. A file may come again with more messages, where 0.1.0 is still in use."""
    ids = [message.id for message in conversation.messages]
    head = head_of(connection, conversation.id)
    if head is not None:
        if message_ids(connection, conversation.id).issuperset(ids):
            return
        if head not in ids:  # it went on in two ways
            beside = _with_ids(replace(conversation, id=f"{conversation.id}-{ids[-1][:8]}"), ids)
            _insert(connection, beside)
            return
    write_conversation(connection, conversation, now="")


def _move(files: list[Path], folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for file in files:
            with suppress(FileNotFoundError):  # another app moves them too
                file.chmod(0o600)
                file.rename(_free_place(folder, file))
    except OSError as error:
        raise EdgespecError(f"{error.filename} cannot be moved: {error.strerror}") from error


def _free_place(folder: Path, file: Path) -> Path:
    place = folder / file.name
    number = 2
    while place.exists():
        place = folder / f"{file.stem}.{number}.json"
        number += 1
    return place
