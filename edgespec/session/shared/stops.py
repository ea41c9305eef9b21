"""Texts that end an answer, found across tokens and however it is cut: what may become one is held back."""

from collections.abc import Sequence


class StopReader:
    """Reads one answer.

    With the stop text `END`, `one E` gives `one ` and holds `E` back; then `ach` gives `Each`, and `END` would end it.

    Args:
        stops: The texts; empty ones do not count.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.found = ""
        """The stop text that has ended the answer."""

    def add(self, text: str) -> str:
        """What became sure with more of the text; `found` is set where that was the end."""
        if not self._stops or self.found:
            return "" if self.found else text
        self._held += text
        places = [(self._held.find(stop), -len(stop), stop) for stop in self._stops]
        place, _, stop = min((one for one in places if one[0] >= 0), default=(-1, 0, ""))
        if stop:
            self.found = stop
            sure, self._held = self._held[:place], ""
            return sure
        return self._take(self._sure())

    def finish(self) -> str:
        """The answer has ended otherwise: what was held back."""
        return self._take(len(self._held))

    def _take(self, count: int) -> str:
        sure, self._held = self._held[:count], self._held[count:]
        return sure

    def _sure(self) -> int:
        """How many characters cannot belong to a stop text that is still coming."""
        held = self._held
        for place in range(max(0, len(held) - self._longest + 1), len(held)):
            if any(stop.startswith(held[place:]) for stop in self._stops):
                return place
        return len(held)
