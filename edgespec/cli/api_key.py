"""The key of a server: read from a file or the environment, never typed, where the list of processes would show it."""

import os
from pathlib import Path
from typing import Final

from edgespec.errors import UsageError

VARIABLE: Final = "EDGESPEC_API_KEY"


def read_api_key(file: str | None) -> tuple[str, str]:
    """A key, and where it is from; both empty where there is none.

    Args:
        file: Its first line is the key; None reads EDGESPEC_API_KEY.

    Raises:
        UsageError: the file is empty.
        OSError: it cannot be read.
    """
    if file is None:
        key = os.environ.get(VARIABLE, "").strip()
        return key, VARIABLE if key else ""
    lines = Path(file).expanduser().read_text(encoding="utf-8", errors="replace").split("\n", 1)
    key = lines[0].strip()
    if not key:
        raise UsageError(f"the file {file} holds no API key in its first line", "write the key into it")
    return key, file
