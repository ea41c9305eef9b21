"""Which cells of a shared KV cache are taken, and by how many sequences: llama.cpp knows and does not say."""

from collections.abc import Iterable
from heapq import heappop, heappush


class Cells:
    """The cells of a cache by llama.cpp's numbers, each with how many sequences hold it.

    llama.cpp takes the free ones with the lowest numbers first: it looks on from where it was, and goes back to every cell that
    becomes free before there (llama-kv-cache.cpp, `find_slot` and `seq_rm`).

    Of four cells one sequence takes 0, 1, 2; another shares 0 and 1; the first gives all three back: then cell 2 is free, and
    0 and 1 are as long as the other one holds them.

    Args:
        count: Cells of the cache.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = list(range(count))
        """A heap."""
        self._holders = [0] * count

    @property
    def free_n(self) -> int:
        """How many nobody holds."""
        return len(self._free)

    @property
    def used_n(self) -> int:
        """How many are held."""
        return self.count - len(self._free)

    @property
    def next_free(self) -> int:
        """The one that is taken next; `count` where none is free."""
        return self._free[0] if self._free else self.count

    def take(self, count: int) -> list[int]:
        """That many cells in ascending order, no more than are free."""
        free, holders = self._free, self._holders
        taken = [heappop(free) for _ in range(count)]
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
                heappush(self._free, cell)
