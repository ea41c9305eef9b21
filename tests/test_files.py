"""Files that are there whole or not at all: other processes, kills, links and modes, for real."""

import os
import stat
import subprocess
import sys
from itertools import count
from pathlib import Path

import psutil
import pytest

from edgespec.files import changing, clear_leftovers, find_leftovers, scratch_folder, written_whole
from edgespec.locks import locked
from edgespec.paths import scratch_notes_dir
from tests.leftovers import leave_behind, writing

needs_posix = pytest.mark.skipif(os.name != "posix", reason="modes and links are those of POSIX")


def write(path: Path, text: str, *, private: bool = False) -> None:
    with written_whole(path, private=private) as unfinished:
        unfinished.write_text(text)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_written_whole_and_nothing_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "settings.toml"
    write(path, "one")
    write(path, "two")
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]
    assert list(scratch_notes_dir().iterdir()) == []


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    write(path, "one")
    with pytest.raises(ValueError, match="no"), written_whole(path) as unfinished:
        unfinished.write_text("half")
        raise ValueError("no")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


@needs_posix
def test_the_mode_of_a_file_that_was_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("one")
    for mode in (0o640, 0o600, 0o444):
        path.chmod(mode)
        write(path, "two", private=True)
        assert mode_of(path) == mode


@needs_posix
def test_what_is_private_is_made_so_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "home" / "config" / "app.toml"
    before = os.umask(0o022)
    try:
        write(path, "text", private=True)
        write(tmp_path / "home" / "public.json", "text")
    finally:
        os.umask(before)
    assert [mode_of(one) for one in (path, path.parent, path.parent.parent)] == [0o600, 0o700, 0o755]
    assert mode_of(tmp_path / "home" / "public.json") == 0o644


@needs_posix
def test_a_link_stays_a_link_and_what_it_leads_to_keeps_its_mode(tmp_path: Path) -> None:
    kept, link = tmp_path / "dotfiles" / "models.toml", tmp_path / "config" / "models.toml"
    for folder in (kept.parent, link.parent):
        folder.mkdir()
    kept.write_text("one")
    kept.chmod(0o640)
    link.symlink_to(kept)
    write(link, "two")
    with changing(link) as own, written_whole(own) as unfinished:
        unfinished.write_text(own.read_text() + ", three")
    assert link.is_symlink()
    assert (kept.read_text(), mode_of(kept)) == ("two, three", 0o640)
    assert [*kept.parent.iterdir(), *link.parent.iterdir()] == [kept, link]


@needs_posix
def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flushed, fsync = tmp_path / "chat.json", [], os.fsync

    def note(descriptor: int) -> None:
        flushed.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write(path, "text")
    assert flushed == [(False, False), (True, True)]


_ADDS = """
import sys, time
from pathlib import Path
from edgespec.files import changing, written_whole

for number in range(30):
    with changing(Path(sys.argv[1])) as file:
        lines = file.read_text() if file.exists() else ""
        with written_whole(file) as unfinished:
            unfinished.write_text(f"{lines}{sys.argv[2]} {number}\\n")
"""


