"""Saved conversations: one JSON file each, written so that an interruption loses nothing."""

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from edgespec.documents import build, read_json
from edgespec.errors import ConfigError, EdgespecError
from edgespec.files import written_whole
from tui.chat.conversation import Conversation, to_markdown

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
            document = {"version": _VERSION, **asdict(conversation)}
            _write(self._path(conversation.id), json.dumps(document, ensure_ascii=False))

    def load_all(self) -> list[Conversation]:
        """All that can be read, the newest first."""
        found = []
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(ConfigError):
                found.append(build(Conversation, read_json(path, version=_VERSION), str(path)))
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
