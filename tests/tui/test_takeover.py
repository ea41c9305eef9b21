"""The conversations of edgespec 0.1.0: taken over whole, once, and none of their files destroyed."""

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from threading import Timer

import pytest
from textual.pilot import Pilot

from edgespec.paths import chats_dir
from tests.conftest import REPOSITORY
from tests.tui.chat_files import conversation, is_sound, posix_only, questions_of
from tests.tui.chat_script import chat_of, open_list, send, status_of
from tests.tui.conftest import LARGE, AppBench, settle
from tests.tui.scripted import ANSWER
from tui.chat.conversation import Conversation, Message, Receipt
from tui.chat.store import OLD_FILES_FOLDER, ChatStore
from tui.chat.takeover import has_old_files, take_over
from tui.services.launch import Launch

NESTED_TOO_DEEP = "[" * 100_000
ODD_FILES = {
    "half.json": '{"version": 1, "id": "half", "mess',
    "later.json": '{"version": 2, "id": "later", "created_at": "", "parts": []}',
    "another.json": '{"name": "no conversation"}',
    "list.json": "[]",
    "deep.json": NESTED_TOO_DEEP,
    "role.json": '{"version": 1, "id": "a", "created_at": "", "messages": [{"role": "robot", "content": ""}]}',
    "number.json": '{"version": 1, "id": "a", "created_at": "", "messages": '
    '[{"role": "user", "content": "", "thought_s": 1' + "0" * 400 + "}]}",
    "bytes.json": "\udcff\udcfe",
}


@pytest.fixture
def store(tmp_path: Path) -> ChatStore:
    return ChatStore(tmp_path / "chats")


