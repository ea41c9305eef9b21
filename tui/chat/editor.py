"""Writing a message in the user's own editor."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from textual.app import App, SuspendNotSupported

from edgespec.errors import EdgespecError, UsageError

_VARIABLES: Final = ("VISUAL", "EDITOR")


def edit_in_editor(app: App[object], text: str) -> str:
    """Opens the editor with that text, and returns what it left.

    Raises:
        EdgespecError: none is set, it cannot be started, or the app has no terminal to give to it.
    """
    command = next((os.environ[name] for name in _VARIABLES if os.environ.get(name)), "")
    if not command:
        raise UsageError("set EDITOR to the editor that shall open, such as EDITOR=nano")
    with tempfile.TemporaryDirectory(prefix="edgespec-") as folder:
        path = Path(folder) / "message.md"
        path.write_text(text, encoding="utf-8")
        try:
            with app.suspend():
                subprocess.run([*shlex.split(command), str(path)], check=False)
            return path.read_text(encoding="utf-8", errors="replace").rstrip("\n")
        except SuspendNotSupported:
            raise EdgespecError("an editor cannot be opened from here: write in this field") from None
        except OSError as error:
            raise EdgespecError(f"{command} cannot be started: {error.strerror or error}") from error
