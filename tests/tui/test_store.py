"""Saved conversations: what is written stays, whoever writes beside, and however it ends."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from edgespec.errors import EdgespecError
from edgespec.llama.sampler import Sampling
from tests.conftest import REPOSITORY
from tests.tui.scripted import ANSWER
from tui.chat.conversation import Conversation, Message, Receipt
from tui.chat.database import VERSION
from tui.chat.store import ChatStore

TEXT = "".join(piece.text for piece in ANSWER)
posix_only = pytest.mark.skipif(os.name != "posix", reason="modes and SIGKILL are POSIX")


@pytest.fixture
def store(tmp_path: Path) -> ChatStore:
    return ChatStore(tmp_path / "chats")


def conversation(*questions: str, system: str = "") -> Conversation:
    """With an answer to each question."""
    begun = Conversation.begin(system)
    for question in questions:
        begun = begun.add(Message("user", question)).add(Message("assistant", f"{question}? {TEXT}", ANSWER))
    return begun


def questions_of(chat: Conversation) -> list[str]:
    return [message.content for message in chat.messages if message.role == "user"]


def kept_questions(store: ChatStore) -> set[str]:
    """All that the lists of the app lead to."""
    return {text for one in store.summaries() for text in questions_of(store.load(one.id))}


def edit_file(store: ChatStore, statement: str) -> None:
    with closing(sqlite3.connect(store.database.file)) as connection, connection:
        connection.execute(statement)


def is_sound(file: Path) -> bool:
    with closing(sqlite3.connect(file)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that runs a program with the arguments in `given`."""
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys\ngiven = sys.argv[1:]\n{program}", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


# What is saved comes back.


def test_a_conversation_comes_back_with_every_field(store: ChatStore) -> None:
    answer = Message("assistant", TEXT, ANSWER, Receipt("20 tok/s", "on"), True, "Hm.\0", 7, 1.5)
    chat = replace(
        Conversation.begin("Be brief.").add(Message("user", "q\n\N{SNAKE}")).add(answer),
        target="target-1b",
        sampling=Sampling(temperature=0.7, seed=3),
    )
    saved = store.save(chat)
    assert store.load(chat.id) == saved == chat
    assert store.newest() == chat
    [summary] = store.summaries()
    assert (summary.id, summary.title, summary.target) == (chat.id, chat.title, "target-1b")
    assert (summary.message_n, summary.pinned, summary.updated_at) == (2, False, chat.updated_at)


def test_nothing_is_made_before_something_is_said(store: ChatStore) -> None:
    assert (store.summaries(), store.newest(), store.recent_questions(), store.search("a")) == (
        [],
        None,
        [],
        [],
    )
    empty = Conversation.begin("sys")
    assert store.save(empty) == empty
    store.delete(empty.id)
    assert not store.folder.exists()
    with pytest.raises(EdgespecError, match="there is no conversation"):
        store.load(empty.id)


def test_text_that_is_no_text_is_saved_as_far_as_it_is(store: ChatStore) -> None:
    chat = store.save(Conversation.begin("s\ud800").add(Message("user", "a\udfffb")))
    assert store.load(chat.id).messages[0].content == "a?b"
    assert [one.id for one in store.search("\ud800 a")] == [chat.id]
    assert store.search('"*( AND') == []


def test_an_edit_or_another_answer_leaves_what_was_there_in_the_tree(store: ChatStore) -> None:
    first = store.save(conversation("one", "two"))
    again = store.save(first.without_last_answer().add(Message("assistant", "another")))
    before, question = again.without_last_question()
    edited = store.save(before.add(Message("user", "2")))
    assert question == "two"
    assert store.load(first.id).messages == edited.messages
    with closing(sqlite3.connect(store.database.file)) as connection:
        rows = connection.execute("SELECT parent_id, text FROM messages ORDER BY number").fetchall()
    parents = {text: parent for parent, text in rows}
    assert len(rows) == 6
    assert parents["another"] == parents[f"two? {TEXT}"] == first.messages[2].id
    assert parents["2"] == parents["two"] == first.messages[1].id
    assert [one.message_n for one in store.summaries()] == [3]


def test_titles_and_places_that_a_user_gave_stay(store: ChatStore) -> None:
    old, new = (
        replace(conversation(name), updated_at=f"{year}-01-01T00:00:00+00:00")
        for name, year in (("old", 2025), ("new", 2026))
    )
    for chat in (old, new):
        store.save(chat)
    assert [one.title for one in store.summaries()] == ["new", "old"]
    store.pin(old.id, True)
    store.rename(old.id, "Kept")
    store.save(store.load(old.id).add(Message("user", "more")))
    assert [(one.title, one.pinned) for one in store.summaries()] == [("Kept", True), ("new", False)]
    newest = store.newest()
    assert newest is not None and newest.id == new.id
    store.pin(old.id, False)
    assert [one.title for one in store.summaries()] == ["new", "Kept"]


