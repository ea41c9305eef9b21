"""Saved conversations: what is written stays, whoever writes beside, and however it ends."""

import os
import sqlite3
import subprocess
import sys
import tracemalloc
from contextlib import closing
from dataclasses import replace

import pytest

from edgespec.errors import EdgespecError
from edgespec.llama.sampling_wish import SamplingWish
from tests.conftest import REPOSITORY
from tests.tui.chat_files import TEXT, conversation, is_sound, questions_of
from tests.tui.scripted import ANSWER
from tui.chat.conversation import Conversation, Message, Receipt
from tui.chat.store import ChatStore

# What is saved comes back.


def test_a_conversation_comes_back_with_every_field(store: ChatStore) -> None:
    answer = Message("assistant", TEXT, ANSWER, Receipt("20 tok/s", "on"), True, "Hm.\0", 7, 1.5)
    chat = replace(
        Conversation.begin("Be brief.").add(Message("user", "q\n\N{SNAKE}")).add(answer),
        target="target-1b",
        sampling=SamplingWish(temperature=0.7, seed=3),
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
