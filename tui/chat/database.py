"""The SQLite file that conversations are kept in: its schema and versions, and what happens where it cannot be used.

Homes are shared: by several apps, by containers, by machines over a network. So the rollback journal, and no WAL, whose index
is memory that the processes of one machine share: two machines that write to one WAL file damage it. Commits are rare here
(two a turn) and small, so WAL would gain nothing either. `synchronous = EXTRA` is what makes a commit outlive a power cut with
this journal: with FULL the journal's name may come back and undo it (https://sqlite.org/pragma.html#pragma_synchronous).
Every piece of work opens the file and closes it: nothing is held that another process would wait for, none meets a file that
has been moved away, and any thread may work.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from edgespec.errors import EdgespecError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_S: Final = 5.0
"""How long work waits for another process that is writing."""
_INDEXES: Final = ("titles_index", "messages_index")
_TOKENIZER: Final = "tokenize = 'unicode61 remove_diacritics 2'"
_PREFIXES: Final = "prefix = '1 2'"
"""What is found while a word's first two letters are typed stands in the index: all its words would have to be gone through."""


def _index_triggers(index: str, table: str, column: str) -> tuple[str, ...]:
    """Keep an index of external content in step, as https://sqlite.org/fts5.html#external_content_tables has it."""
    add = f"INSERT INTO {index} (rowid, {column}) VALUES (new.number, new.{column});"
    drop = f"INSERT INTO {index} ({index}, rowid, {column}) VALUES ('delete', old.number, old.{column});"
    return (
        f"CREATE TRIGGER {index}_insert AFTER INSERT ON {table} BEGIN {add} END",
        f"CREATE TRIGGER {index}_delete AFTER DELETE ON {table} BEGIN {drop} END",
        f"CREATE TRIGGER {index}_update AFTER UPDATE OF {column} ON {table} "
        f"WHEN old.{column} IS NOT new.{column} BEGIN {drop} {add} END",
    )


_MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        # `number` is the rowid under a name: an index refers to it, and VACUUM leaves it alone.
        """CREATE TABLE conversations (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            title TEXT NOT NULL,
            is_renamed INTEGER NOT NULL DEFAULT 0,
            pinned INTEGER NOT NULL DEFAULT 0,
            created_at TEXT NOT NULL,
            updated_at TEXT NOT NULL,
            target TEXT NOT NULL,
            system TEXT NOT NULL,
            sampling TEXT,
            head_id TEXT NOT NULL,
            message_n INTEGER NOT NULL
        )""",
        "CREATE INDEX conversations_by_time ON conversations (updated_at, number)",
        # A tree: an edit or another answer is one more child of the same parent. No cascade from parent to child: a chain is
        # as long as a conversation, and SQLite follows a thousand steps.
        """CREATE TABLE messages (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
            parent_id TEXT,
            created_at TEXT NOT NULL,
            role TEXT NOT NULL,
            text TEXT NOT NULL,
            thought TEXT NOT NULL,
            details TEXT NOT NULL
        )""",
        "CREATE INDEX messages_by_conversation ON messages (conversation_id)",
        # A search goes from numbers to conversations past the texts, of which each fills a page.
        "CREATE INDEX conversations_of_messages ON messages (number, conversation_id)",
        "CREATE VIRTUAL TABLE titles_index USING fts5 "
        f"(title, content = 'conversations', content_rowid = 'number', {_TOKENIZER}, {_PREFIXES})",
        "CREATE VIRTUAL TABLE messages_index USING fts5 "
        f"(text, content = 'messages', content_rowid = 'number', {_TOKENIZER}, {_PREFIXES})",
        *_index_triggers("titles_index", "conversations", "title"),
        *_index_triggers("messages_index", "messages", "text"),
    ),
    # What answered, as a JSON object.
    ("ALTER TABLE conversations ADD COLUMN opened TEXT",),
    # What is written and not sent.
    (
        """CREATE TABLE drafts (
            conversation_id TEXT NOT NULL PRIMARY KEY REFERENCES conversations (id) ON DELETE CASCADE,
            text TEXT NOT NULL
        )""",
    ),
    # What is open side by side.
    (
        """CREATE TABLE open_tabs (
            place INTEGER PRIMARY KEY,
            conversation_id TEXT NOT NULL UNIQUE REFERENCES conversations (id) ON DELETE CASCADE,
            is_shown INTEGER NOT NULL
        )""",
        # What is written and not sent in conversations of which nothing is saved.
        """CREATE TABLE first_drafts (
            number INTEGER PRIMARY KEY,
            conversation_id TEXT NOT NULL UNIQUE,
            text TEXT NOT NULL
        )""",
    ),
)
"""Statements that make each version of the schema out of the one before. What stands here has been released: only add."""
VERSION: Final = len(_MIGRATIONS)
"""`PRAGMA user_version` of a file that this version writes."""

