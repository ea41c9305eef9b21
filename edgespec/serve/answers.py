"""The answers to one request, as its engine tells them."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from edgespec.serve.errors import error_of
from edgespec.session.shared.asked import Ask, Ended, Refused, Told


class Answering(Protocol):
    """What writes answers."""

    def cancel(self, answers: "Answers") -> None:
        """Nobody waits for these any more."""

    def release(self, answers: "Answers") -> None:
        """All has been told of these, or one of them was refused."""


class Answers:
    """What is told of the asks of one request, until all of them have ended.

    Args:
        engine: Whose they are.
        asks: With ids of the engine's.
    """

    def __init__(self, engine: "Answering", asks: Sequence[Ask]) -> None:
        self._engine = engine
        self.offsets = {}
        """By the id of each ask: the number of its first choice."""
        n_choices = 0
        for ask in asks:
            self.offsets[ask.id] = n_choices
            n_choices += ask.n_choices
        self.n_choices = self.n_left = n_choices
        """Choices in all, and those that have not ended."""
        self._told: list[Told] = []
        self._news = asyncio.Event()
        self._began_s = asyncio.get_running_loop().time()

    def put(self, told: Told) -> None:
        """Takes what the engine tells. What is never read is bounded by `unread_s` of the connection, and by the answers' length."""
        if isinstance(told, Ended):
            self.n_left -= 1
        self._told.append(told)
        self._news.set()
        if isinstance(told, Refused) or not self.n_left:
            self._engine.release(self)

    def wake(self) -> None:
        """Lets whoever waits go on, though there may be nothing."""
        self._news.set()

    async def next(self) -> list[Told]:
        """What was told since the last time; waits until there is something, or somebody wakes it.

        Raises:
            ApiError: the request is refused, or its engine ended.
        """
        await self._news.wait()
        self._news.clear()
        told, self._told = self._told, []
        for one in told:
            if isinstance(one, Refused):
                self.cancel()
                raise error_of(one)
        return told

    def cancel(self) -> None:
        """Nobody waits any more: the engine stops within a round. What has ended already is left alone."""
        self._engine.cancel(self)

    @property
    def age_s(self) -> float:
        """Seconds since it was asked for."""
        return asyncio.get_running_loop().time() - self._began_s
