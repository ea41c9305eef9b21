"""Walks along a grammar byte by byte. Its states are made as they are come to, and kept."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from edgespec.decode.grammar.byte_classes import ByteClass
from edgespec.decode.grammar.rules import Alternative, Rules
from edgespec.errors import UsageError

_MOST_WAYS = 2000
"""Places in a grammar at which one text may be. The schemas of real tools have some dozen; a grammar whose ways double with
every byte would take all memory."""
_MOST_KEPT = 20_000
"""States that are kept; then all are forgotten. Some 20 MB."""
_LONGEST_FORCED = 512
"""Bytes."""
_MOST_FORCED_WORK = 50_000
"""Of looking ahead: 50 ms."""


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """What is left of an alternative, and what follows the rule that it belongs to; compared by identity."""

    alternative: Alternative
    place: int
    behind: "_Frame | None"


_Way = tuple[ByteClass, _Frame | None]
"""What the next byte belongs to, and what follows that character; None for the end of the text."""


@dataclass(slots=True, eq=False)
class State:
    """Where a text may be in a grammar."""

    ways: frozenset[_Way]
    can_end: bool
    steps: dict[int, "State"] = field(default_factory=dict)
    """The states after bytes, as far as they are known."""
    _firsts: frozenset[int] | None = None

    @property
    def is_dead(self) -> bool:
        """Whether no text of the grammar goes through it."""
        return not (self.ways or self.can_end)

    @property
    def next_bytes(self) -> frozenset[int]:
        """The bytes that may come next."""
        if self._firsts is None:
            self._firsts = frozenset(byte for one, _ in self.ways for byte in one.first_bytes())
        return self._firsts


class Automaton:
    """The states of a grammar.

    Args:
        rules: Checked.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._frames: dict[tuple[int, int, _Frame | None], _Frame] = {}
        self._states: dict[tuple[frozenset[_Way], bool], State] = {}
        self.work = 0
        """Places of the grammar that were looked at so far, a microsecond each."""
        root = self._frame((rules.root,), 0, None)
        self.start = self._state([root], set())

    def step(self, state: State, byte: int) -> State:
        """The state after a byte; a dead one where it does not fit.

        Raises:
            UsageError: the grammar can be read in too many ways here.
        """
        known = state.steps.get(byte)
        if known is None:
            ways: set[_Way] = set()
            frames: list[_Frame | None] = []
            for char, behind in state.ways:
                is_whole, rest = char.step(byte)
                if is_whole:
                    frames.append(behind)
                if rest is not None:
                    ways.add((rest, behind))
            known = state.steps[byte] = self._state(frames, ways)
        return known

    def walk(self, state: State, text: Iterable[int]) -> State:
        """The state after bytes; a dead one as soon as one does not fit.

        Raises:
            UsageError: the grammar can be read in too many ways here.
        """
        for byte in text:
            state = state.steps.get(byte) or self.step(state, byte)
            if state.is_dead:
                break
        return state

    def forced(self, state: State) -> tuple[list[int], State]:
        """The bytes that have to come next, because the grammar allows nothing else, and the state after them."""
        text: list[int] = []
        most_work = self.work + _MOST_FORCED_WORK
        while (
            self.work < most_work
            and not state.can_end
            and len(state.next_bytes) == 1
            and len(text) < _LONGEST_FORCED
        ):
            (byte,) = state.next_bytes
            text.append(byte)
            state = self.step(state, byte)
        return text, state

    def _state(self, frames: list[_Frame | None], ways: set[_Way]) -> State:
        can_end = False
        seen: set[_Frame] = set()
        while frames:
            frame = frames.pop()
            if frame is None:
                can_end = True
                continue
            if frame in seen:
                continue
            seen.add(frame)
            symbol, behind = frame.alternative[frame.place], self._next(frame)
            if isinstance(symbol, ByteClass):
                ways.add((symbol, behind))
            else:
                frames += [
                    self._frame(one, 0, behind) if one else behind for one in self._rules.alternatives[symbol]
                ]
            if len(ways) > _MOST_WAYS or len(frames) > 10 * _MOST_WAYS:
                raise UsageError(
                    f"the grammar can be read in more than {_MOST_WAYS} ways at once",
                    "use one whose alternatives differ at their beginning",
                )
        self.work += len(seen) + len(ways)
        if len(self._states) > _MOST_KEPT:
            self._forget()
        key = frozenset(ways), can_end
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = State(*key)
        return state

    def _forget(self) -> None:
        for state in self._states.values():
            state.steps.clear()
        self._states.clear()
        self._frames.clear()

    def _next(self, frame: _Frame) -> _Frame | None:
        """What follows the symbol of a frame: what follows its rule where it is the last one."""
        place = frame.place + 1
        if place == len(frame.alternative):
            return frame.behind
        return self._frame(frame.alternative, place, frame.behind)

    def _frame(self, alternative: Alternative, place: int, behind: _Frame | None) -> _Frame:
        key = id(alternative), place, behind
        frame = self._frames.get(key)
        if frame is None:
            frame = self._frames[key] = _Frame(alternative, place, behind)
        return frame
