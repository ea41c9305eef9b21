"""A worker in a process of its own: a crash of native code there costs an answer, not the front door."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Final

from edgespec.bound_process import own_group, python_path
from edgespec.helper_process import describe_exit
from edgespec.worker.frames import pack, receive_frame
from edgespec.worker.protocol import AnyEvent, Logged, WorkerDied

_LONGEST_LINE: Final = 1 << 16
_CLOSE_S: Final = 3.0
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
        self._process: asyncio.subprocess.Process | None = None
        self._starting: asyncio.Task[None] | None = None
        self._waiting: list[bytes] = []
        self._closing = False

    @property
    def pid(self) -> int | None:
        """Of the process, once it runs."""
        return self._process.pid if self._process else None

    def send(self, request: object) -> None:
        """Asks for something; kept until the process runs, dropped when it has ended."""
        stdin = self._process.stdin if self._process else None
        if stdin is None:
            self._waiting.append(pack(request))
        elif not stdin.is_closing():
            stdin.write(pack(request))

    async def events(self) -> AsyncIterator[AnyEvent]:
        """Starts the process and yields what it says. The last event of one that was not closed is `WorkerDied`."""
        if self._closing:
            return
        # Whoever stops listening now still closes what has been started.
        self._starting = asyncio.create_task(self._start())
        try:
            await asyncio.shield(self._starting)
        except OSError as error:
            yield WorkerDied(f"cannot be started: {error.strerror or error}")
            return
        queue: asyncio.Queue[AnyEvent | None] = asyncio.Queue()
        readers = [
            asyncio.create_task(self._read_events(queue)),
            asyncio.create_task(self._read_log(queue)),
        ]
        try:
            while (event := await queue.get()) is not None:
                yield event
            code = await self._exit_code()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(readers[1], 1.0)
            while not queue.empty():
                if (rest := queue.get_nowait()) is not None:
                    yield rest
            if self._process is not None and not self._closing:
                _close_pipes(self._process)
                yield WorkerDied(describe_exit(code))
        finally:
            for reader in readers:
                reader.cancel()

    async def close(self) -> None:
        """Closes the process's stdin, which ends it; kills it when it takes longer than three seconds."""
        self._closing = True
        if self._starting is not None:
            with contextlib.suppress(OSError):
                await self._starting
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            await self._exit_code()
            _close_pipes(self._process)

    def kill(self) -> None:
        """Ends the process at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _exit_code(self) -> int:
        """Of the process, which has three seconds left."""
        assert self._process is not None
        # asyncio's own `wait` also waits until its pipes were read to the end, and for children that keep them.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                while self._process.returncode is None:
                    await asyncio.sleep(_POLL_S)
        self.kill()
        while (code := self._process.returncode) is None:
            await asyncio.sleep(_POLL_S)
        return code

    async def _start(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            env={**os.environ, "PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1"},
            # Ctrl-C in a terminal is for the front door to handle.
            **own_group(),
        )
        assert process.stdin is not None
        for frame in self._waiting:
            process.stdin.write(frame)
        self._waiting.clear()
        self._process = process

    async def _read_events(self, queue: asyncio.Queue[AnyEvent | None]) -> None:
        assert self._process is not None and self._process.stdout is not None
        try:
            with contextlib.suppress(EOFError, ConnectionError):
                while True:
                    event: AnyEvent = await receive_frame(self._process.stdout)  # type: ignore[assignment]
                    queue.put_nowait(event)
        finally:
            queue.put_nowait(None)

    async def _read_log(self, queue: asyncio.Queue[AnyEvent | None]) -> None:
        assert self._process is not None and self._process.stderr is not None
        stream = self._process.stderr
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than the limit: the buffer was dropped
                continue
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip()
            if text:
                queue.put_nowait(Logged(text))


def _close_pipes(process: asyncio.subprocess.Process) -> None:
    """Those that a child of the process, or what nobody read, holds open would outlive the event loop."""
    process._transport.close()  # type: ignore[attr-defined]
