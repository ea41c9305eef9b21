"""What was written and not sent, in the database: beside its conversation, or by itself where nothing of that is saved."""

import sqlite3
from typing import Final

from tui.chat.database import storable

_BETWEEN: Final = "\n\n"


def read_draft(connection: sqlite3.Connection, chat_id: str) -> str:
    """Of a conversation; empty where there is none."""
    line = "SELECT text FROM drafts WHERE conversation_id = ?"
    found = connection.execute(line, (chat_id,)).fetchone()
    return str(found[0]) if found else ""


def write_draft(connection: sqlite3.Connection, chat_id: str, text: str) -> None:
    """In the place of the one before; an empty one is none."""
    connection.execute("DELETE FROM drafts WHERE conversation_id = ?", (chat_id,))
    drop_first_draft(connection, chat_id)
    if text:
        is_saved = connection.execute("SELECT 1 FROM conversations WHERE id = ?", (chat_id,)).fetchone()
        table = "drafts" if is_saved else "first_drafts"
        line = f"INSERT INTO {table} (conversation_id, text) VALUES (?, ?)"
        connection.execute(line, (chat_id, storable(text)))


def drop_first_draft(connection: sqlite3.Connection, chat_id: str) -> None:
    """Of a conversation of which nothing is saved."""
    connection.execute("DELETE FROM first_drafts WHERE conversation_id = ?", (chat_id,))


def has_first_draft(connection: sqlite3.Connection) -> bool:
    """Whether anything was written and not sent where nothing was ever saved."""
    return connection.execute("SELECT 1 FROM first_drafts").fetchone() is not None


def take_first_drafts(connection: sqlite3.Connection, chat_id: str) -> str:
    """All of them, the oldest first, as the one of this conversation from now on."""
    rows = connection.execute("SELECT text FROM first_drafts ORDER BY number").fetchall()
    text = _BETWEEN.join(row[0] for row in rows)
    connection.execute("DELETE FROM first_drafts")
    write_draft(connection, chat_id, text)
    return text
