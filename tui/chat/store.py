"""Saved conversations: one JSON file each, written so that an interruption loses nothing."""

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgespec.decode.token import DraftSource
from edgespec.errors import EdgespecError
from edgespec.files import written_whole
from edgespec.worker.protocol import Piece
from tui.chat.conversation import Conversation, Message, Receipt, to_markdown

_VERSION = 1


@dataclass(frozen=True, slots=True)
class ChatStore:
    """The conversations in a folder, which is made when the first one is saved."""

    folder: Path

    def save(self, conversation: Conversation) -> None:
        """Writes it in place of what was saved of it before; an empty one is not worth a file.

        Raises:
            EdgespecError: the folder or the file cannot be written.
        """
        if conversation.messages:
            _write(self._path(conversation.id), json.dumps(_to_document(conversation), ensure_ascii=False))

    def load_all(self) -> list[Conversation]:
        """All that can be read, the newest first."""
        found = []
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                found.append(_from_document(json.loads(path.read_text(encoding="utf-8"))))
        return sorted(found, key=lambda conversation: conversation.updated_at, reverse=True)

    def delete(self, conversation: Conversation) -> None:
        """Removes its file."""
        self._path(conversation.id).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def export_markdown(conversation: Conversation, path: Path) -> Path:
    """Writes the conversation as a Markdown document, never over a file that is there.

    Raises:
        EdgespecError: the file exists, or cannot be written.
    """
    path = path.expanduser()
    if path.exists():
        raise EdgespecError(f"{path} exists", "name another file")
    _write(path, to_markdown(conversation))
    return path.resolve()


def _write(path: Path, text: str) -> None:
    try:
        with written_whole(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EdgespecError(
            f"{path} cannot be written: {error.strerror or error}", "free some space, or name another place"
        ) from error


def _to_document(conversation: Conversation) -> dict[str, Any]:
    return {"version": _VERSION, **asdict(conversation)}


def _from_document(document: dict[str, Any]) -> Conversation:
    if document.pop("version") != _VERSION:
        raise ValueError("another version")
    messages = tuple(_message(message) for message in document.pop("messages"))
    return Conversation(**document, messages=messages)


def _message(document: dict[str, Any]) -> Message:
    pieces = tuple(Piece(piece["text"], DraftSource(piece["source"])) for piece in document.pop("pieces"))
    receipt = document.pop("receipt")
    return Message(**document, pieces=pieces, receipt=Receipt(**receipt) if receipt else None)
