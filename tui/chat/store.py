"""Saved conversations: each message is written once and stays; a conversation is the way to one of them."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edgespec.chat.tools import ToolCall
from edgespec.documents import build, parse_json
from edgespec.errors import EdgespecError
from edgespec.files import written_whole
from edgespec.llama.sampling_wish import SamplingWish
from edgespec.worker.protocol import Piece
from tui.chat.attachments import Attachment
from tui.chat.conversation import Conversation, Message, Opened, Receipt, in_line, to_markdown
from tui.chat.database import ChatDatabase, Work, storable
from tui.chat.kept_drafts import (
    drop_first_draft,
    has_first_draft,
    read_draft,
    take_first_drafts,
    write_draft,
)
from tui.chat.listing import (
    MOST_FOUND,
    ChatSummary,
    count_conversations,
    list_conversations,
    search_conversations,
    summary_of,
)
from tui.chat.open_tabs import OpenTabs, read_open_tabs, write_open_tabs

DATABASE_NAME: Final = "conversations.db"
OLD_FILES_FOLDER: Final = "from-0.1.0"
"""Beside the database: the files that conversations were in before."""
_COLUMNS: Final = ("role", "content", "thought", "id")
"""Of a message; its other fields stand in one JSON object, so that a further one needs no other schema."""
_MOST_RECENT: Final = 200
"""Questions that the prompt's history begins with."""


