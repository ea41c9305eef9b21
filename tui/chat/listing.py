"""Lists of saved conversations: all of them, or those in which some words are, with the place where they are."""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from tui.chat.database import storable

MOST_LISTED: Final = 500
"""More than anybody reads through; a search finds the others."""
MOST_FOUND: Final = 100
_SUMMARY: Final = "SELECT id, title, updated_at, target, message_n, pinned FROM conversations"
_NEWEST_FIRST: Final = "ORDER BY pinned DESC, updated_at DESC, number DESC"
_BEGIN, _END = "\x02", "\x03"
"""Around words that were found: no text that is worth reading has them."""
_WORDS: Final = 14
"""Of an excerpt: a line of a list."""
_FOUND_IN_TITLES: Final = (
    "SELECT id, '' FROM titles_index JOIN conversations ON number = titles_index.rowid "
    "WHERE titles_index MATCH ? ORDER BY titles_index.rowid DESC"
)
_FOUND_IN_MESSAGES: Final = (
    f"SELECT conversation_id, snippet(messages_index, 0, '{_BEGIN}', '{_END}', '…', {_WORDS}) FROM messages_index "
    "JOIN messages INDEXED BY conversations_of_messages ON number = messages_index.rowid "
    "WHERE messages_index MATCH ? ORDER BY messages_index.rowid DESC"
)


@dataclass(frozen=True, slots=True)
class ChatSummary:
    """A line of a list of conversations."""

    id: str
    title: str
    updated_at: str
    target: str
    message_n: int
    pinned: bool
    excerpt: tuple[str, ...] = ()
    """Of a message in which words were found: what is before one, that word, what comes then, and so on."""


def count_conversations(connection: sqlite3.Connection) -> int:
    """How many there are."""
    return int(connection.execute("SELECT count(*) FROM conversations").fetchone()[0])


def list_conversations(connection: sqlite3.Connection, limit: int) -> list[ChatSummary]:
    """The pinned ones first, then the newest; no message is read."""
    rows = connection.execute(f"{_SUMMARY} {_NEWEST_FIRST} LIMIT ?", (limit,))
    return [_summary(row) for row in rows]


def summary_of(connection: sqlite3.Connection, chat_id: str) -> ChatSummary | None:
    """One of them; None where there is none of this id."""
    row = connection.execute(f"{_SUMMARY} WHERE id = ?", (chat_id,)).fetchone()
    return _summary(row) if row else None


def search_conversations(connection: sqlite3.Connection, text: str, limit: int) -> list[ChatSummary]:
    """Those with a title or a message that has all words of a text, of which each may be the beginning of one.

    Args:
        connection: To the database.
        text: What was typed; white space is between words, nothing in it is a part of a query's language.
        limit: So many, those that were found in the newest messages.

    Returns:
        The pinned ones first, then the newest.
    """
    words = " ".join('"{}"*'.format(word.replace('"', '""')) for word in storable(text).split())
    if not words:
        return []
    in_titles = dict(_first_of_each(connection.execute(_FOUND_IN_TITLES, (words,)), limit))
    in_messages = dict(_first_of_each(connection.execute(_FOUND_IN_MESSAGES, (words,)), limit))
    found = in_titles | in_messages
    places = ", ".join("?" * len(found))
    rows = connection.execute(f"{_SUMMARY} WHERE id IN ({places}) {_NEWEST_FIRST}", tuple(found))
    summaries = [_summary(row) for row in rows][:limit]
    return [replace(one, excerpt=_parts(found[one.id])) for one in summaries]


def _first_of_each(rows: Iterator[tuple[str, str]], limit: int) -> Iterator[tuple[str, str]]:
    """The first row of each conversation.

    From the newest back to where there are enough: a word that is everywhere takes no longer than another.
    """
    seen: set[str] = set()
    for chat_id, excerpt in rows:
        if chat_id not in seen:
            seen.add(chat_id)
            yield chat_id, excerpt
            if len(seen) == limit:
                return


def _parts(excerpt: str) -> tuple[str, ...]:
    return tuple(re.split(f"[{_BEGIN}{_END}]", excerpt)) if excerpt else ()


def _summary(row: tuple[str, str, str, str, int, int]) -> ChatSummary:
    return ChatSummary(row[0], row[1], row[2], row[3], row[4], bool(row[5]))
