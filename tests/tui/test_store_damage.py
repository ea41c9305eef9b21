"""Saved conversations on an unlucky day: kills, full disks, damaged files."""

import os
import signal
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from edgespec.errors import EdgespecError
from tests.tui.chat_files import conversation, edit_file, is_sound, kept_questions, posix_only, start
from tui.chat.database import VERSION
from tui.chat.store import ChatStore

LIMIT_S = 60.0
_WRITE = """
from itertools import count
from pathlib import Path
from tui.chat.conversation import Conversation, Message
from tui.chat.store import ChatStore
store = ChatStore(Path(given[0]))
for n in count(int(given[1])):
    chat = Conversation.begin().add(Message("user", f"q{n}")).add(Message("assistant", "word " * 20_000))
    store.save(chat)
    print(n, flush=True)
"""


@posix_only
@pytest.mark.parametrize("seed", range(4))
def test_what_was_saved_before_a_kill_is_there_after_it(store: ChatStore, seed: int) -> None:
    journal = Path(f"{store.database.file}-journal")
    wait_n, saved = Random(seed).randint(1, 6), -1
    with start(_WRITE, store.folder, 0) as writer:
        assert writer.stdout is not None
        for _ in range(wait_n):
            saved = int(writer.stdout.readline())
        until_s = time.monotonic() + LIMIT_S
        while not journal.exists():  # in the middle of a write
            assert time.monotonic() < until_s
        writer.send_signal(signal.SIGKILL)
        saved = max([saved, *map(int, writer.stdout.read().split())])
    kept = kept_questions(store)
    assert {f"q{n}" for n in range(saved + 1)} <= kept <= {f"q{n}" for n in range(saved + 2)}
    assert {len(store.load(one.id).messages) for one in store.summaries()} == {2}
    assert is_sound(store.database.file)


