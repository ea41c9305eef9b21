"""A worker in a process of its own: a crash of native code there costs an answer, not the terminal."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tui.engine.frames import pack, receive_frame
from tui.engine.protocol import AnyEvent, Logged, Request, WorkerDied

_LONGEST_LINE = 1 << 16
_CLOSE_S = 3.0
_COMMAND = (sys.executable, "-P", "-X", "faulthandler", "-m", "tui.engine.worker")


class WorkerProcess:
    """Runs `tui.engine.worker` and speaks with it over its standard streams; its stderr is the native log."""

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: list[bytes] = []
        self._closing = False

    @property
    def pid(self) -> int | None:
        """Of the process, once it runs."""
        return self._process.pid if self._process else None

    def send(self, request: Request) -> None:
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
        self._process = await self._start()
        queue: asyncio.Queue[AnyEvent | None] = asyncio.Queue()
        readers = [
            asyncio.create_task(self._read_events(queue)),
            asyncio.create_task(self._read_log(queue)),
        ]
        try:
            while (event := await queue.get()) is not None:
                yield event
            code = await self._process.wait()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(readers[1], 1.0)
            while not queue.empty():
                if (rest := queue.get_nowait()) is not None:
                    yield rest
            if not self._closing:
                yield WorkerDied(describe_exit(code))
        finally:
            for reader in readers:
                reader.cancel()

    async def close(self) -> None:
        """Closes the process's stdin, which ends it; kills it when it takes longer than three seconds."""
        self._closing = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _CLOSE_S)
        except TimeoutError:
            self.kill()
            await process.wait()

    def kill(self) -> None:
        """Ends the process at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            env=child_environment(),
            # Ctrl-C in the terminal is the app's to handle.
            start_new_session=os.name == "posix",
        )
        assert process.stdin is not None
        for frame in self._waiting:
            process.stdin.write(frame)
        self._waiting.clear()
        return process

    async def _read_events(self, queue: asyncio.Queue[AnyEvent | None]) -> None:
        assert self._process is not None and self._process.stdout is not None
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                event: AnyEvent = await receive_frame(self._process.stdout)  # type: ignore[assignment]
                queue.put_nowait(event)
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


def describe_exit(code: int) -> str:
    """Why a process ended, from its return code."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if -code == getattr(signal, "SIGKILL", 0):
        return f"was killed ({name}), as the system does when memory runs out"
    return f"crashed ({name})"


def child_environment() -> dict[str, str]:
    """For a process of this program: the app's own, with the folder of this package on Python's path."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
