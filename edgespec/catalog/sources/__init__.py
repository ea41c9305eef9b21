"""Where model files come from: the hub, wheels of a package index, the disk."""

from collections.abc import Callable

ProgressCallback = Callable[[int, int, str], None]
"""Called with bytes done, bytes in all (0 when unknown) and a label of a few words."""


def no_progress(done_bytes: int, total_bytes: int, label: str) -> None:
    """A ProgressCallback for those who do not look."""
