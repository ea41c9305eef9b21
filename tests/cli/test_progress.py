"""The command line's adapter of progress: bars on stderr, only where a person sees them."""

import io
import re
import sys
from collections.abc import Callable

import pytest

from edgespec.cli.progress import shown_progress
from edgespec.progress import SILENT, Unit, advance_to
from tests.recorded_progress import RecordedProgress


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], FakeTerminal]:
    """Makes stderr a terminal from the call on: pytest puts its own stream there when a test begins."""

    def put() -> FakeTerminal:
        terminal = FakeTerminal()
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stderr", terminal)
        return terminal

    return put


def last_frame(terminal: FakeTerminal) -> str:
    """What was painted last before the bar was taken off the screen."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    return [line for line in re.split(r"[\r\n]", text) if line.strip()][-1]


def test_progress_is_silent_when_stderr_is_not_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress() as progress:
        progress.stage("measuring", 3)
        progress.advance()
    assert progress is SILENT
    assert capsys.readouterr() == ("", "")


def test_progress_is_silent_when_quiet(on_terminal: Callable[[], FakeTerminal]) -> None:
    terminal = on_terminal()
    with shown_progress(quiet=True) as progress:
        progress.stage("measuring", 3)
        progress.advance()
    assert terminal.getvalue() == ""


def test_nothing_is_painted_before_the_first_stage(on_terminal: Callable[[], FakeTerminal]) -> None:
    terminal = on_terminal()
    with shown_progress() as progress:
        progress.advance()
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("unit", ["steps", "bytes", "seconds"])
def test_on_a_terminal_stdout_is_left_to_the_result(
    on_terminal: Callable[[], FakeTerminal], capsys: pytest.CaptureFixture[str], unit: Unit
) -> None:
    terminal = on_terminal()
    with shown_progress() as progress:
        progress.stage("fetching \x1b[2Jevil[/]", unit=unit)
        progress.stage("fetching \x1b[2Jevil[/]", 4, unit=unit)
        progress.advance(2)
        print("the result")
    assert "fetching \\x1b[2Jevil[/]" in terminal.getvalue()
    assert capsys.readouterr().out == "the result\n"


def test_a_new_stage_begins_at_nothing_and_another_label_goes_on(
    on_terminal: Callable[[], FakeTerminal],
) -> None:
    terminal = on_terminal()
    with shown_progress() as progress:
        progress.stage("first", 4)
        progress.advance(3)
        progress.stage("first, the end", 4, done=3)
        progress.advance()
        assert "first, the end" in last_frame_of(progress, terminal)
        assert "4/4" in last_frame(terminal)
        progress.stage("second", 8)
        progress.advance()
        assert "second" in last_frame_of(progress, terminal)
        assert "1/8" in last_frame(terminal)


def test_what_was_done_before_counts_as_done_and_another_unit_has_another_bar(
    on_terminal: Callable[[], FakeTerminal],
) -> None:
    terminal = on_terminal()
    with shown_progress() as progress:
        progress.stage("measuring", 4)
        progress.stage("fetching", 2048, done=1024, unit="bytes")
        progress.advance(512)
        assert "1.5/2.0 KiB" in last_frame_of(progress, terminal)


def last_frame_of(progress: object, terminal: FakeTerminal) -> str:
    progress._bar.refresh()  # type: ignore[attr-defined]  # a bar paints four times a second by itself
    return last_frame(terminal)


def test_work_that_tells_how_much_is_done_in_all_advances_by_what_is_new() -> None:
    recorded = RecordedProgress()
    recorded.stage("fetching", 10, done=4)
    report = advance_to(recorded, 4)
    for done in (5, 5, 9):
        report(done)
    assert [done for done, _, _ in recorded.steps] == [4, 5, 5, 9]
