"""Whose turn it is with the engine: several conversations ask the one that there is, each answer in the order in which it was asked for."""

from typing import Protocol

from tui.services.engine_client import EngineClient


class Speaker(Protocol):
    """A conversation that asks the engine."""

    @property
    def needs_other_model(self) -> bool:
        """Whether it is to be answered by the model that is being looked for."""

    def take_turn(self) -> None:
        """The engine is free: what waited is asked now."""


class EngineQueue:
    """Of all conversations that are open.

    Args:
        engine: Answers one of them at a time.
    """

    def __init__(self, engine: EngineClient) -> None:
        self._engine = engine
        self.holder: Speaker | None = None
        """Whose request the engine works on."""
        self._line: list[Speaker] = []

    @property
    def waiting(self) -> tuple[Speaker, ...]:
        """Those whose turn has not come."""
        return tuple(self._line)

    def enter(self, one: Speaker) -> bool:
        """Whether the engine is free for it, which is its own from now on; else it stands in line until its turn comes."""
        is_next = self.holder is one or (self.holder is None and not self._line)
        if is_next and self._may_ask(one):
            self.holder = one
            return True
        if one not in self._line:
            self._line.append(one)
        return False

    def leave(self, one: Speaker) -> None:
        """It has been answered, or wants nothing more."""
        if self.holder is one:
            self.holder = None
        if one in self._line:
            self._line.remove(one)

    def call_next(self) -> None:
        """Gives the engine, where it is free, to whoever has waited longest."""
        found = next((one for one in self._line if self._may_ask(one)), None)
        if self.holder is None and found is not None:
            self._line.remove(found)
            self.holder = found
            found.take_turn()

    def _may_ask(self, one: Speaker) -> bool:
        return self._engine.is_ready and not (one.needs_other_model and self._engine.is_looking)
