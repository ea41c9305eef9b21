"""Work in several threads at once."""

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def run_together(works: Sequence[Callable[[], T]]) -> list[T]:
    """What each came to, run in a thread of its own, all from the same moment; what one raises is raised."""
    together = threading.Barrier(len(works))
    results: dict[int, T] = {}
    failed: list[BaseException] = []

    def guarded(number: int, work: Callable[[], T]) -> None:
        try:
            together.wait()
            results[number] = work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=one) for one in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return [results[number] for number in range(len(works))]
