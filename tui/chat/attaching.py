"""A message with files on its way to the model: its files are read, the engine counts their tokens, and then it is asked."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from edgespec.chat.messages import ChatMessage
from edgespec.errors import ContextOverflowError, EdgespecError
from edgespec.text import one_line
from edgespec.worker.protocol import CountTokens, TokensCounted
from tui.chat.attachments import MessageWithFiles, attach
from tui.services.app_services import AppServices
from tui.services.engine_client import EngineState


@dataclass(frozen=True, slots=True)
class AttachingListener:
    """Who is told how it went."""

    attached: Callable[[MessageWithFiles], None]
    """It can be asked."""
    refused: Callable[[str, EdgespecError], None]
    """What was written cannot be asked, and why."""
    enter: Callable[[], bool]
    """Whether the engine may be asked now; else `count` is called when it may."""


class Attaching:
    """Of one pane: a message at a time.

    Args:
        services: Of the app.
        listener: Who asks.
        is_live: Whether the app goes on: in one that is being left no engine is opened and nothing is asked any more.
    """

    def __init__(
        self, services: AppServices, listener: AttachingListener, is_live: Callable[[], bool]
    ) -> None:
        self._services, self._listener, self._is_live = services, listener, is_live
        self.written = ""
        """As it was written; empty while no message is on its way."""
        self._system = ""
        self._message: MessageWithFiles | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a message is on its way."""
        return bool(self.written)

    def begin(self, written: str, files: Sequence[str], system: str) -> Coroutine[None, None, None]:
        """A message is on its way: its files are read, and counted as soon as there is an engine.

        Args:
            written: With its mentions.
            files: That are mentioned.
            system: The system prompt that it will be asked with.

        Returns:
            What is to be run.
        """
        self.written, self._system = written, system
        return self._read(written, files)

    async def _read(self, written: str, files: Sequence[str]) -> None:
        try:
            message = await asyncio.to_thread(attach, written, files)
        except EdgespecError as error:
            self.fail(error)
            return
        if self.written == written:  # nobody has stopped it
            self._message = message
            self.count()

    def count(self) -> None:
        """Asks the engine, which is loaded if it has to be."""
        engine = self._services.engine
        if self._message is None or not self._is_live():
            return
        if engine.state in (EngineState.CLOSED, EngineState.DEAD):
            self._services.open_engine()
        if not self._listener.enter():
            return
        if engine.pair is not None and engine.pair.server:
            self._end(self._message)
            return
        system = [ChatMessage("system", self._system)] if self._system else []
        messages = (*system, ChatMessage("user", self._message.text))
        engine.ask(CountTokens(messages, self._message.parts()))

    def counted(self, counted: TokensCounted) -> None:
        """The engine has counted: it is asked if it fits the context."""
        message, pair = self._message, self._services.engine.pair
        if message is None or not self._is_live():
            return
        message = message.counted(counted.text_n)
        n_ctx = pair.n_ctx if pair else 0
        if n_ctx and counted.prompt_n >= n_ctx:
            largest = max(message.attachments, key=lambda one: one.token_n)
            self.fail(
                ContextOverflowError(
                    f"{one_line(largest.name)} has {largest.token_n:,} tokens, the message with it "
                    f"{counted.prompt_n:,}, and the context {n_ctx:,}",
                    "use a larger `ctx_size` or mention less",
                    n_tokens=counted.prompt_n,
                )
            )
            return
        self._end(message)

    def fail(self, error: EdgespecError) -> None:
        """It cannot be asked."""
        written, self.written, self._message = self.written, "", None
        if written:
            self._listener.refused(written, error)

    def _end(self, message: MessageWithFiles) -> None:
        self.written, self._message = "", None
        self._listener.attached(message)
