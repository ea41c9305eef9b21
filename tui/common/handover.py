"""Files that the app writes for whoever sits in front of it."""

import asyncio
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from textual.app import App

from edgespec.text import plain_text


async def hand_over(app: App[object], path: Path, write: Callable[[Path], object]) -> str:
    """Writes a file where its reader has it; what to tell them about it.

    In a terminal that is `path`. In a browser it comes as a download of that name: the reader may sit at another machine, and
    no visitor chooses a place on this one.

    Args:
        app: Drawn in a terminal or in a browser.
        path: As it was asked for.
        write: Writes the file at the path that it is given, in a thread.

    Raises:
        EdgespecError: `write` could not.
    """
    if not app.is_web:
        path = path.expanduser()
        await asyncio.to_thread(write, path)
        return f"written: {path.resolve()}"
    with tempfile.TemporaryDirectory(prefix="edgespec-") as folder:
        copy = Path(folder) / (path.name.lstrip(".") or "export")
        await asyncio.to_thread(write, copy)
        content = BytesIO(copy.read_bytes())
    app.deliver_binary(content, save_filename=copy.name)
    return f"downloading: {plain_text(copy.name)}"
