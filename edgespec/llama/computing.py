"""Contexts that are computed in several threads of a process, and what all of them have in common.

llama.cpp computes each context in the thread that asks for it, with helpers of its own. A switch of the whole process is thrown
only while nothing is computed: helpers of one product that see it differently would wait for each other for ever.
"""

import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

_all = threading.RLock()
"""Held while it is counted who computes."""
_locks: "weakref.WeakSet[Any]" = weakref.WeakSet()
"""Those of all contexts."""


def computing_lock() -> Any:
    """A lock, to be held by a new context whenever it is computed; the same thread may take it again."""
    lock = threading.RLock()
    with _all:
        _locks.add(lock)
    return lock


@contextmanager
def nothing_else_computed() -> Iterator[None]:
    """While it is entered, contexts are computed in this thread only; others wait, when their batch is done."""
    with _all, ExitStack() as held:
        for lock in list(_locks):
            held.enter_context(lock)
        yield
