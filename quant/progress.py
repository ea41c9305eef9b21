"""How long work tells what it is doing."""

from collections.abc import Callable

ChunkProgress = Callable[[int, int], None]
"""Told how many parts are done, and of how many."""
StageProgress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much."""


def stage_of(progress: StageProgress | None, label: str) -> ChunkProgress | None:
    """Progress inside one stage."""
    return None if progress is None else lambda done, total: progress(label, done, total)
