"""Which conversations are open side by side, as it is kept for the next start."""

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OpenTabs:
    """In the order of their tabs."""

    ids: tuple[str, ...] = ()
    """Of conversations."""
    shown: str = ""
    """Id of the one that is seen."""


def read_open_tabs(connection: sqlite3.Connection) -> OpenTabs:
    """As they were kept; without those that were deleted since."""
    rows = connection.execute("SELECT conversation_id, is_shown FROM open_tabs ORDER BY place").fetchall()
    return OpenTabs(tuple(row[0] for row in rows), next((row[0] for row in rows if row[1]), ""))


def write_open_tabs(connection: sqlite3.Connection, tabs: OpenTabs) -> None:
    """Keeps them in the place of those before; of one that is not saved, nothing is kept."""
    connection.execute("DELETE FROM open_tabs")
    connection.executemany(
        "INSERT INTO open_tabs SELECT ?, id, ? FROM conversations WHERE id = ?",
        [(place, chat_id == tabs.shown, chat_id) for place, chat_id in enumerate(tabs.ids)],
    )
