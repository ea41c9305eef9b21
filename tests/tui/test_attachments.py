"""Files in messages: what is mentioned is read, counted, fenced and folded, or refused in a line."""

import asyncio
import os
from pathlib import Path

import pytest
from textual import events

from edgespec.chat.messages import ChatMessage
from edgespec.errors import UsageError
from edgespec.paths import chats_dir
from edgespec.session import open_pair
from edgespec.worker.protocol import Answer, CountTokens
from tests.tui.chat_files import posix_only
from tests.tui.chat_script import chat_of, roles, send, status_of
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tui.app import EdgespecApp
from tui.chat.attachments import MOST_BYTES, attach, dropped_files, mention, mentioned_files
from tui.chat.file_fold import FileFold
from tui.chat.path_completion import complete_path
from tui.chat.store import ChatStore


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """In the folder that the app is started in."""
    path = tmp_path / "notes.md"
    path.write_text("# Notes\n\n```python\nx = 1\n```\n")
    return path


def question_of(app: EdgespecApp) -> ChatMessage:
    """The last one, as the model sees it."""
    message = next(one for one in chat_of(app).transcript.conversation.messages[::-1] if one.role == "user")
    return ChatMessage("user", message.content)


# What is mentioned.


@pytest.mark.usefixtures("notes")
def test_only_files_that_are_here_are_mentioned(tmp_path: Path) -> None:
    (tmp_path / "my file.txt").write_text("x")
    (tmp_path / "sub").mkdir()
    text = 'see @notes.md, (@notes.md) @"my file.txt" and @notes.md; mail a@notes.md, @property @sub/none.txt'
    assert mentioned_files(text) == ["notes.md", "my file.txt"]
    assert mentioned_files("@./none.txt @'no such' @types/node") == ["./none.txt", "no such"]
    assert mentioned_files("@" + "x" * 10_000 + " @\0 @~nobody/x") == []


def test_the_model_is_told_the_name_and_a_fence_that_nothing_closes(notes: Path) -> None:
    found = attach("Sum up @notes.md", mentioned_files("Sum up @notes.md"))
    assert found.text == "Sum up @notes.md\n\nnotes.md:\n````md\n# Notes\n\n```python\nx = 1\n```\n````"
    [part] = found.parts()
    assert part.startswith("\n\nnotes.md:\n````md\n") and part.endswith("\n````")
    assert found.counted([12]).attachments[0].token_n == 12


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe\x00bin", "is no text in UTF-8"),
        (b"a\0b", "is no text"),
        (b"x" * (MOST_BYTES + 1), "odd.txt has 2.0 MiB"),
    ],
    ids=["bytes", "null", "huge"],
)
def test_what_is_no_text_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_bytes(content)
    with pytest.raises(UsageError) as refused:
        attach("@odd.txt", mentioned_files("@odd.txt"))
    assert said in refused.value.message


@posix_only
def test_what_cannot_be_read_to_its_end_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # whoever opens it waits for ever
    (tmp_path / "folder").mkdir()
    for name, said in (("pipe", "pipe is no file"), ("folder", "folder is a folder")):
        with pytest.raises(UsageError, match=said):
            attach(f"@{name}", mentioned_files(f"@{name}"))


def test_files_that_are_dropped_are_told_from_other_pastes(notes: Path, tmp_path: Path) -> None:
    spaced = tmp_path / "my file.txt"
    spaced.write_text("x")
    for pasted in (str(spaced), f"'{spaced}'", str(spaced).replace(" ", "\\ "), spaced.as_uri()):
        assert dropped_files(pasted) == [str(spaced)], pasted
    assert dropped_files(f"{notes}\n'{spaced}' \n") == [str(notes), str(spaced)]
    for pasted in ("notes.md", f"{notes} and more", f"{notes}\n/nowhere", "", "/", "text"):
        assert dropped_files(pasted) == [], pasted
    assert mention(str(spaced)) == f'@"{spaced}"'


def test_a_path_is_completed_as_far_as_it_is_certain(notes: Path, tmp_path: Path) -> None:
    (tmp_path / "note 2.txt").write_text("x")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.csv").write_text("x")
    (tmp_path / ".hidden").write_text("x")

    def completed(before: str) -> str | None:
        found = complete_path(before)
        return found.common if found else None

    assert completed("sum up @notes") == "@notes.md"
    assert completed("@d") == f"@data{os.sep}"
    assert completed(f"@data{os.sep}") == f"@data{os.sep}one.csv"
    assert completed('@"note ') == '@"note 2.txt"'
    assert completed("@note") == "@note"
    found = complete_path("@")
    assert found is not None and found.paths == (f"data{os.sep}", "note 2.txt", "notes.md")
    assert completed("@.h") == "@.hidden"
    for before in ("a@notes", "@nothing", "no mention", "@notes.md and "):
        assert completed(before) is None, before


def test_a_session_counts_what_does_not_fit_as_well(tiny_model: Path) -> None:
    with open_pair(tiny_model, "none") as session:
        n_ctx = session.engine.target.context.n_ctx
        text = "the cat and the hat"
        assert session.count_tokens(text) == len(session.tokenize(text))
        # A text alone has no begin token.
        assert session.count_tokens("", raw=True) == 0
        assert session.count_tokens(text * n_ctx) >= n_ctx


# In the app.


async def until_asked(app: EdgespecApp) -> None:
    """Until the files of a message are read, in a thread, and counted."""
    while chat_of(app).pane.sending.must_wait:
        await asyncio.sleep(0.01)


