"""What differs between systems, as far as it is a function of the system: the rest runs where the tests run."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from edgespec.bound_process import exit_status, own_group
from edgespec.helper_process import describe_exit
from edgespec.processor import processor_name
from tui.chat.editor import editor_command


def test_a_process_that_ctrl_c_does_not_reach_has_a_session_or_a_group_of_its_own():
    assert own_group("posix") == {"start_new_session": True}
    # CREATE_NEW_PROCESS_GROUP of Windows' processthreadsapi.h; `subprocess` has the name on Windows only.
    assert own_group("nt") == {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x00000200)}
    subprocess.run([sys.executable, "-c", "pass"], check=True, **own_group())


@pytest.mark.parametrize(
    ("code", "status"),
    [(0, 0), (3, 3), (-9, 137), (0xC0000005, -0x3FFFFFFB), (0xFFFFFFFF, -1), (0x7FFFFFFF, 0x7FFFFFFF)],
)
def test_a_process_ends_as_its_child_did(code: int, status: int):
    assert exit_status(code) == status
    ended = subprocess.run([sys.executable, "-c", f"import os; os._exit({status})"], check=False)
    bits = 32 if sys.platform == "win32" else 8
    assert ended.returncode == status % (1 << bits)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0xC0000005, "crashed (0xC0000005)"),
        (0xC0000017, "was ended (0xC0000017), as Windows does when memory runs out"),
        (3, "ended with code 3"),
    ],
)
def test_what_windows_ends_a_process_with_is_told_as_it_is_looked_up(code: int, words: str):
    assert describe_exit(code) == words


def test_an_editor_is_started_as_it_is_typed_on_each_system():
    path = Path("a folder") / "message.md"
    assert editor_command("code --wait", path, "posix") == ["code", "--wait", str(path)]
    typed = r'"C:\Program Files\Vim\gvim.exe" -f'
    assert editor_command(typed, path, "nt") == f'{typed} "{path}"'


def test_a_board_is_named_where_its_processor_is_not(tmp_path: Path):
    board = tmp_path / "model"
    assert processor_name(["CPU"], board) == (platform.processor() or platform.machine())
    board.write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\0")
    assert processor_name(["CPU"], board) == "Raspberry Pi 4 Model B Rev 1.4"
    assert processor_name([], board) == "Raspberry Pi 4 Model B Rev 1.4"
    assert processor_name(["Apple M3"], board) == "Apple M3"
