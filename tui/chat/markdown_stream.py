"""Cuts growing Markdown where a block is surely finished, so that only the open end is ever parsed again."""

from typing import Final

_FENCES: Final = ("```", "~~~")


class MarkdownSplitter:
    """Takes text as it comes, gives the blocks that are finished, and the tail that is still open."""

    def __init__(self) -> None:
        self._tail = ""

    @property
    def tail(self) -> str:
        """What is still open."""
        return self._tail

    def add(self, text: str) -> tuple[str, str]:
        """More text; returns what became finished with it, often nothing, and the tail."""
        self._tail += text
        if "\n" not in text:
            return "", self._tail
        cut = _last_boundary(self._tail)
        finished, self._tail = self._tail[:cut], self._tail[cut:]
        return finished, self._tail


def _last_boundary(text: str) -> int:
    """End of the last blank line, or of the last closing fence, that no code fence is open at; 0 when there is none.

    A blank line inside a list is none: what follows may belong to the list.
    """
    fence = ""
    boundary = place = 0
    in_list = False
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        place += len(line)
        stripped = line.strip()
        if fence:
            if stripped.startswith(fence) and not stripped.strip(fence[0]):
                fence = ""
                boundary = boundary if in_list else place
            continue
        opened = next((mark for mark in _FENCES if stripped.startswith(mark)), "")
        if opened:
            fence = opened + opened[0] * (len(stripped) - len(stripped.lstrip(opened[0])) - len(opened))
        elif not stripped:
            boundary = boundary if in_list else place
        elif not line[0].isspace():
            was_list, in_list = in_list, _begins_item(stripped)
            if was_list and not in_list:
                boundary = place - len(line)
    return boundary


def _begins_item(stripped: str) -> bool:
    head = stripped.split(" ", 1)[0]
    return head in ("-", "*", "+") or (head[:-1].isdigit() and head[-1:] in (".", ")"))