def run_together(program: str, *arguments: tuple[str, ...]) -> None:
    """Runs a program at once with each of these arguments."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    started = [subprocess.Popen([sys.executable, "-c", program, *one], env=environment) for one in arguments]
    assert [one.wait() for one in started] == [0] * len(started)


def test_of_two_processes_that_change_a_file_neither_loses_a_line(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    run_together(_ADDS, (str(path), "a"), (str(path), "b"))
    assert sorted(path.read_text().split("\n")[:-1]) == sorted(
        f"{name} {number}" for name in "ab" for number in range(30)
    )
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_is_not_waited_for_longer_than_was_said(tmp_path: Path) -> None:
    lock, waited = tmp_path / "lock", []
    with locked(lock):
        with pytest.raises(BlockingIOError), locked(lock, wait_s=0.2, waiting=lambda: waited.append(1)):
            pytest.fail("two hold it")
        with pytest.raises(BlockingIOError), locked(lock, wait_s=0):
            pytest.fail("two hold it")
    assert waited == [1]
    with locked(lock, keep=True):
        assert lock.exists()
    assert lock.exists()


def test_what_a_killed_writer_left_is_found_and_goes_with_the_next_write(tmp_path: Path) -> None:
    left = leave_behind(tmp_path / "elsewhere", 5000)
    assert [(one.path, one.size_bytes) for one in find_leftovers()] == [(left, 5000)]
    write(tmp_path / "here" / "other.txt", "text")
    assert find_leftovers() == []
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert list(scratch_notes_dir().iterdir()) == []


def test_it_is_found_beside_the_file_where_the_home_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = leave_behind(tmp_path / "models")
    monkeypatch.setenv("EDGESPEC_HOME", str(tmp_path / "another home"))
    assert find_leftovers() == []
    assert [one.path for one in find_leftovers(tmp_path / "models")] == [left]
    write(tmp_path / "models" / "other.txt", "text")
    assert not left.exists()


def test_the_folder_of_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    with writing(tmp_path) as folder, scratch_folder(tmp_path) as own:
        clear_leftovers(tmp_path)
        assert find_leftovers(tmp_path) == []
        assert (folder / "half.gguf").stat().st_size == 5000
        assert own.is_dir()
    clear_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


_NUMBERED = 'n=2; while [ "$n" -lt "$0" ]; do (:); n=$((n + 1)); done; "$@"; :'
"""Runs a program under a number of its own: that of every process before it is used up."""


def test_writers_that_count_their_processes_from_one_are_left_alone(tmp_path: Path) -> None:
    """By a number that nobody has here, and that both of them have where they are."""
    container = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")
    try:
        subprocess.run([*container, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system lets nobody make a namespace of processes")
    number = next(one for one in count(2) if not psutil.pid_exists(one))
    numbered = (*container, "sh", "-c", _NUMBERED, str(number))
    with writing(tmp_path, under=numbered) as folder, writing(tmp_path, under=numbered) as other:
        assert folder != other
        clear_leftovers(tmp_path)
        assert find_leftovers(tmp_path) == []
        assert (folder / "half.gguf").is_file()
        assert (other / "half.gguf").is_file()


def test_two_scratch_folders_of_a_process_have_names_of_their_own(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as one, scratch_folder(tmp_path) as other:
        assert one != other
        assert str(os.getpid()) not in {one.name.rpartition("-")[2], other.name.rpartition("-")[2]}


@needs_posix
def test_links_and_strangers_folders_are_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("text")
    place = tmp_path / "place"
    place.mkdir()
    (place / ".edgespec-0123456789abcdef").symlink_to(mine)
    left = leave_behind(place)
    (left / "link").symlink_to(mine)
    notes = scratch_notes_dir()
    notes.mkdir(parents=True, exist_ok=True)
    (notes / "mine").write_text(str(mine))
    clear_leftovers(place)
    assert not left.exists()
    assert (mine / "thesis.txt").read_text() == "text"


def test_a_note_that_a_power_cut_emptied_goes(tmp_path: Path) -> None:
    notes = scratch_notes_dir()
    notes.mkdir(parents=True, exist_ok=True)
    (notes / ".edgespec-emptied").touch()
    clear_leftovers(tmp_path)
    assert list(notes.iterdir()) == []


def test_the_note_of_a_disk_that_is_not_here_is_kept(tmp_path: Path) -> None:
    left = leave_behind(tmp_path / "disk")
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    write(tmp_path / "other.txt", "text")
    (tmp_path / "elsewhere").rename(tmp_path / "disk")
    assert [one.path for one in find_leftovers()] == [left]
    write(tmp_path / "other.txt", "text")
    assert not left.exists()