_HINTS: Final = {
    sqlite3.SQLITE_BUSY: "another program is writing to it: try again",
    sqlite3.SQLITE_LOCKED: "another program is writing to it: try again",
    sqlite3.SQLITE_FULL: "free some space",
    sqlite3.SQLITE_READONLY: "make the file and its folder writable",
    sqlite3.SQLITE_CANTOPEN: "make the file and its folder readable and writable",
}

_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""The second where a message of SQLite quotes a damaged schema."""


class ChatDatabase:
    """One file, readable by its owner alone. It is made by the first work that writes.

    Every method raises EdgespecError where the file cannot be read or written, or where a later version has made it: that one
    is not touched. A damaged file is moved aside under a name of its own, and work goes on with a new one.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.notes: list[str] = []
        """What was done to the file that its owner should know. Whoever has said it empties the list."""

    @property
    def exists(self) -> bool:
        """Whether anything was saved yet.

        Raises:
            EdgespecError: its folder cannot be read.
        """
        try:
            return self.file.exists()
        except OSError as error:
            raise EdgespecError(
                f"{self.file} cannot be read: {error.strerror or error}", "make its folder readable"
            ) from error

    def read(self, work: Work[T], otherwise: T) -> T:
        """Does work that sees the file as it is at one moment; `otherwise` where there is no file."""
        return self._run("BEGIN", work, BUSY_S) if self.exists else otherwise

    def write(self, work: Work[T], *, busy_s: float = BUSY_S) -> T:
        """Does work that is there whole or not at all, and that nobody writes beside.

        Args:
            work: May be done twice, of which the first time has come to nothing.
            busy_s: How long to wait for others.
        """
        self._make()
        return self._run("BEGIN IMMEDIATE", work, busy_s)

    def _make(self) -> None:
        if self.exists:
            return
        folder = self.file.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)  # one of 0.1.0 was open to all
            # Never one that is there: to close it would drop the locks that this process has on it.
            with suppress(FileExistsError):
                os.close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise EdgespecError(
                f"{self.file} cannot be made: {error.strerror or error}",
                "free some space, or mend the folder",
            ) from error

    def _run(self, begin: str, work: Work[T], busy_s: float) -> T:
        try:
            try:
                return self._attempt(begin, work, busy_s)
            except _ERRORS as error:
                if not _is_damage(error):
                    raise
            self._mend()
            self._make()
            return self._attempt(begin, work, busy_s)
        except (*_ERRORS, OSError) as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            raise EdgespecError(f"{self.file} cannot be used: {error}", _HINTS.get(code, "")) from error

    def _attempt(self, begin: str, work: Work[T], busy_s: float) -> T:
        # A connection that is closed before COMMIT has changed nothing.
        with closing(self._connect(busy_s)) as connection:
            connection.execute(begin)
            result = work(connection)
            connection.execute("COMMIT")
            return result

    def _connect(self, busy_s: float) -> sqlite3.Connection:
        connection = sqlite3.connect(self.file, timeout=busy_s, isolation_level=None)
        try:
            connection.text_factory = _decoded
            for setting in ("synchronous = EXTRA", "foreign_keys = ON", "secure_delete = ON"):
                connection.execute(f"PRAGMA {setting}")
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        version = _version(connection)
        if not 0 <= version <= VERSION:
            raise EdgespecError(
                f"{self.file} is of a later version of edgespec (its schema is {version}, here it is {VERSION}): "
                "it stays as it is, and conversations are not saved",
                "update edgespec",
            )
        if version == VERSION:
            return
        connection.execute("BEGIN IMMEDIATE")
        for statements in _MIGRATIONS[_version(connection) :]:  # another process may have been first
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")

    def _mend(self) -> None:
        """Makes the search index anew; where that does not help, moves the file aside."""
        if self._is_sound_with_new_index():
            return
        aside = self.file.with_name(
            f"{self.file.stem}.damaged-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}{self.file.suffix}"
        )
        # The journal first: one without its file would be played into the next of that name.
        with suppress(FileNotFoundError):
            Path(f"{self.file}-journal").rename(f"{aside}-journal")
        with suppress(FileNotFoundError):  # another process was first
            self.file.rename(aside)
            self.notes.append(
                f"{self.file} is damaged: it is kept as {aside.name}, and conversations begin anew; "
                f"`sqlite3 {aside.name} .recover` shows what is left in it"
            )

    def _is_sound_with_new_index(self) -> bool:
        try:
            with closing(self._connect(BUSY_S)) as connection:
                for index in _INDEXES:
                    connection.execute(f"INSERT INTO {index} ({index}) VALUES ('rebuild')")
                return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
        except _ERRORS as error:
            if not _is_damage(error):
                raise
            return False


def storable(text: str) -> str:
    """What SQLite can hold of a text: lone surrogates, which are no characters, become question marks."""
    return text.encode("utf-8", "replace").decode()


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # The statements are right, so what makes one wrong is the file: a table that is not there, a header of another kind.
    has_no_fts5 = str(error).startswith("no such module")
    return (
        isinstance(error, UnicodeDecodeError)
        or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        or (code == sqlite3.SQLITE_ERROR and not has_no_fts5)
    )
