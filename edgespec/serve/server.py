"""Runs the server: listens, loads the first model, and ends with all of its engines."""

import asyncio
import gc
import logging
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from edgespec.errors import EdgespecError, ExitCode
from edgespec.llama.memory import keep_little_freed_memory
from edgespec.page_origin import address_of
from edgespec.serve.app import make_app
from edgespec.serve.connection import BoundConnection
from edgespec.serve.engine import OpeningError
from edgespec.serve.guard import Access
from edgespec.serve.pool import Pool, PoolSettings
from edgespec.serve.registry import Registry
from edgespec.serve.service import Service
from edgespec.worker.protocol import Progressed
from edgespec.worker.serving_protocol import SharedOpened

log = logging.getLogger(__name__)

GRACE_S: Final = 5.0
"""What running answers have left when the server is asked to end."""
_KEEP_ALIVE_S: Final = 75
"""Of a connection between two requests; longer than clients keep theirs, as a rule."""
_MOST_HEAD_BYTES: Final = 64 << 10
_CONNECTIONS: Final = 512
"""Beside those that answer or wait."""
_WAITING_CONNECTIONS: Final = 512
"""That the system holds until they are accepted."""
_ACCEPTED_AT_ONCE: Final = 1
"""Then the loop goes on with those that are there: of a hundred callers that had hung up, three were there at a time. By itself asyncio
accepts all of them before the first is gone, each with some 10 KiB, and what Python once had in such pieces it does not give back."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where it listens, and to whom."""

    host: str
    port: int
    """0 for any that is free."""
    access: Access
    logs_prompts: bool = False


class OpeningFailedError(EdgespecError):
    """The first model cannot be loaded, and so nothing is served."""

    def __init__(self, error: OpeningError) -> None:
        super().__init__(error.failed.message, error.failed.hint)
        self.exit_code = ExitCode(error.failed.exit_code)


def serve(
    settings: ServerSettings,
    pool_settings: PoolSettings,
    registry: Registry,
    *,
    tell: Callable[[str, SharedOpened], None],
    tell_progress: Callable[[Progressed], None],
) -> None:
    """Serves until it is asked to end.

    Args:
        settings: Where it listens.
        pool_settings: How engines are opened.
        registry: The models; the first one is loaded at once.
        tell: Told the address and what is loaded, once that is so.
        tell_progress: Of loading the first model.

    Raises:
        EdgespecError: the address cannot be listened on, or the first model cannot be loaded.
    """
    # What a request takes may be 16 MiB, and this process computes nothing.
    keep_little_freed_memory()
    with closing(listen(settings.host, settings.port)) as listening:
        address = address_of(settings.host, listening.getsockname()[1])
        asyncio.run(
            _serve(
                listening,
                settings,
                pool_settings,
                registry,
                lambda opened: tell(address, opened),
                tell_progress,
            )
        )


async def _serve(
    listening: socket.socket,
    settings: ServerSettings,
    pool_settings: PoolSettings,
    registry: Registry,
    tell: Callable[[SharedOpened], None],
    tell_progress: Callable[[Progressed], None],
) -> None:
    # What is on the disk is looked at in one thread: more would come with the load, and keep their stacks for good.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1, "looking"))
    pool = Pool(pool_settings, registry)
    service = Service(pool, registry, settings.logs_prompts)
    n_answers = pool_settings.opening.n_parallel + pool_settings.n_queue
    server = Server(make_config(make_app(service, settings.access), n_answers), pool)
    pool.tell_progress = tell_progress
    running = asyncio.create_task(server.serve(sockets=[listening]))
    loading = asyncio.create_task(pool.load(registry.default))
    try:
        await asyncio.wait([running, loading], return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            opened = _opened(loading)
            pool.tell_progress = None
            service.was_ready = True
            tell(opened)
            leave_out_what_stays()
        await running
    finally:
        server.should_exit = True
        await pool.close()
        await asyncio.wait([running, loading])


def make_config(app: ASGIApp, n_answers: int) -> uvicorn.Config:
    """How HTTP is spoken.

    Args:
        app: Answers requests.
        n_answers: That it may have under way or waiting.
    """
    return uvicorn.Config(
        app,
        http=BoundConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS + n_answers,
        backlog=_ACCEPTED_AT_ONCE,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=round(GRACE_S) + 2,
        h11_max_incomplete_event_size=_MOST_HEAD_BYTES,
    )


def leave_out_what_stays() -> None:
    """Python's looks for circles of references pass over all that is there by now.

    A full look waits until what came since the last one is a quarter of what that went through: beside some 60,000 objects of modules
    and classes, for what thousands of requests may leave in circles. Of little it comes soon, and takes no time.
    """
    gc.collect()
    gc.freeze()
    # From now on a quarter of what this one goes through.
    gc.collect()
    young_n, middle_n, _ = gc.get_threshold()
    gc.set_threshold(young_n, middle_n, 1)


def _opened(loading: "asyncio.Task[object]") -> SharedOpened:
    error = loading.exception()
    if error is not None:
        cause = error.__cause__
        raise OpeningFailedError(cause) if isinstance(cause, OpeningError) else error
    engine = loading.result()
    opened: SharedOpened = engine.opened  # type: ignore[attr-defined]
    return opened


class Server(uvicorn.Server):
    """Asked to end, it gives running answers a grace, and then ends them with an error that their callers can read."""

    def __init__(self, config: uvicorn.Config, pool: Pool) -> None:
        super().__init__(config)
        self._pool = pool

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens."""
        await super().startup(sockets)
        for one in sockets or []:
            # asyncio takes one number for what it accepts at once and for what may wait.
            one.listen(_WAITING_CONNECTIONS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends within some seconds."""
        log.info("asked to end; running answers have %g s left", GRACE_S)
        ending = asyncio.get_running_loop().call_later(GRACE_S, self._pool.refuse_all)
        try:
            await super().shutdown(sockets)
        finally:
            ending.cancel()


def listen(host: str, port: int) -> socket.socket:
    """A socket at that address.

    Raises:
        EdgespecError: it cannot be listened on.
    """
    problem = ""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            listening = socket.socket(family, kind, protocol)
            try:
                if os.name == "posix":
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind(address)
                listening.listen(_WAITING_CONNECTIONS)
                listening.setblocking(False)
            except OSError:
                listening.close()
                raise
            return listening
    except (OSError, UnicodeError) as error:
        problem = (getattr(error, "strerror", None) or str(error)).lower()
    raise EdgespecError(
        f"cannot listen on {host}, port {port}: {problem or 'no such address'}",
        "name another address with `host` or `port`",
    )
