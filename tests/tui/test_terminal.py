"""The app in a real terminal (tmux) with the embedded SmolLM2."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import REPOSITORY
from tests.scripted_model import make_scripted_model

pytestmark = pytest.mark.model
LIMIT_S = 45.0


class Terminal:
    """A shell in a tmux server of its own, 80 columns by 24 lines."""

    def __init__(self, socket: str, folder: Path) -> None:
        self._socket, self._folder = socket, folder

    def tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._socket, *arguments],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ,
        )
        return done.stdout

    def open(self) -> None:
        self.tmux(
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            "-c",
            str(self._folder),
            "env PS1='ready> ' bash --norc",
        )
        self.wait("ready>")

    def run(self, *arguments: str) -> None:
        command = shlex.join([sys.executable, "-m", "edgespec", *arguments])
        self.keys(f"export PYTHONPATH={shlex.quote(str(REPOSITORY))}; clear", "Enter")
        self.keys(f"{command}; echo left with $?", "Enter")

    def keys(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def leave(self) -> None:
        self.keys("C-q")
        self.wait("left with 0", "ready>")

    def screen(self, *options: str) -> str:
        return self.tmux("capture-pane", "-p", *options)

    def wait(self, *texts: str) -> str:
        """The screen, once all of these are on it."""
        began = time.monotonic()
        while not all(text in (shown := self.screen()) for text in texts):
            assert time.monotonic() - began < LIMIT_S, f"{texts} did not come:\n{shown}"
            time.sleep(0.1)
        return shown

    def state(self, form: str) -> str:
        return self.tmux("display-message", "-p", form).strip()


@pytest.fixture
def terminal(home_with_smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    # A server that was told to end is there for a moment longer, so each test has its own.
    socket = f"edgespec-{os.getpid()}-{tmp_path.name}"
    one = Terminal(socket, tmp_path)
    one.open()
    yield one
    subprocess.run(["tmux", "-L", socket, "kill-server"], check=False, capture_output=True)


_ENDLESS = ("--temperature", "0", "--repeat-penalty", "1", "-n", "7000")
"""A small model's greedy story goes on until it is stopped."""


def test_a_session_from_the_first_key_to_the_restored_terminal(terminal: Terminal) -> None:
    terminal.run("chat", *_ENDLESS)
    terminal.wait("smollm2-135m, no draft model on disk", " tokens")
    terminal.keys("Name three colours.", "Enter")
    terminal.wait("tok/s", "▸")
    terminal.keys("C-s")
    terminal.wait("n-grams only")
    terminal.keys("C-s")
    terminal.wait("speculation off")
    terminal.keys("C-t")
    terminal.wait("green: from the draft model")
    terminal.keys("/system You tell very long stories.", "Enter")
    terminal.wait("applies from the next answer")
    terminal.keys("Tell me a story of a thousand words about a fox.", "Enter")
    terminal.wait("answering")
    terminal.keys("Escape")
    terminal.wait("stopped, partial answer kept")
    terminal.leave()
    assert terminal.state("#{alternate_on} #{cursor_flag} #{mouse_any_flag}") == "0 1 0"
    terminal.keys("echo $((6*7))", "Enter")
    terminal.wait("echo $((6*7))", "\n42\n")
    terminal.run("chat", "--continue")
    terminal.wait("stopped, partial answer kept")
    terminal.keys("C-q")
    terminal.wait("left with 0")


def test_ctrl_c_stops_clears_asks_and_leaves(terminal: Terminal) -> None:
    terminal.run("chat", *_ENDLESS)
    terminal.wait("smollm2-135m, no draft model on disk", " tokens")
    terminal.keys("Tell me a story of a thousand words about a fox.", "Enter")
    terminal.wait("answering")
    terminal.keys("C-c")
    terminal.wait("stopped, partial answer kept")
    terminal.keys("a second thought", "C-c")
    terminal.wait("cleared; Up brings it back")
    terminal.keys("Up")
    terminal.wait("a second thought")
    terminal.keys("C-c", "C-c")
    terminal.wait("Leave edgespec?")
    terminal.keys("C-c")
    terminal.wait("left with 0", "ready>")