def write_old(folder: Path, chat: Conversation) -> Path:
    """As 0.1.0 wrote it."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"version": 1, **asdict(chat)}
    for name in ("sampling", "opened", "head", "branches"):
        del document[name]
    for message in document["messages"]:
        del message["id"]
    path = folder / f"{chat.id}.json"
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def write_odd_files(folder: Path) -> set[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ODD_FILES.items():
        (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    (folder / "folder.json").mkdir()
    odd = {*ODD_FILES, "folder.json"}
    if os.name == "posix":
        os.mkfifo(folder / "pipe.json")  # whoever opens it waits for ever
        odd.add("pipe.json")
    return odd


def kept_names(store: ChatStore) -> set[str]:
    folder = store.folder / OLD_FILES_FOLDER
    return {file.name for file in folder.iterdir()} if folder.exists() else set()


def test_every_field_of_every_conversation_is_taken_over(store: ChatStore) -> None:
    answer = Message("assistant", "a\n\N{SNAKE}", ANSWER, Receipt("20 tok/s", "on"), True, "Hm.", 7, 1.25)
    chats = [
        replace(
            Conversation.begin(f"sys {n}").add(Message("user", f"q{n}")).add(answer),
            target=f"target-{n}",
            updated_at=f"2026-01-{n + 1:02d}T00:00:00+00:00",
        )
        for n in range(12)
    ]
    files = {write_old(store.folder, chat).name: chat for chat in chats}
    bytes_before = {name: (store.folder / name).read_bytes() for name in files}
    assert has_old_files(store)
    taken = take_over(store)
    assert (taken.n, taken.left_out) == (12, ())
    assert {chat.id: store.load(chat.id) for chat in chats} == {chat.id: chat for chat in chats}
    assert [one.id for one in store.summaries()] == [chat.id for chat in reversed(chats)]
    assert [one.id for one in store.search("q7")] == [chats[7].id]
    assert {file.name: file.read_bytes() for file in taken.folder.iterdir()} == bytes_before
    assert not has_old_files(store)


def test_what_is_no_conversation_is_named_and_stays_where_it_is(store: ChatStore) -> None:
    odd = write_odd_files(store.folder)
    good = conversation("good")
    write_old(store.folder, good)
    for _ in range(2):
        taken = take_over(store)
        assert {name for name in odd for text in taken.left_out if name in text} == odd
        assert len(taken.left_out) == len(odd)
        assert odd <= {file.name for file in store.folder.iterdir()}
        assert [store.load(one.id) for one in store.summaries()] == [good]
    assert kept_names(store) == {f"{good.id}.json"}


def test_a_file_that_comes_again_is_not_doubled_and_what_is_new_in_it_is_added(store: ChatStore) -> None:
    chat = conversation("one")
    write_old(store.folder, chat)
    take_over(store)
    longer = chat.add(Message("user", "two"))
    for again in (chat, longer, chat):
        write_old(store.folder, again)
        assert take_over(store).n == 1
        assert len(store.summaries()) == 1
    assert store.load(chat.id) == longer
    assert len(kept_names(store)) == 4


def test_a_file_that_went_on_in_another_way_is_kept_beside(store: ChatStore) -> None:
    chat = conversation("one")
    write_old(store.folder, chat)
    take_over(store)
    here = store.save(store.load(chat.id).add(Message("user", "here")))
    there = chat.add(Message("user", "there"))
    for _ in range(2):
        write_old(store.folder, there)
        take_over(store)
    assert store.load(chat.id) == here
    assert {tuple(questions_of(store.load(one.id))) for one in store.summaries()} == {
        ("one", "here"),
        ("one", "there"),
    }
    assert len(store.summaries()) == 2


def test_a_deleted_conversation_goes_with_the_file_that_it_was_in(store: ChatStore) -> None:
    chat, other = conversation("one"), conversation("two")
    for one in (chat, other):
        write_old(store.folder, one)
    take_over(store)
    store.delete(chat.id)
    assert kept_names(store) == {f"{other.id}.json"}
    outside = store.folder.parent / "outside.json"
    outside.write_text("{}")
    store.delete("../../outside")
    assert outside.exists()


@posix_only
def test_files_that_were_open_to_all_are_private_afterwards(store: ChatStore) -> None:
    write_old(store.folder, conversation("one")).chmod(0o644)
    store.folder.chmod(0o755)
    taken = take_over(store)
    assert stat.S_IMODE(store.folder.stat().st_mode) == stat.S_IMODE(taken.folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in taken.folder.iterdir()] == [0o600]


_TAKE_OVER = """
import sys
from pathlib import Path
from tui.chat.store import ChatStore
from tui.chat.takeover import take_over
print(take_over(ChatStore(Path(sys.argv[1]))).n)
"""


def start_take_over(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _TAKE_OVER, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


@posix_only
@pytest.mark.parametrize("moved_n", [0, 1, 25], ids=["writing", "moving", "later"])
def test_a_take_over_that_was_killed_begins_again_and_doubles_nothing(store: ChatStore, moved_n: int) -> None:
    chats = [conversation(f"q{n} " + "word " * 4000) for n in range(150)]
    for chat in chats:
        write_old(store.folder, chat)
    journal = Path(f"{store.database.file}-journal")
    with start_take_over(store.folder) as process:
        while len(kept_names(store)) < moved_n or (not moved_n and not journal.exists()):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    left = len(list(store.folder.glob("*.json")))
    assert left == 150 if moved_n == 0 else left < 150
    take_over(store)
    assert {one.id: store.load(one.id) for one in store.summaries()} == {chat.id: chat for chat in chats}
    assert kept_names(store) == {f"{chat.id}.json" for chat in chats}
    assert is_sound(store.database.file)


def test_two_processes_that_take_over_at_once_take_each_once(store: ChatStore) -> None:
    chats = [conversation(f"q{n}") for n in range(60)]
    for chat in chats:
        write_old(store.folder, chat)
    processes = [start_take_over(store.folder) for _ in range(2)]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert {one.id: store.load(one.id) for one in store.summaries()} == {chat.id: chat for chat in chats}
    assert kept_names(store) == {f"{chat.id}.json" for chat in chats}


# In the app.


async def until_taken(pilot: Pilot[int]) -> None:
    while chat_of(pilot.app).pane.keeper.is_taking_over:
        await pilot.pause(0.02)
    await settle(pilot)


@pytest.mark.usefixtures("lasting_notes")
async def test_the_app_starts_whatever_lies_among_the_conversations_and_says_so(bench: AppBench) -> None:
    odd = write_odd_files(chats_dir())
    write_old(chats_dir(), conversation("about apples"))
    app = bench.make()
    async with app.run_test(size=LARGE) as pilot:
        await until_taken(pilot)
        said = [note.message for note in app._notifications]
        assert said[0].startswith("one conversation of edgespec 0.1.0 taken over")
        assert all("stays where it is" in text for text in said[1:4])
        assert said[4:] == [f"{len(odd) - 3} more files were left out, too"]
        await send(pilot, "hello")
        await open_list(pilot, "apples")
        await pilot.press("enter")
        await settle(pilot)
        assert questions_of(chat_of(app).transcript.conversation) == ["about apples"]


@pytest.fixture
def locked(store: ChatStore) -> Iterator[sqlite3.Connection]:
    """Another process is writing to the app's database, in which is one conversation, and files wait beside it."""
    store = ChatStore(chats_dir())
    store.save(conversation("here"))
    write_old(chats_dir(), conversation("old"))
    with closing(
        sqlite3.connect(store.database.file, isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield other


def all_kept() -> set[tuple[str, ...]]:
    store = ChatStore(chats_dir())
    return {tuple(questions_of(store.load(one.id))) for one in store.summaries()}


async def test_what_is_asked_while_files_are_taken_over_is_saved_after_them(
    bench: AppBench, locked: sqlite3.Connection
) -> None:
    async with bench.run(Launch(resume_last=True)) as (app, pilot):
        try:
            assert chat_of(app).pane.keeper.is_taking_over
            await send(pilot, "meanwhile")
            await pilot.press("ctrl+o")
            await settle(pilot)
            assert "being taken over" in status_of(app)
        finally:
            locked.execute("ROLLBACK")
        await until_taken(pilot)
        await send(pilot, "afterwards")
        assert all_kept() == {("here",), ("old",), ("meanwhile", "afterwards")}
        assert len(ChatStore(chats_dir()).summaries()) == 3


async def test_an_app_that_is_left_in_the_middle_has_taken_over_and_saved(
    bench: AppBench, locked: sqlite3.Connection
) -> None:
    async with bench.run() as (_, pilot):
        await send(pilot, "meanwhile")
        end = Timer(0.3, lambda: locked.execute("ROLLBACK"))
        end.start()
    end.join()
    assert all_kept() == {("here",), ("old",), ("meanwhile",)}
