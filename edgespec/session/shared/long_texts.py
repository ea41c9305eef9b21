"""Long texts become tokens in a thread beside the rounds, so that the answers under way go on meanwhile."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final

from edgespec.chat.infill import Infill
from edgespec.chat.messages import ChatMessage
from edgespec.chat.thinking import ChatPrompt
from edgespec.session.shared.asked import Ask, Tokenize, Tokenized

_LONG_CHARACTERS: Final = 1 << 14
"""What is shorter is read between two rounds: it takes some milliseconds, and in a thread it would wait for the next round."""
_WAIT_S: Final = 0.02
"""Where there is nothing to compute meanwhile: until what else was asked is looked at."""

Text = Ask | Tokenize
Read = ChatPrompt | Tokenized


class LongTexts:
    """Reads one text after the other. llama.cpp's vocabularies may be used by several threads at a time, and templates are rendered in
    a process of their own.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "reading")
        self._reading: dict[int, tuple[Text, Future[Read]]] = {}

    def __len__(self) -> int:
        """How many are read or wait for it."""
        return len(self._reading)

    def begin(self, asked: Text, read: Callable[[], Read]) -> None:
        """Reads a text, after those that are read already."""
        self._reading[asked.id] = asked, self._thread.submit(read)

    def take(self, *, waits: bool) -> list[tuple[Text, Future[Read]]]:
        """Those that have been read since the last time, in their order; where it waits, some are worth a moment."""
        if waits and self._reading:
            wait([future for _, future in self._reading.values()], _WAIT_S, FIRST_COMPLETED)
        done = [number for number, (_, future) in self._reading.items() if future.done()]
        return [self._reading.pop(number) for number in done]

    def cancel(self, number: int) -> None:
        """Nobody waits for that text any more; one that is being read is read to its end."""
        if number in self._reading:
            self._reading.pop(number)[1].cancel()

    def close(self) -> None:
        """Ends when the text that is being read is."""
        self._reading.clear()
        self._thread.shutdown(cancel_futures=True)


def is_long(asked: Text) -> bool:
    """Whether reading it would keep other answers waiting."""
    prompt = asked.prompt
    match prompt:
        case str():
            length = len(prompt)
        case Infill():
            texts = (prompt.prefix, prompt.suffix, prompt.begun, *(file.text for file in prompt.extra))
            length = sum(map(len, texts))
        case _:
            length = sum(len(one.content) for one in prompt if isinstance(one, ChatMessage))
    return length > _LONG_CHARACTERS
