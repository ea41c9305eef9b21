"""What the processor is called, for reports."""

import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_BOARD: Final = Path("/proc/device-tree/model")
"""What Linux knows of a board without the tables of a PC, such as `Raspberry Pi 4 Model B Rev 1.4`, with a NUL behind it."""
_NAMELESS: Final = "CPU"
"""What llama.cpp says where `/proc/cpuinfo` has no name, as on ARM."""


def processor_name(described: Iterable[str], board: Path = _BOARD) -> str:
    """The processor's name, the board's, or at least its kind.

    Args:
        described: How llama.cpp describes its CPU devices: it asks each system in its own way, while Python's answer is empty on most
            Linux machines. None where it cannot be asked.
        board: The file that has a board's name.
    """
    names = [name for name in described if name and name != _NAMELESS]
    if names:
        return names[0]
    try:
        name = board.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        name = ""
    return name or platform.processor() or platform.machine() or "unknown"
