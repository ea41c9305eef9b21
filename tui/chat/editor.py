"""Writing a message in the user's own editor."""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Final

from textual.app import App, SuspendNotSupported

from edgespec.errors import EdgespecError, UsageError
from edgespec.files import scratch_folder
from edgespec.paths import chats_dir

_VARIABLES: Final = ("VISUAL", "EDITOR")


def edit_in_editor(app: App[object], text: str) -> str:
    """Opens the editor with that text, and returns what it left.

    Raises:
        UsageError: none is set.
        EdgespecError: it cannot be started, the app has no terminal to give to it, or no file can be written.
    """
    command = next((os.environ[name] for name in _VARIABLES if os.environ.get(name)), "")
    if not command:
        raise UsageError("set EDITOR to the editor that shall open, such as EDITOR=nano")
    try:
        chats_dir().mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not in the system's folder: of a message that was being written nothing stays there for good, however this ends.
        with scratch_folder(chats_dir()) as folder:
            return _edited(app, command, text, folder / "message.md")
    except OSError as error:
        raise EdgespecError(
            f"the message cannot be given to {command}: {error.strerror or error}", "write in this field"
        ) from error


def editor_command(command: str, path: Path, system: str = os.name) -> list[str] | str:
    """What starts an editor on a file: Windows takes a command as it is typed, with its backslashes."""
    if system == "nt":
        return f"{command} {subprocess.list2cmdline([str(path)])}"
    return [*shlex.split(command), str(path)]


def _edited(app: App[object], command: str, text: str, path: Path) -> str:
    path.write_text(text, encoding="utf-8")
    try:
        with app.suspend():
            subprocess.run(editor_command(command, path), check=False)
    except SuspendNotSupported:
        raise EdgespecError("an editor cannot be opened from here: write in this field") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EdgespecError(f"{command} cannot be started: {reason}") from error
    return path.read_text(encoding="utf-8", errors="replace").rstrip("\n")