def test_tabs_are_opened_changed_and_closed_by_real_keys(terminal: Terminal) -> None:
    terminal.run("chat", *_ENDLESS)
    terminal.wait("smollm2-135m, no draft model on disk", " tokens")
    terminal.keys("Tell me a story of a thousand words about a fox.", "Enter")
    terminal.wait("answering")
    terminal.keys("M-t")
    terminal.wait("▶  2 new")
    terminal.keys("Name three colours.", "Enter")
    terminal.wait("another tab is being answered")
    terminal.keys("C-PageUp")
    terminal.wait("answering")
    terminal.keys("Escape")
    terminal.wait("stopped, partial answer kept")
    terminal.keys("C-PageDown")
    terminal.wait("▌ Name three colours.")
    terminal.keys("Escape")
    terminal.wait("▌ Name three colours.", "▸")
    terminal.keys("M-w")
    assert "2 Name" not in terminal.wait("fox")
    terminal.leave()


def test_a_long_paste_is_collapsed_and_the_menu_follows_real_keys(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run()
    terminal.wait("smollm2-135m, no draft model on disk", " tokens")
    (tmp_path / "paste.txt").write_text("\n".join(f"row {number}" for number in range(300)))
    terminal.tmux("load-buffer", str(tmp_path / "paste.txt"))
    terminal.tmux("paste-buffer", "-p")
    terminal.wait("[pasted 300 lines, 2.2 KiB]")
    terminal.keys("C-c")
    terminal.wait("cleared; Up brings it back")
    terminal.keys("/mo")
    terminal.wait("/model", "/mode")
    terminal.keys("de", "Tab")
    terminal.wait("Draft nothing: plain decoding")
    terminal.keys("of", "Enter")
    terminal.wait("speculation off")
    terminal.leave()


def test_an_answer_is_copied_by_key_into_tmux(terminal: Terminal, tmp_path: Path) -> None:
    script = ("Here", ":\n\n", "```", "\ncode", " it", " is", "\n``` ")
    path = make_scripted_model(tmp_path / "coder.gguf", script)
    terminal.run("chat", str(path), "--draft", "none")
    terminal.wait("coder", "tokens of context")
    terminal.keys("Write.", "Enter")
    terminal.wait("tok/s ·", "TTFT")
    terminal.keys("C-y")
    terminal.wait("Enter copies this answer")
    terminal.keys("Enter")
    shown = terminal.wait("copied to tmux's buffer", " too")
    # The path is cut at the notification's edge, wherever that comes.
    notification = "".join(row.rpartition("▌")[2].strip() for row in shown.splitlines())
    assert "copied.txt" in notification
    assert terminal.tmux("show-buffer").startswith("Here:\n\n```\ncode it")
    terminal.leave()


def test_a_thought_is_folded_and_opens_by_command(terminal: Terminal, tmp_path: Path) -> None:
    script = ("<think>", "Hm", ", <b>so", " it is", "</think>", "\n\n", "Yes", " <i>indeed</i>", ".")
    path = make_scripted_model(tmp_path / "thinker.gguf", script)
    terminal.run("chat", str(path), "--draft", "none")
    terminal.wait("thinker", "tokens of context")
    terminal.keys("Is it?", "Enter")
    shown = terminal.wait("thought · 5 tokens", "Yes <i>indeed</i>.", "(5 of thought)")
    assert "Hm" not in shown
    terminal.keys("/thoughts", "Enter")
    terminal.wait("Hm, <b>so it is")
    terminal.leave()


def test_versions_are_stepped_through_by_the_keys_of_a_terminal(terminal: Terminal, tmp_path: Path) -> None:
    path = make_scripted_model(tmp_path / "parrot.gguf", ("Yes", " indeed", "."))
    terminal.run("chat", str(path), "--draft", "none")
    terminal.wait("parrot", "tokens of context")
    terminal.keys("Is it?", "Enter")
    terminal.wait("Yes indeed.", "TTFT")
    terminal.keys("C-r")
    terminal.wait("‹ 2/2 ›", "TTFT")
    terminal.keys("M-Left")
    terminal.wait("‹ 1/2 ›", "version 1 of 2")
    terminal.keys("C-Up")
    terminal.wait("Enter sends it as another version")
    terminal.keys("Escape")
    terminal.wait("512 tokens", "‹ 1/2 ›")
    terminal.leave()


def test_answers_go_on_and_conversations_are_found_by_the_keys_of_a_terminal(
    terminal: Terminal, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("a heron\n")
    path = make_scripted_model(tmp_path / "parrot.gguf", ("Yes", " indeed", ", it", " is", " so", "."))
    terminal.run("chat", str(path), "--draft", "none", "-n", "3")
    terminal.wait("parrot", "tokens of context")
    terminal.keys("Is it? @no", "Tab", "Enter")
    terminal.wait("notes.txt · 7 B ·", "Yes indeed, it", "/continue goes")
    terminal.keys("C-Down")
    terminal.wait("Yes indeed, it is so.", "/continue goes")
    terminal.keys("C-n")
    terminal.wait("Ask something below")
    terminal.keys("C-o")
    terminal.wait("one conversation", "today")
    terminal.keys("C-t", "her")
    terminal.wait("★ Is it? @notes.txt", "a heron")
    terminal.keys("Enter")
    terminal.wait("Yes indeed, it is so.")
    terminal.leave()


def test_a_killed_app_gives_the_terminal_back(terminal: Terminal) -> None:
    terminal.run()
    terminal.wait("smollm2-135m, no draft model on disk", " tokens")
    [app] = psutil.Process(int(terminal.state("#{pane_pid}"))).children()
    app.terminate()
    terminal.wait("left with 0", "ready>")
    assert terminal.state("#{alternate_on} #{cursor_flag} #{mouse_any_flag}") == "0 1 0"


def test_the_app_never_starts_where_its_output_goes_into_a_pipe(terminal: Terminal) -> None:
    program = shlex.join([sys.executable, "-m", "edgespec"])
    terminal.keys(f"export PYTHONPATH={shlex.quote(str(REPOSITORY))}; clear", "Enter")
    terminal.keys(f"{program} 2>&1 | head -n 1; echo left with ${{PIPESTATUS[0]}}", "Enter")
    terminal.wait("Usage: edgespec", "left with 2")
    terminal.keys(f"clear; {program} chat | cat; echo left with ${{PIPESTATUS[0]}}", "Enter")
    terminal.wait("the app needs a terminal", "edgespec run -p TEXT", "left with 2")
    assert terminal.state("#{alternate_on}") == "0"


@pytest.mark.parametrize("arguments", ["", " chat"])
def test_a_terminal_that_cannot_be_drawn_on_is_refused_in_a_line(terminal: Terminal, arguments: str) -> None:
    program = shlex.join([sys.executable, "-m", "edgespec"])
    terminal.keys(f"export PYTHONPATH={shlex.quote(str(REPOSITORY))}; clear", "Enter")
    terminal.keys(f"TERM=dumb {program}{arguments}; echo left with $?", "Enter")
    terminal.wait("TERM is dumb", "edgespec run", "left with 2")
    assert terminal.state("#{alternate_on}") == "0"


def sgr_codes(screen: str) -> list[tuple[int, ...]]:
    """Colours that the screen sets: (31,), (38, 5, n) or (38, 2, r, g, b)."""
    codes: list[tuple[int, ...]] = []
    for sequence in re.findall(r"\x1b\[([\d;:]*)m", screen):
        numbers = [int(part) for part in re.split("[;:]", sequence) if part]
        while numbers:
            length = {2: 5, 5: 3}.get(numbers[1], 1) if numbers[0] in (38, 48) and len(numbers) > 1 else 1
            codes.append(tuple(numbers[:length]))
            del numbers[:length]
    return codes


def is_grey(code: tuple[int, ...]) -> bool:
    """Whether it sets no hue."""
    if len(code) == 5:
        return max(code[2:]) - min(code[2:]) <= 8
    if len(code) == 3:
        number = code[2]
        in_cube = 16 <= number <= 231
        digits = {(number - 16) // 36, (number - 16) // 6 % 6, (number - 16) % 6}
        return len(digits) == 1 if in_cube else number >= 232 or number in (0, 7, 8, 15)
    return not (31 <= code[0] <= 36 or 41 <= code[0] <= 46 or 91 <= code[0] <= 96 or 101 <= code[0] <= 106)


def test_without_colour_nothing_is_coloured(terminal: Terminal) -> None:
    terminal.keys("export NO_COLOR=1", "Enter")
    terminal.run()
    terminal.wait("no draft model on disk", " tokens")
    hues = [code for code in sgr_codes(terminal.screen("-e")) if not is_grey(code)]
    assert not hues
    terminal.keys("C-q")
    terminal.wait("left with 0")


@pytest.fixture
def piped(home_with_smollm2: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "edgespec", *arguments],
            capture_output=True,
            text=True,
            input="",
            check=False,
        )

    return run


def test_without_a_terminal_the_app_never_starts(
    piped: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    plain = piped()
    assert plain.returncode == 2
    assert plain.stdout == ""
    assert "Usage: edgespec" in plain.stderr
    chat = piped("chat")
    assert chat.returncode == 2
    assert chat.stdout == ""
    assert chat.stderr.count("\n") == 1
    assert "edgespec run" in chat.stderr
    bench = piped("bench", "--tui")
    assert bench.returncode == 2
    assert "edgespec bench" in bench.stderr
