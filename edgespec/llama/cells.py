"""Which cells of a shared KV cache are taken, and by how many sequences: llama.cpp knows and does not say."""

from collections.abc import Iterable


class Cells:
    """The cells of a cache by numbers of our own, each with how many sequences hold it.

    Of four cells one sequence takes 0, 1, 2; another shares 0 and 1; the first gives all three back: then cell 2 is free, and
    0 and 1 are as long as the other one holds them.

    Args:
        count: Cells of the cache.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = list(range(count - 1, -1, -1))
        self._holders = [0] * count

    @property
    def free_n(self) -> int:
        """How many nobody holds."""
        return len(self._free)

    @property
    def used_n(self) -> int:
        """How many are held."""
        return self.count - len(self._free)

    def take(self, count: int) -> list[int]:
        """That many cells, no more than are free."""
        free, holders = self._free, self._holders
        taken = [free.pop() for _ in range(count)]
        for cell in taken:
            holders[cell] = 1
        return taken

    def share(self, cells: Iterable[int]) -> None:
        """One more sequence holds them."""
        for cell in cells:
            self._holders[cell] += 1

    def give_back(self, cells: Iterable[int]) -> None:
        """One sequence less holds them."""
        holders = self._holders
        for cell in cells:
            holders[cell] -= 1
            if not holders[cell]:
                self._free.append(cell)