def test_words_are_found_in_all_messages_and_titles(store: ChatStore) -> None:
    apples, pears = store.save(conversation("about Äpfel, green ones")), store.save(conversation("pears"))
    store.rename(pears.id, "Orchard")

    def found(text: str) -> list[str]:
        return [one.id for one in store.search(text)]

    assert found("apfel") == found("GREEN onE") == found("about") == [apples.id]
    assert found("orch") == found("pea") == [pears.id]
    assert set(found("palindrome")) == {apples.id, pears.id}
    assert found("green pears") == found("") == found("nowhere") == []
    store.delete(pears.id)
    assert found("orch") == found("pears") == []
    assert is_sound(store.database.file)


def test_a_conversation_of_thousands_of_messages_goes_whole(store: ChatStore) -> None:
    chat = store.save(conversation(*(f"q{n}" for n in range(1500))))
    assert len(store.load(chat.id).messages) == 3000
    store.delete(chat.id)
    assert store.summaries() == []
    assert store.recent_questions() == []


def test_a_start_reads_no_more_than_it_shows(store: ChatStore) -> None:
    long = "word " * 20_000
    for n in range(100):
        store.save(Conversation.begin().add(Message("user", f"q{n}")).add(Message("assistant", long)))
    assert store.database.file.stat().st_size > 10_000_000
    tracemalloc.start()
    asked, _, peak_bytes = store.recent_questions(), store.newest(), tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert asked == [f"q{n}" for n in range(100)]
    assert peak_bytes < 2_000_000


# Several at once.

_TALK = """
from pathlib import Path
from tui.chat.conversation import Message
from tui.chat.store import ChatStore
folder, chat_id, name, count = given
store = ChatStore(Path(folder))
chat = store.load(chat_id)
print("loaded", flush=True)
input()
for n in range(int(count)):
    chat = store.save(chat.add(Message("user", f"{name}{n}")))
    chat = store.save(chat.add(Message("assistant", f"to {name}{n}")))
"""


def test_one_conversation_in_two_processes_keeps_what_both_wrote(store: ChatStore) -> None:
    begun = store.save(conversation("begun"))
    talkers = []
    for name in ("a", "b"):
        talker = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import sys\ngiven = sys.argv[1:]\n{_TALK}",
                store.folder,
                begun.id,
                name,
                "10",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        talkers.append(talker)
    for talker in talkers:
        assert talker.stdout is not None and talker.stdout.readline() == "loaded\n"
    for talker in talkers:
        assert talker.stdin is not None
        talker.stdin.write("go\n")
        talker.stdin.flush()
    for talker in talkers:
        talker.communicate()
        assert talker.returncode == 0
    lines = [store.load(one.id) for one in store.summaries()]
    wanted = {("begun", *(f"{name}{n}" for n in range(10))) for name in ("a", "b")}
    assert {tuple(questions_of(line)) for line in lines} == wanted
    assert sorted(len(line.messages) for line in lines) == [22, 22]
    assert is_sound(store.database.file)


def test_what_another_app_wrote_meanwhile_stays_and_this_goes_on_beside_it(store: ChatStore) -> None:
    begun = store.save(conversation("begun"))
    other = ChatStore(store.folder)
    theirs = other.save(other.load(begun.id).add(Message("user", "theirs")))
    ours = store.save(begun.add(Message("user", "ours")))
    ours = store.save(ours.add(Message("assistant", "to ours")))
    assert ours.id != theirs.id == begun.id
    assert store.load(theirs.id).messages == theirs.messages
    assert [message.content for message in store.load(ours.id).messages][-2:] == ["ours", "to ours"]
    assert len(store.summaries()) == 2


def test_a_conversation_that_another_app_deleted_is_saved_whole_again(store: ChatStore) -> None:
    begun = store.save(conversation("one"))
    ChatStore(store.folder).delete(begun.id)
    store.save(begun.add(Message("user", "two")))
    assert questions_of(store.load(begun.id)) == ["one", "two"]


# The unlucky day.

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
        while not journal.exists():  # in the middle of a write
            pass
        writer.send_signal(signal.SIGKILL)
        saved = max([saved, *map(int, writer.stdout.read().split())])
    kept = kept_questions(store)
    assert {f"q{n}" for n in range(saved + 1)} <= kept <= {f"q{n}" for n in range(saved + 2)}
    assert is_sound(store.database.file)


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
