"""The engine processes: started when a model is asked for, ended when it has been idle for long or another one needs the memory."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgespec.catalog.memory import available_memory_bytes
from edgespec.errors import ExitCode
from edgespec.ranges import check_ranges
from edgespec.serve.engine import Engine, OpeningError, api_error_of
from edgespec.serve.registry import Registry, Served
from edgespec.worker.protocol import Progressed
from edgespec.worker.serving_protocol import OpenShared, SharedOpened

log = logging.getLogger(__name__)

_BESIDE_WEIGHTS: Final = 1.25
"""What a pair takes over the size of its files, about; its process reckons exactly."""


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """How engines are opened and when they end.

    Raises:
        UsageError: `keep_alive` out of its range.
    """

    opening: OpenShared
    """For every model, but for its names."""
    n_queue: int
    keep_alive_s: float | None
    """An engine that has been idle for so long ends; 0 ends it at once, None never."""
    command: Sequence[str]
    """Runs an engine process."""

    def __post_init__(self) -> None:
        check_ranges(keep_alive=self.keep_alive_s)


class Pool:
    """One engine process for each model that is loaded.

    Args:
        settings: The same for all.
        registry: Learns the files of the models that are opened.
        free_bytes: Memory that there is, files that are in use counted as free.
    """

    def __init__(
        self,
        settings: PoolSettings,
        registry: Registry,
        free_bytes: Callable[[], int] = available_memory_bytes,
    ) -> None:
        self._settings, self.registry, self._free_bytes = settings, registry, free_bytes
        self._engines: dict[str, Engine] = {}
        """By the ids of their models, the one that was used last at the end."""
        self._loading: dict[str, asyncio.Task[Engine]] = {}
        self._opened: dict[str, SharedOpened] = {}
        """What models were opened with the last time."""
        self._one_at_a_time = asyncio.Lock()
        self._wanted: Counter[str] = Counter()
        """Requests that have a model in hand, or wait until it is loaded."""
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self.tell_progress: Callable[[Progressed], None] | None = None

    def loaded(self) -> dict[str, Engine]:
        """Engines that may be asked, by the ids of their models."""
        return {name: one for name, one in self._engines.items() if one.opened and not one.is_dead}

    def opened_as(self, served: Served) -> SharedOpened | None:
        """What a model was opened with, whether it is loaded still or not; None where it never was."""
        return self._opened.get(served.id)

    def state_of(self, served: Served) -> str:
        """In llama-server's words."""
        if served.id in self.loaded():
            return "loaded"
        return "loading" if served.id in self._loading else "unloaded"

    @asynccontextmanager
    async def engine(self, served: Served) -> AsyncIterator[Engine]:
        """The engine of a model, loaded if need be; it stays for as long as the block runs.

        Raises:
            ApiError: the model cannot be loaded.
        """
        self._wanted[served.id] += 1
        engine: Engine | None = None
        try:
            engine = await self.load(served)
            if (timer := self._timers.pop(served.id, None)) is not None:
                timer.cancel()
            yield engine
        finally:
            self._wanted[served.id] -= 1
            if engine is not None:
                self._rest(served.id, engine)

    def _is_idle(self, name: str, engine: Engine) -> bool:
        return engine.is_dead or (engine.is_idle and not self._wanted[name])

    def _rest(self, name: str, engine: Engine) -> None:
        """Used last of all; it ends when nobody uses it for long."""
        if self._engines.get(name) is not engine:
            return
        self._engines[name] = self._engines.pop(name)
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
        keep_alive_s = self._settings.keep_alive_s
        if keep_alive_s is not None:
            self._timers[name] = asyncio.get_running_loop().call_later(keep_alive_s, self._end_idle, name)

    def _end_idle(self, name: str) -> None:
        engine = self._engines.get(name)
        if engine is not None and self._is_idle(name, engine):
            log.info("%s was idle for %g s and is unloaded", name, self._settings.keep_alive_s)
            task = asyncio.create_task(self._end(name))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _end(self, name: str) -> None:
        engine = self._engines.pop(name, None)
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
        if engine is not None:
            await engine.close()

    async def load(self, served: Served) -> Engine:
        """The engine of a model; whoever stops waiting for it does not stop the loading.

        Raises:
            ApiError: the model cannot be loaded.
        """
        engine = self._engines.get(served.id)
        if engine is not None and not engine.is_dead:
            return engine
        if served.id not in self._loading:
            task = asyncio.create_task(self._load(served))
            self._loading[served.id] = task
            task.add_done_callback(lambda done: self._loaded(served, done))
        try:
            return await asyncio.shield(self._loading[served.id])
        except OpeningError as error:
            raise api_error_of(error, served.id) from error

    def _loaded(self, served: Served, done: asyncio.Task[Engine]) -> None:
        self._loading.pop(served.id, None)
        if not done.cancelled() and done.exception() is None:
            self._rest(served.id, done.result())

    async def _load(self, served: Served) -> Engine:
        async with self._one_at_a_time:
            await self._end(served.id)  # one that is dead
            await self._make_room(served)
            while True:
                engine = self._make(served)
                try:
                    opened = await engine.open()
                except BaseException as error:
                    await engine.close()
                    lacks_memory = (
                        isinstance(error, OpeningError) and error.failed.exit_code == ExitCode.MEMORY
                    )
                    if lacks_memory and await self._end_least_used():
                        continue
                    raise
                self._engines[served.id] = engine
                self._opened[served.id] = opened
                self.registry.learn_path(served, Path(opened.path).resolve(), opened.target)
                log.info("%s is loaded, draft %s", served.id, opened.draft or "none")
                return engine

    def _make(self, served: Served) -> Engine:
        settings = self._settings
        opening = replace(
            settings.opening,
            target=served.spec,
            draft=served.draft,
            offline=settings.opening.offline or not served.may_fetch,
        )
        return Engine(opening, settings.n_queue, settings.command, self.tell_progress)

    async def _make_room(self, served: Served) -> None:
        """Ends idle engines, the least recently used first, until a model's file fits beside the others'.

        The pages of files that engines work with count as free with the system, and are not.
        """
        needed = served.path.stat().st_size * _BESIDE_WEIGHTS if served.path and served.path.is_file() else 0
        while self._engines:
            held = sum(engine.opened.file_bytes for engine in self._engines.values() if engine.opened)
            if needed <= self._free_bytes() - held or not await self._end_least_used():
                return

    async def _end_least_used(self) -> bool:
        """Ends the idle engine that was used longest ago; whether there was one."""
        name = next((name for name, one in self._engines.items() if self._is_idle(name, one)), None)
        if name is None:
            return False
        log.info("%s is unloaded to make room", name)
        await self._end(name)
        return True

    async def close(self) -> None:
        """Ends all of them at once; whoever waits is refused."""
        for task in self._loading.values():
            task.cancel()
        await asyncio.gather(*self._loading.values(), return_exceptions=True)
        await asyncio.gather(*(self._end(name) for name in list(self._engines)), *self._ending)

    def refuse_all(self) -> None:
        """Ends every answer that is under way with an error."""
        for engine in self._engines.values():
            engine.refuse_all("the server is being stopped")