def test_work_that_breaks_off_in_the_middle_has_changed_nothing(store: ChatStore) -> None:
    """Wherever a kill falls: what was written before it counts no more than what was not."""
    chat = store.save(conversation("one"))

    def break_off(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE conversations SET title = 'half'")
        connection.execute("DELETE FROM messages")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.database.write(break_off)
    assert [one.title for one in store.summaries()] == ["one"]
    assert store.load(chat.id) == chat


def test_what_is_saved_is_on_the_disk_and_so_is_its_name(store: ChatStore) -> None:
    """Only with EXTRA does a commit outlive a power cut where a journal of this kind is deleted."""
    store.save(conversation("one"))
    settings = {"journal_mode": "delete", "synchronous": 3}
    for name, value in settings.items():
        found = store.database.read(lambda one, name=name: one.execute(f"PRAGMA {name}").fetchone(), None)
        assert found == (value,)


_FULL_DISK = """
import resource, signal
from pathlib import Path
from edgespec.errors import EdgespecError
from tui.chat.conversation import Conversation, Message
from tui.chat.store import ChatStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = ChatStore(Path(given[0]))
chat = store.save(Conversation.begin().add(Message("user", "small")))
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (store.database.file.stat().st_size + 5000, most))
longer = chat.add(Message("assistant", "word " * 20_000))
try:
    store.save(longer)
except EdgespecError as error:
    print(error.message)
assert store.load(chat.id) == chat
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
assert store.load(store.save(longer).id) == longer
assert len(store.summaries()) == 1
"""


@posix_only
def test_a_file_that_may_not_grow_costs_nothing_that_was_saved(store: ChatStore) -> None:
    with start(_FULL_DISK, store.folder) as process:
        said, _ = process.communicate()
    assert process.returncode == 0
    assert said.startswith(f"{store.database.file} cannot be used: ")
    assert is_sound(store.database.file)
    assert store.take_notes() == []


@posix_only
def test_only_their_owner_can_read_them(store: ChatStore) -> None:
    store.folder.mkdir(mode=0o755)  # as 0.1.0 made it
    before = os.umask(0)
    try:
        store.save(conversation("secret"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in store.folder.iterdir()} == {0o600}


def test_a_deleted_conversation_leaves_none_of_its_lines_in_the_file(store: ChatStore) -> None:
    store.save(conversation("kept"))
    chat = store.save(conversation("the secret of the house on the hill"))
    assert b"secret of the house" in store.database.file.read_bytes()
    store.delete(chat.id)
    assert b"secret of the house" not in store.database.file.read_bytes()


def test_a_database_of_a_later_version_is_not_touched(store: ChatStore) -> None:
    chat = store.save(conversation("one"))
    edit_file(store, f"PRAGMA user_version = {VERSION + 1}")
    before = store.database.file.read_bytes()
    attempts: list[Callable[[], object]] = [
        store.summaries,
        store.newest,
        store.recent_questions,
        lambda: store.save(chat),
        lambda: store.delete(chat.id),
    ]
    for attempt in attempts:
        with pytest.raises(EdgespecError, match="later version of edgespec") as raised:
            attempt()
        assert "\n" not in raised.value.message
    assert store.database.file.read_bytes() == before
    assert [file.name for file in store.folder.iterdir()] == [store.database.file.name]


@pytest.mark.parametrize("damage", ["no database", "cut", "holes", "schema", "a stranger's"])
def test_a_damaged_database_is_kept_aside_and_a_new_one_begins(store: ChatStore, damage: str) -> None:
    file = store.database.file
    for n in range(20):
        store.save(conversation(f"q{n}"))
    whole = file.read_bytes()
    match damage:
        case "no database":
            file.write_bytes(b"not a database" * 200)
        case "cut":
            file.write_bytes(whole[:5000])
        case "holes":
            file.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
        case "schema":  # which SQLite then quotes in its message
            file.write_bytes(whole.replace(b"INTEGER PRIMARY KEY", b"INTEGER PRIMARY \xba\xba\xba"))
        case _:
            edit_file(store, "ALTER TABLE conversations RENAME TO others")
    damaged = file.read_bytes()
    assert store.summaries() == []
    [note] = store.take_notes()
    [aside] = [one for one in store.folder.iterdir() if ".damaged-" in one.name]
    assert aside.name in note and str(file) in note
    assert aside.read_bytes() == damaged
    chat = store.save(conversation("anew"))
    assert store.load(chat.id) == chat
    assert store.take_notes() == []


@pytest.mark.parametrize("seed", range(8))
def test_no_damage_keeps_a_conversation_from_being_saved(store: ChatStore, seed: int) -> None:
    rng = Random(seed)
    for n in range(10):
        store.save(conversation(f"q{n}"))
    whole = bytearray(store.database.file.read_bytes())
    for _ in range(rng.randint(1, 40)):
        place = rng.randrange(len(whole))
        whole[place : place + 64] = rng.randbytes(64)
    whole[60:64] = VERSION.to_bytes(4, "big")  # that of another version would be left alone
    store.database.file.write_bytes(whole)
    chat = conversation("anew")
    for one in store.summaries():
        try:
            store.load(one.id)
        except EdgespecError as error:
            assert one.id in error.message
    saved = store.save(chat)
    assert store.load(saved.id) == chat


def test_a_damaged_search_index_is_made_anew_and_no_conversation_is_lost(store: ChatStore) -> None:
    chat = store.save(conversation("apples"))
    edit_file(store, "UPDATE messages_index_data SET block = x'00'")
    assert [one.id for one in store.search("apples")] == [chat.id]
    assert store.take_notes() == []
    assert [file.name for file in store.folder.iterdir()] == [store.database.file.name]


def test_a_database_that_is_being_written_is_said_to_be(
    store: ChatStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.chat.database.BUSY_S", 0.05)
    chat = store.save(conversation("one"))
    with closing(sqlite3.connect(store.database.file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(EdgespecError, match="locked") as raised:
            store.summaries()
        assert raised.value.hint == "another program is writing to it: try again"
    assert store.load(chat.id) == chat


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "chats").write_text("a file")
    store = ChatStore(tmp_path / "chats")
    assert store.summaries() == []
    with pytest.raises(EdgespecError, match="cannot be made"):
        store.save(conversation("one"))


def test_one_message_that_cannot_be_read_costs_one_conversation(store: ChatStore) -> None:
    good, bad = store.save(conversation("good")), store.save(conversation("bad"))
    edit_file(store, f"UPDATE messages SET details = '[' WHERE conversation_id = '{bad.id}'")
    assert {one.title for one in store.summaries()} == {"good", "bad"}
    assert store.load(good.id) == good
    with pytest.raises(EdgespecError, match=f"conversation {bad.id}"):
        store.load(bad.id)


def test_a_file_that_was_begun_and_not_filled_is_filled(store: ChatStore) -> None:
    store.folder.mkdir()
    store.database.file.touch()
    assert store.summaries() == []
    chat = store.save(conversation("one"))
    assert store.load(chat.id) == chat