async def test_a_file_is_counted_first_and_kept_as_it_was_sent(bench: AppBench, notes: Path) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "Sum up @notes.md")
        await until_asked(app)
        await settle(pilot)
        counts, asked = bench.workers[0].requests[-2:]
        assert isinstance(counts, CountTokens) and isinstance(asked, Answer)
        wanted = attach("Sum up @notes.md", mentioned_files("Sum up @notes.md"))
        assert asked.messages[-1].content == wanted.text == question_of(app).content
        assert counts.texts == wanted.parts()
        [fold] = app.screen.query(FileFold)
        assert fold.collapsed
        assert fold.title == f"notes.md · 28 B · {len(wanted.parts()[0]) // 4} tokens"
        # What the file says later changes nothing.
        notes.write_text("other")
        kept = ChatStore(chats_dir()).newest()
        assert kept is not None and kept.messages[0].content == wanted.text
        assert kept.title == "Sum up @notes.md"
        assert ChatStore(chats_dir()).recent_questions() == ["Sum up @notes.md"]
        await pilot.press("ctrl+up")
        await settle(pilot)
        assert chat_of(app).prompt.text == "Sum up @notes.md"


async def test_a_file_that_does_not_fit_is_refused_with_both_numbers(bench: AppBench, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("word " * 5000)
    async with bench.run() as (app, pilot):
        await send(pilot, "Sum up @long.txt")
        await until_asked(app)
        await settle(pilot)
        assert "long.txt has 6,2" in status_of(app)
        assert "and the context 4,096" in status_of(app)
        assert roles(app) == []
        assert chat_of(app).prompt.text == "Sum up @long.txt"


@pytest.mark.parametrize(
    ("text", "said"),
    [("@./none.txt", "there is no file ./none.txt"), ("@binary.dat", "binary.dat is no text in UTF-8")],
)
async def test_what_cannot_be_attached_is_said_and_the_message_comes_back(
    text: str, said: str, bench: AppBench, tmp_path: Path
) -> None:
    (tmp_path / "binary.dat").write_bytes(b"\xff\xfe")
    async with bench.run() as (app, pilot):
        await send(pilot, f"look at {text}")
        await until_asked(app)
        await settle(pilot)
        assert said in status_of(app)
        assert (roles(app), chat_of(app).prompt.text) == ([], f"look at {text}")


async def test_the_engine_is_loaded_to_count(bench: AppBench, notes: Path) -> None:
    async with bench.run() as (app, pilot):
        bench.workers[0].die()
        await settle(pilot)
        await send(pilot, "@notes.md")
        await until_asked(app)
        await settle(pilot)
        assert roles(app) == ["user", "assistant"]
        bench.workers[1].die()
        await settle(pilot)
        bench.options["pair"] = None
        await send(pilot, "again @notes.md")
        await until_asked(app)
        await settle(pilot)
        assert "there is no model" in status_of(app)
        assert (roles(app), chat_of(app).prompt.text) == (["user", "assistant"], "again @notes.md")


async def test_tab_completes_a_path_and_a_dropped_file_is_mentioned(bench: AppBench, notes: Path) -> None:
    async with bench.run() as (app, pilot):
        prompt = chat_of(app).prompt
        await pilot.press(*"see @no", "tab")
        assert prompt.text == "see @notes.md"
        prompt.put("")
        app.post_message(events.Paste(str(notes)))
        await settle(pilot)
        assert prompt.text == f"@{notes} "
        prompt.put("")
        app.post_message(events.Paste("notes.md"))
        await settle(pilot)
        assert prompt.text == "notes.md"


async def test_what_is_being_attached_outlives_the_app(bench: AppBench, notes: Path) -> None:
    store = ChatStore(chats_dir())
    async with bench.run() as (app, pilot):
        await send(pilot, "hello")
        pane = chat_of(app).pane
        pane.sending.send("see @notes.md", ("notes.md",))
        chat_id = pane.transcript.conversation.id
        assert store.draft(chat_id) == "see @notes.md"
        await until_asked(app)
        await settle(pilot)
        assert store.draft(chat_id) == ""
        assert roles(app) == ["user", "assistant"] * 2


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize("files", [(), ("notes.md",)], ids=["text", "file"])
async def test_the_app_ends_while_a_dead_engine_is_to_answer(files: tuple[str, ...], bench: AppBench) -> None:
    store = ChatStore(chats_dir())
    async with bench.run() as (app, pilot):
        await send(pilot, "hello")
        bench.workers[0].die()
        await settle(pilot)
        pane = chat_of(app).pane
        pane.sending.send("see @notes.md", files)
        chat_id = pane.transcript.conversation.id
    assert all(worker.closed for worker in bench.workers[1:])
    is_asked = "see @notes.md" in store.recent_questions()
    assert (is_asked, store.draft(chat_id)) == ((False, "see @notes.md") if files else (True, ""))


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_a_message_with_files_looks_as_it_did(
    size: tuple[int, int], bench: AppBench, picture: Picture, notes: Path, tmp_path: Path
) -> None:
    (tmp_path / "table.csv").write_text("name,size\n" + "a,1\n" * 200)
    async with bench.run(size=size) as (app, pilot):
        chat_of(app).rail.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await send(pilot, "Compare @notes.md and @table.csv")
        await until_asked(app)
        await settle(pilot)
        app.screen.query(FileFold).first().collapsed = False
        await picture(pilot)
