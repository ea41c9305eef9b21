"""A caller's connection: one that sends no whole request, or does not read its answer, is not waited for."""

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class BoundConnection(H11Protocol):
    """uvicorn's own has no limit of time but between requests."""

    head_s: ClassVar[float] = 20.0
    """Within that the head of a request has to be there."""
    unread_s: ClassVar[float] = 60.0
    """An answer of which more than asyncio buffers, 64 KiB, has lain unread for so long is given up."""
    _head_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A caller is there."""
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Something came."""
        super().data_received(data)
        self._watch_head()

    def _watch_head(self) -> None:
        """Sets a limit while a head is awaited that has begun, or that is the first."""
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer("_head_timer")
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_s, self.transport.abort)

    def pause_writing(self) -> None:
        """The caller does not read as fast as the answer comes."""
        super().pause_writing()
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(self.unread_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The caller reads again."""
        self._stop_timer("_unread_timer")
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller is gone."""
        self._stop_timer("_head_timer")
        self._stop_timer("_unread_timer")
        super().connection_lost(exc)
        # Where an error ended the connection, uvicorn leaves this one running, and it holds the request's body until it is over.
        self._stop_timer("timeout_keep_alive_task")
        if hasattr(self.transport, "_read_ready_cb"):
            # In Python 3.11 it keeps a method of its own, and so itself and its buffers until a look for circles; 3.12 lets go itself.
            self.transport._read_ready_cb = None

    def timeout_keep_alive_handler(self) -> None:
        """No other request came; what is unread of the last answer is given up."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _stop_timer(self, name: str) -> None:
        timer: asyncio.TimerHandle | None = getattr(self, name)
        if timer is not None:
            timer.cancel()
            setattr(self, name, None)
