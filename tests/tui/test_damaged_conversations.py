"""Files of old conversations with anything in them: taken over or named, and none costs another."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.odd_documents import changed
from tests.tui.chat_files import conversation
from tests.tui.test_takeover import write_old
from tui.chat.conversation import to_markdown
from tui.chat.store import ChatStore
from tui.chat.takeover import take_over

FAST = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> str:
    chat = conversation("Why?", "What then?", system="Be brief.")
    return write_old(tmp_path_factory.mktemp("old"), chat).read_text(encoding="utf-8")


def check_taken_over(folder: Path, text: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    store, neighbour = ChatStore(folder), conversation("Whither?")
    write_old(folder, neighbour)
    odd = folder / "odd.json"
    odd.write_text(text, encoding="utf-8")
    taken = take_over(store)
    assert store.load(neighbour.id) == neighbour
    if taken.left_out:
        (line,) = taken.left_out
        assert (taken.n, str(odd) in line, len(line.splitlines())) == (1, True, 1)
        assert odd.read_text(encoding="utf-8") == text
    else:
        assert (taken.n, odd.exists()) == (2, False)
    for summary in store.summaries():
        assert isinstance(to_markdown(store.load(summary.id)), str)


def test_any_document_is_taken_over_or_named(tmp_path: Path, sound: str) -> None:
    @FAST
    @given(changed(json.loads(sound)))
    def check(document: Any) -> None:
        check_taken_over(tmp_path / "chats", json.dumps(document))

    check()


@settings(FAST, max_examples=40)
@given(end=st.integers(0, 2000), more=st.text(max_size=10))
def test_any_text_is_taken_over_or_named(tmp_path: Path, sound: str, end: int, more: str) -> None:
    check_taken_over(tmp_path / "chats", sound[:end] + more)
