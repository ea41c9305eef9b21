"""How a text leaves the app: a program of the system, tmux, or the terminal itself, which may drop it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from edgespec.files import written_whole
from edgespec.paths import copied_file

_LIMIT_S: Final = 2.0
"""A display that does not answer holds its program up for good."""
_TAKE_OSC_52: Final = (
    "kitty",
    "foot",
    "alacritty",
    "ghostty",
    "wezterm",
    "contour",
    "rio",
    "iterm",
    "vscode",
    "mintty",
)
"""Terminals that put a text into the clipboard when they are sent it (xterm's control sequence OSC 52)."""


@dataclass(frozen=True, slots=True)
class _Tool:
    """A program that takes a text on stdin."""

    command: Sequence[str]
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of a text."""

    said: str
    """Which way it went."""
    is_sure: bool = True
    """It has arrived."""


def copy_out(text: str) -> Copied:
    """Gives a text to the system's clipboard. It has been sent to the terminal already.

    Where nobody can be sure that it arrived, it is also written to a file, which is named. Waits for other programs: call
    it from a thread.
    """
    environment = os.environ
    for tool in _tools(environment, sys.platform):
        if _is_given(tool, text):
            return Copied(f"copied with {tool.command[0]}")
    if environment.get("TMUX") and _is_given(_Tool(("tmux", "load-buffer", "-w", "-")), text):
        return _doubtful("copied to tmux's buffer; whether the terminal takes it is not known", text)
    if environment.get("TMUX") or environment.get("STY"):
        return _doubtful(
            f"sent to {'tmux' if environment.get('TMUX') else 'screen'}, which may drop it", text
        )
    if takes_osc_52(environment):
        return Copied("copied through the terminal (OSC 52)")
    return _doubtful("sent to the terminal (OSC 52), which may drop it", text)


def takes_osc_52(environment: Mapping[str, str]) -> bool:
    """Whether the terminal is known to take a text for the clipboard."""
    names = f"{environment.get('TERM', '')} {environment.get('TERM_PROGRAM', '')}".lower()
    return "WT_SESSION" in environment or any(name in names for name in _TAKE_OSC_52)


def _tools(environment: Mapping[str, str], platform: str) -> Iterator[_Tool]:
    """Programs that reach the clipboard of whoever sits in front of the app."""
    if environment.get("WAYLAND_DISPLAY"):
        yield _Tool(("wl-copy",))
    if environment.get("DISPLAY"):
        yield _Tool(("xclip", "-selection", "clipboard"))
        yield _Tool(("xsel", "--clipboard", "--input"))
    if environment.get("SSH_CONNECTION"):
        return  # the others would fill the clipboard of the machine at the far end
    if platform == "darwin":
        yield _Tool(("pbcopy",))
    if platform == "win32" or environment.get("WSL_DISTRO_NAME"):
        yield _Tool(("clip.exe",), "utf-16-le")


def _is_given(tool: _Tool, text: str) -> bool:
    program = shutil.which(tool.command[0])
    if program is None:
        return False
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            [program, *tool.command[1:]],
            input=text.encode(tool.encoding, "replace"),
            stdout=subprocess.DEVNULL,  # some stay to serve the clipboard, and would hold a pipe
            stderr=subprocess.DEVNULL,
            timeout=_LIMIT_S,
            check=False,
        )
        return done.returncode == 0
    return False


def _doubtful(said: str, text: str) -> Copied:
    path = copied_file()
    try:
        with written_whole(path, private=True) as unfinished:
            unfinished.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        return Copied(f"{said}; {path} cannot be written either: {error.strerror or error}", is_sure=False)
    return Copied(f"{said}; it is in {path} too", is_sure=False)
