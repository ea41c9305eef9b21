"""The user's own editor: what stays of a message where the app ends meanwhile, and what is said where none can be opened."""

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from textual.app import App

from edgespec.errors import EdgespecError
from edgespec.files import clear_leftovers, find_leftovers
from edgespec.paths import chats_dir, scratch_notes_dir
from tui.chat.editor import edit_in_editor

_APP = """
from contextlib import nullcontext
from textual.app import App
from tui.chat.editor import edit_in_editor
App.suspend = lambda _app: nullcontext()
edit_in_editor(App(), "a secret")
"""
_EDITOR = "import sys; print(open(sys.argv[1]).read(), flush=True); sys.stdin.read()"


def test_of_a_message_that_was_being_edited_nothing_stays_where_the_app_is_killed(tmp_path: Path) -> None:
    editor = tmp_path / "editor.py"
    editor.write_text(_EDITOR)
    app = subprocess.Popen(
        [sys.executable, "-c", _APP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "EDITOR": f"{sys.executable} {editor}", "TMPDIR": str(tmp_path)},
    )
    assert app.stdout is not None
    assert app.stdout.readline() == b"a secret\n"
    assert find_leftovers() == []
    app.kill()
    app.communicate(timeout=60)
    assert [one.path.parent for one in find_leftovers()] == [chats_dir()]
    clear_leftovers()
    assert list(chats_dir().iterdir()) == list(scratch_notes_dir().iterdir()) == []
    assert list(tmp_path.iterdir()) == [editor]


@pytest.mark.parametrize("command", ["no-such-editor", "editor 'not closed"])
def test_an_editor_that_cannot_be_started_is_named(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", command)
    monkeypatch.setattr(App, "suspend", lambda _app: nullcontext())
    with pytest.raises(EdgespecError, match="cannot be started") as caught:
        edit_in_editor(App(), "text")
    assert caught.value.message.startswith(command)
    assert list(chats_dir().iterdir()) == []


def test_a_home_that_cannot_be_written_to_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "true")
    chats_dir().parent.mkdir(parents=True)
    chats_dir().write_text("a file where the folder should be")
    with pytest.raises(EdgespecError, match="cannot be given to true"):
        edit_in_editor(App(), "text")
