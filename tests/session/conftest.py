"""Tests of sessions run tiny models on one thread."""

from tests.session.single_thread import one_thread

__all__ = ["one_thread"]
