"""A worker in a process of its own: a crash of native code there costs an answer, not the front door."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from edgespec.bound_process import own_group, python_path
from edgespec.helper_process import describe_exit
from edgespec.worker.frames import FrameReader, pack
from edgespec.worker.protocol import AnyEvent, Logged, WorkerDied

_LONGEST_LINE: Final = 1 << 16
_READ_BYTES: Final = 1 << 15
_CLOSE_S: Final = 3.0
_STDOUT, _STDERR = 1, 2
_POLL_S: Final = 0.01
_COMMAND: Final = (sys.executable, "-P", "-X", "faulthandler", "-m", "edgespec.worker.server")


class WorkerProcess:
    """Runs a program of this floor and speaks with it over its standard streams; its stderr is the native log.

    Args:
        command: The program and its arguments; `edgespec.worker.server` unless given. What it is sent and what it says is its own
            affair, besides `Logged` and `WorkerDied`.
    """

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        self._command = command
        self._process: asyncio.SubprocessTransport | None = None
        self._starting: asyncio.Task[_Streams] | None = None
        self._waiting: list[bytes] = []
        self._closing = False

    @property
    def pid(self) -> int | None:
        """Of the process, once it runs."""
        return self._process.get_pid() if self._process else None

    def send(self, request: object) -> None:
        """Asks for something; kept until the process runs, dropped when it has ended."""
        if self._process is None:
            self._waiting.append(pack(request))
        elif not _stdin(self._process).is_closing():
            _stdin(self._process).write(pack(request))

    async def events(self) -> AsyncIterator[AnyEvent]:
        """Starts the process and yields what it says. The last event of one that was not closed is `WorkerDied`."""
        queue: asyncio.Queue[AnyEvent | None] = asyncio.Queue()
        following = asyncio.create_task(self.follow(queue.put_nowait))
        following.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            following.cancel()

    async def follow(self, hear: Callable[[AnyEvent], None]) -> None:
        """Starts the process and follows it to its end: the same events as of `events`, without a wait between them and who hears.

        Args:
            hear: Takes them.
        """
        if self._closing:
            return
        # Whoever stops listening now still closes what has been started.
        self._starting = asyncio.create_task(self._start(hear))
        try:
            streams = await asyncio.shield(self._starting)
        except OSError as error:
            hear(WorkerDied(f"cannot be started: {error.strerror or error}"))
            return
        try:
            await streams.has_ended.wait()
            code = await self._exit_code()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(streams.log_has_ended.wait(), 1.0)
            if self._process is not None and not self._closing:
                self._process.close()
                hear(WorkerDied(describe_exit(code)))
        finally:
            streams.hear = None

    async def close(self) -> None:
        """Closes the process's stdin, which ends it; kills it when it takes longer than three seconds."""
        self._closing = True
        if self._starting is not None:
            with contextlib.suppress(OSError):
                await self._starting
        if self._process is not None:
            _stdin(self._process).close()
            await self._exit_code()
            # Pipes that a child of the process holds open, or what nobody read, would outlive the event loop.
            self._process.close()

    def kill(self) -> None:
        """Ends the process at once."""
        if self._process is not None and self._process.get_returncode() is None:
            self._process.kill()

    async def _exit_code(self) -> int:
        """Of the process, which has three seconds left."""
        assert self._process is not None
        # asyncio's own `wait` also waits until its pipes were read to the end, and for children that keep them.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                while self._process.get_returncode() is None:
                    await asyncio.sleep(_POLL_S)
        self.kill()
        while (code := self._process.get_returncode()) is None:
            await asyncio.sleep(_POLL_S)
        return code

    async def _start(self, hear: Callable[[AnyEvent], None]) -> "_Streams":
        process, streams = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Streams(hear),
            *self._command,
            env={**os.environ, "PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1"},
            # Ctrl-C in a terminal is for the front door to handle.
            **own_group(),
        )
        for frame in self._waiting:
            _stdin(process).write(frame)
        self._waiting.clear()
        self._process = process
        return streams


class _Streams(asyncio.SubprocessProtocol):
    """What a process says is heard as soon as it is read. asyncio's own streams would let two tasks wait in between.

    Args:
        hear: Takes the events.
    """

    def __init__(self, hear: Callable[[AnyEvent], None]) -> None:
        self.hear: Callable[[AnyEvent], None] | None = hear
        """None once nobody listens any more."""
        self._frames, self._line = FrameReader(), bytearray()
        self.has_ended, self.log_has_ended = asyncio.Event(), asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The process runs."""
        assert isinstance(transport, asyncio.SubprocessTransport)
        for number in (_STDOUT, _STDERR):
            # A buffer of 256 KiB for every read is one that the C library may map and unmap each time.
            transport.get_pipe_transport(number).max_size = _READ_BYTES  # type: ignore[union-attr]

    def pipe_data_received(self, number: int, data: bytes) -> None:
        """It said something."""
        if number == _STDERR:
            self._read_log(data)
            return
        if self.has_ended.is_set():
            return
        try:
            for event in self._frames.feed(data):
                self._tell(event)  # type: ignore[arg-type]
        except EOFError:
            self.has_ended.set()

    def _read_log(self, data: bytes) -> None:
        *lines, rest = (self._line + data).split(b"\n")
        # Of a line without an end nothing is kept.
        self._line = rest if len(rest) <= _LONGEST_LINE else bytearray()
        for line in lines:
            if text := line.decode("utf-8", "replace").rstrip():
                self._tell(Logged(text))

    def _tell(self, event: AnyEvent) -> None:
        if self.hear is not None:
            self.hear(event)

    def pipe_connection_lost(self, number: int, exc: Exception | None) -> None:
        """It says no more."""
        if number == _STDERR:
            self._read_log(b"\n")
            self.log_has_ended.set()
        elif number == _STDOUT:
            self.has_ended.set()


def _stdin(process: asyncio.SubprocessTransport) -> asyncio.WriteTransport:
    transport = process.get_pipe_transport(0)
    assert isinstance(transport, asyncio.WriteTransport)
    return transport