class ChatStore:
    """The conversations in a folder, which is made when the first one is saved.

    Every method raises EdgespecError where the database cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = ChatDatabase(folder / DATABASE_NAME)

    def save(self, conversation: Conversation) -> Conversation:
        """Adds what is not saved of it yet; an empty one is not worth a place.

        Nothing that was saved goes: what an edit or another answer replaced stays in the tree of messages. A conversation that
        another app has taken further meanwhile stays as that one left it, and this one is saved beside it under another id.

        Returns:
            The conversation as it is saved: to be saved from next time.
        """
        if not conversation.messages:
            return conversation
        return self.database.write(lambda connection: _save(connection, conversation))

    def load(self, chat_id: str) -> Conversation:
        """One conversation, whole.

        Raises:
            EdgespecError: there is none of this id, or it is damaged.
        """
        found = self.database.read(lambda connection: _load(connection, chat_id), None)
        if found is None:
            raise EdgespecError(f"there is no conversation {chat_id} any more")
        return found

    def newest(self) -> Conversation | None:
        """The one that was written to last."""
        line = "SELECT id FROM conversations ORDER BY updated_at DESC, number DESC LIMIT 1"

        def find(connection: sqlite3.Connection) -> Conversation | None:
            found = connection.execute(line).fetchone()
            return _load(connection, found[0]) if found else None

        return self.database.read(find, None)

    def summaries(self, limit: int = -1) -> list[ChatSummary]:
        """The pinned ones first, then the newest; no message is read.

        Args:
            limit: So many of them; -1 for all.
        """
        return self.database.read(lambda one: list_conversations(one, limit), [])

    def summary(self, chat_id: str) -> ChatSummary | None:
        """What a list says of one conversation; None where it is not saved."""
        return self.database.read(lambda one: summary_of(one, chat_id), None)

    def count(self) -> int:
        """How many are saved."""
        return self.database.read(count_conversations, 0)

    def search(self, text: str, limit: int = MOST_FOUND) -> list[ChatSummary]:
        """Those with a title or a message that has all words of `text`, of which each may be the beginning of one.

        Args:
            text: What was typed; white space is between words.
            limit: So many, those that were found in the newest messages.
        """
        return self.database.read(lambda one: search_conversations(one, text, limit), [])

    def draft(self, chat_id: str) -> str:
        """What was written in a conversation and not sent; empty where nothing was."""
        return self.database.read(lambda one: read_draft(one, chat_id), "")

    def keep_draft(self, chat_id: str, text: str) -> None:
        """Keeps what is written in a conversation and not sent; of one that is not saved, for a new one at the next start."""
        change = self.database.write if text else self._change
        change(lambda connection: write_draft(connection, chat_id, text))

    def drop_first_draft(self, chat_id: str) -> None:
        """Keeps nothing any more of what was written in a conversation of which nothing is saved."""
        self._change(lambda connection: drop_first_draft(connection, chat_id))

    def take_first_drafts(self, chat_id: str) -> str:
        """What was written and not sent where nothing was ever saved, the oldest first: it is the draft of this conversation now."""
        if not self.database.read(has_first_draft, False):
            return ""
        return self.database.write(lambda connection: take_first_drafts(connection, chat_id))

    def open_tabs(self) -> OpenTabs:
        """The conversations that were open side by side, in the app that kept them last."""
        return self.database.read(read_open_tabs, OpenTabs())

    def keep_tabs(self, tabs: OpenTabs) -> None:
        """Keeps which conversations are open; of one that is not saved, nothing is kept."""
        self._change(lambda connection: write_open_tabs(connection, tabs))

    def recent_questions(self) -> list[str]:
        """What was asked last, in any conversation, the oldest first."""
        query = "SELECT text, details FROM messages WHERE role = 'user' ORDER BY number DESC LIMIT ?"
        none: list[tuple[str, str]] = []
        newest = self.database.read(lambda one: one.execute(query, (_MOST_RECENT,)).fetchall(), none)
        return [_written(text, details) for text, details in reversed(newest)]

    def take_back(self, conversation: Conversation, head: str) -> str:
        """Removes the last message, which nothing has answered: the conversation leads to another one again.

        Where another app went on from it, it stays.

        Args:
            conversation: As it was saved last.
            head: Id of the message that it led to before, in this line or in another; where that one is gone, it is the one
                before the message.

        Returns:
            Id of the message that it leads to; empty where nothing is left of the conversation.
        """
        if not self.database.exists:
            return ""
        return self.database.write(lambda one: _take_back(one, conversation, head))

    def rename(self, chat_id: str, title: str) -> None:
        """Gives it a title that stays."""
        line = "UPDATE conversations SET title = ?, is_renamed = 1 WHERE id = ?"
        self._change(lambda connection: connection.execute(line, (storable(title), chat_id)))

    def pin(self, chat_id: str, pinned: bool) -> None:
        """Puts it before all others, or not."""
        line = "UPDATE conversations SET pinned = ? WHERE id = ?"
        self._change(lambda connection: connection.execute(line, (pinned, chat_id)))

    def delete(self, chat_id: str) -> None:
        """Removes it with all of its messages, and the file that it was in before.

        Raises:
            EdgespecError: one of both cannot be written to.
        """
        self._change(lambda one: one.execute("DELETE FROM conversations WHERE id = ?", (chat_id,)))
        folder = self.folder / OLD_FILES_FOLDER
        file = folder / f"{chat_id}.json"
        try:
            if file.parent == folder:  # an id came out of a file, and is no path
                file.unlink(missing_ok=True)
        except OSError as error:
            raise EdgespecError(f"{error.filename} cannot be deleted: {error.strerror}") from error

    def take_notes(self) -> list[str]:
        """What happened to the database that its owner should know, each time once."""
        notes, self.database.notes = self.database.notes, []
        return notes

    def _change(self, work: Work[object]) -> None:
        if self.database.exists:
            self.database.write(work)


def export_markdown(conversation: Conversation, path: Path) -> Path:
    """Writes the conversation as a Markdown document, never over a file that is there.

    Raises:
        EdgespecError: the file exists, or cannot be written.
    """
    path = path.expanduser()
    if path.exists():
        raise EdgespecError(f"{path} exists", "name another file")
    try:
        with written_whole(path) as unfinished:
            unfinished.write_text(to_markdown(conversation), encoding="utf-8")
    except OSError as error:
        raise EdgespecError(
            f"{path} cannot be written: {error.strerror or error}", "free some space, or name another place"
        ) from error
    return path.resolve()


def head_of(connection: sqlite3.Connection, chat_id: str) -> str | None:
    """Id of the newest message of a conversation as it is shown; None where there is no such conversation."""
    found = connection.execute("SELECT head_id FROM conversations WHERE id = ?", (chat_id,)).fetchone()
    return str(found[0]) if found else None


def message_ids(connection: sqlite3.Connection, chat_id: str) -> set[str]:
    """Of all messages of a conversation, those that are not shown among them."""
    rows = connection.execute("SELECT id FROM messages WHERE conversation_id = ?", (chat_id,))
    return {chat_id for (chat_id,) in rows}


def write_conversation(connection: sqlite3.Connection, conversation: Conversation, now: str) -> Conversation:
    """Writes what the database lacks of it, and makes its last message the one that the conversation leads to."""
    messages = conversation.messages
    head = messages[-1].id if messages else ""
    sampling = json.dumps(dict(conversation.sampling.given)) if conversation.sampling else None
    opened = json.dumps(asdict(conversation.opened)) if conversation.opened else None
    connection.execute(
        """INSERT INTO conversations
            (id, title, created_at, updated_at, target, system, sampling, opened, head_id, message_n)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET title = CASE WHEN is_renamed THEN title ELSE excluded.title END,
            updated_at = excluded.updated_at, target = excluded.target, system = excluded.system,
            sampling = excluded.sampling, opened = excluded.opened, head_id = excluded.head_id, message_n = excluded.message_n""",
        (
            *map(storable, (conversation.id, conversation.title)),
            *map(storable, (conversation.created_at, conversation.updated_at)),
            *map(storable, (conversation.target, conversation.system)),
            *(sampling, opened, head, len(messages)),
        ),
    )
    written = message_ids(connection, conversation.id)
    connection.executemany(
        "INSERT INTO messages (id, conversation_id, parent_id, created_at, role, text, thought, details) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (message.id, conversation.id, parent, now, *_texts_of(message))
            for parent, message in _all_of(conversation)
            if message.id not in written
        ],
    )
    grown = [
        (one.grown_from, conversation.id) for one in messages if one.grown_from and one.id not in written
    ]
    # Where another app has gone on from the shorter one, it stays.
    connection.executemany(
        "DELETE FROM messages WHERE id = ? AND conversation_id = ? "
        "AND id NOT IN (SELECT parent_id FROM messages WHERE parent_id IS NOT NULL)",
        grown,
    )
    return replace(conversation, head=head)


def _all_of(conversation: Conversation) -> Iterator[tuple[str | None, Message]]:
    """Every message with the id of the one before it, those too that an edit or another answer replaced."""
    written: set[str] = set()
    for branches in (conversation.branches, in_line(conversation.messages)):
        for parent, messages in branches.items():
            for message in messages:
                if message.id not in written:
                    written.add(message.id)
                    yield parent or None, message


def _texts_of(message: Message) -> tuple[str, str, str, str]:
    details = {one.name: getattr(message, one.name) for one in fields(message) if one.name not in _COLUMNS}
    document = json.dumps(details, ensure_ascii=False, default=_fields_of)
    content, thought, document = map(storable, (message.content, message.thought, document))
    return message.role, content, thought, document


def _fields_of(value: Piece | Receipt | ToolCall | Attachment) -> dict[str, object]:
    # `asdict` copies what it finds, which takes most of the time where thousands are written.
    return {one.name: getattr(value, one.name) for one in fields(value)}


def _save(connection: sqlite3.Connection, conversation: Conversation) -> Conversation:
    head = head_of(connection, conversation.id)
    if head is not None and head != conversation.head:
        conversation = conversation.copied()
    return write_conversation(connection, conversation, datetime.now(UTC).isoformat(timespec="seconds"))


def _take_back(connection: sqlite3.Connection, conversation: Conversation, head: str) -> str:
    chat_id, messages = conversation.id, conversation.messages
    last = head_of(connection, chat_id)
    if last is None or not messages or last != messages[-1].id:
        return last or ""
    connection.execute("DELETE FROM messages WHERE id = ?", (last,))
    left = message_ids(connection, chat_id)
    before = next(iter(messages[-2:-1]), None)
    head = head if head in left else before.id if before else ""
    if left:
        line = "UPDATE conversations SET head_id = ?, message_n = ? WHERE id = ?"
        message_n = len(_line_to(head, _tree_of(connection, chat_id)))
        connection.execute(line, (head, message_n, chat_id))
    else:
        connection.execute("DELETE FROM conversations WHERE id = ?", (chat_id,))
    return head


def _load(connection: sqlite3.Connection, chat_id: str) -> Conversation | None:
    found = connection.execute(
        "SELECT created_at, system, target, updated_at, head_id, sampling, opened FROM conversations WHERE id = ?",
        (chat_id,),
    ).fetchone()
    if found is None:
        return None
    created_at, system, target, updated_at, head, sampling, opened = found
    label = f"conversation {chat_id}"
    chosen = build(SamplingWish, parse_json(sampling, label), label) if sampling else None
    by = build(Opened, parse_json(opened, label), label) if opened else None
    branches = _tree_of(connection, chat_id)
    messages = _line_to(head, branches)
    return Conversation(chat_id, created_at, system, messages, target, updated_at, chosen, by, head, branches)


def _tree_of(connection: sqlite3.Connection, chat_id: str) -> dict[str, tuple[Message, ...]]:
    """All messages of a conversation by the ids of those before them."""
    rows = connection.execute(
        "SELECT id, parent_id, role, text, thought, details FROM messages WHERE conversation_id = ? "
        "ORDER BY number",
        (chat_id,),
    )
    tree: dict[str, list[Message]] = {}
    for place, parent, role, text, thought, details in rows:
        label = f"conversation {chat_id}, message {place}"
        fields = {"role": role, "content": text, "thought": thought, "id": place}
        message = build(Message, {**_table(parse_json(details, label)), **fields}, label)
        tree.setdefault(parent or "", []).append(message)
    return {parent: tuple(messages) for parent, messages in tree.items()}


def _line_to(head: str, branches: Mapping[str, tuple[Message, ...]]) -> tuple[Message, ...]:
    """The messages from the first one to `head`."""
    # Taken out, no message is met twice, whatever a damaged file says of parents.
    left = {one.id: (parent, one) for parent, messages in branches.items() for one in messages}
    line: list[Message] = []
    place = head
    while found := left.pop(place, None):
        place, message = found
        line.append(message)
    return tuple(reversed(line))


def _written(text: str, details: str) -> str:
    """A question without the files below it."""
    if '"attachments": [{' not in details:
        return text
    try:
        return build(
            Message, {**_table(parse_json(details, "")), "role": "user", "content": text}, ""
        ).written
    except EdgespecError:
        return text


def _table(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
