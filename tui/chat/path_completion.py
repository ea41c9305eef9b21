"""Paths after an `@`, as far as they are written."""

import os
import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

from tui.chat.attachments import mention

_BEGUN: Final = re.compile(r"""(?<!\S)@(["']?)([^"'\n]*)$""")
_MOST: Final = 200
"""Entries of a folder that are looked at after those that fit have been found."""


@dataclass(frozen=True, slots=True)
class PathCompletion:
    """What can go on from a mention that is being written."""

    start: int
    """Where the mention begins in its line."""
    paths: tuple[str, ...]
    """That fit, folders with a separator at their end."""

    @property
    def common(self) -> str:
        """The mention, as far as all of them agree; whole where there is one."""
        first, last = min(self.paths), max(self.paths)
        path = "".join(
            one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
        )
        found = mention(path)
        # A folder goes on: its quotation mark stays open.
        return found[:-1] if found[-1] in "\"'" and (len(self.paths) > 1 or path.endswith(os.sep)) else found


def complete_path(before: str) -> PathCompletion | None:
    """What fits a line up to the cursor; None where no mention is being written, or nothing fits."""
    found = _BEGUN.search(before)
    if found is None or (not found[1] and " " in found[2]):
        return None
    written = found[2]
    folder, _, begun = written.rpartition(os.sep)
    base = f"{folder}{os.sep}" if os.sep in written else ""
    try:
        entries = sorted(os.scandir(Path(base or ".").expanduser()), key=lambda one: one.name)
    except (OSError, ValueError, RuntimeError):
        return None
    fitting = [
        f"{base}{one.name}{os.sep if one.is_dir() else ''}"
        for one in entries
        if one.name.startswith(begun) and (begun or not one.name.startswith("."))
    ]
    return PathCompletion(found.start(), tuple(fitting[:_MOST])) if fitting else None
