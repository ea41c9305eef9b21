"""The chat, in a terminal: three questions, and left by its key."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .patience import Patience
from .process import Running
from .work import Work

_QUESTIONS: Final = 3
_READY: Final = b"tokens of context"
_ENDED: Final = b"engine ended"
"""The next question starts it again."""
_ANSWERED: Final = "▸".encode()
"""A receipt begins with it."""
_LEAVE: Final = b"\x11"


@dataclass(frozen=True, slots=True)
class Chat(Work):
    """The app with a small model that answers in six tokens."""

    name: str = "chat"
    arguments: tuple[str, ...] = ("--offline", "chat", "talker.gguf", "--draft", "none", "-t", "1")
    inputs: tuple[str, ...] = ("talker.gguf",)
    varies: bool = True
    needs_terminal: bool = True

    def next_arguments(self, folder: Path) -> tuple[str, ...]:
        """The next chat goes on with the conversation."""
        return (*self.arguments, "--continue")

    def use(self, running: Running, seconds: float) -> bool:
        """Asks one question after the other; True when all are answered."""
        patience = Patience(seconds)
        n_asked = n_receipts = 0
        while running.process.poll() is None and (left_s := patience.left_s()):
            can_ask = running.count(_READY) or running.count(_ENDED)
            if running.count(_ANSWERED) > n_receipts if n_asked else can_ask:
                if n_asked == _QUESTIONS:
                    return True
                n_asked += 1
                running.read(0.1)
                n_receipts = running.count(_ANSWERED)
                running.type(f"what is {n_asked}?".encode())
                running.type(b"\r")
            running.read(min(left_s, 0.2))
        return running.process.poll() is not None

    def leave(self, running: Running, seconds: float) -> int | None:
        """Presses Ctrl+Q until it has ended: before it takes the keys, they are lost."""
        patience = Patience(seconds)
        code = running.wait(0)
        while code is None and patience.left_s():
            running.type(_LEAVE)
            code = running.wait(min(1.0, seconds))
        return code

    def missed(self, running: Running) -> Iterator[str]:
        """Answers."""
        yield from Work.missed(self, running)
        if running.count(_ANSWERED) < _QUESTIONS:
            yield f"does not answer: {running.last_line()}"
