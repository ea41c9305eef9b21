"""Progress for those functions of quant and of confirm.py that still take callables: to be removed with the last of them."""

from collections.abc import Callable

from edgespec.progress import Progress


def staged(progress: Progress) -> Callable[[str, int, int], None]:
    """For work of several stages."""
    return lambda label, done, total: progress.stage(label, total, done=done)


def counted(progress: Progress, label: str) -> Callable[[int, int], None]:
    """For work of one stage."""
    return lambda done, total: progress.stage(label, total, done=done)
