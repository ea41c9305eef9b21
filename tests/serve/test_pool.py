"""Which engines end when another model needs their memory."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgespec.serve.errors import ApiError
from edgespec.serve.pool import Pool, PoolSettings
from edgespec.serve.registry import Registry, Served
from edgespec.session.settings import EngineSettings
from edgespec.worker.serving_protocol import OpenShared

COMMAND = (sys.executable, "-P", "-m", "tests.serve.scripted_engine")
SIZE = 1000
"""Bytes of each file, as its engine tells it."""
ROOM = int(2.5 * SIZE)


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[Pool]:
    """Of three models, of which two have room."""
    own = []
    for name in "abc":
        file = tmp_path / f"{name}.gguf"
        file.write_bytes(bytes(SIZE))
        own.append(Served(name, str(file), path=file))
    opening = OpenShared(None, "none", EngineSettings(), 4, offline=True)
    one = Pool(PoolSettings(opening, 4, 60.0, COMMAND), Registry(own), free_bytes=lambda: ROOM)
    yield one
    await one.close()


async def use(pool: Pool, registry: Registry, name: str) -> None:
    async with pool.engine(await registry.find(name)):
        pass


async def test_the_one_that_was_used_longest_ago_goes_first(pool: Pool) -> None:
    registry = pool.registry
    for name in ("a", "b", "a", "c"):
        await use(pool, registry, name)
    assert set(pool.loaded()) == {"a", "c"}
    await use(pool, registry, "b")
    assert set(pool.loaded()) == {"b", "c"}


async def test_one_that_is_busy_stays(pool: Pool) -> None:
    registry = pool.registry
    async with pool.engine(await registry.find("a")):
        for name in ("b", "c"):
            await use(pool, registry, name)
        assert set(pool.loaded()) == {"a", "c"}


async def test_two_that_are_waited_for_at_once_are_both_had(pool: Pool) -> None:
    registry = pool.registry
    await use(pool, registry, "a")

    async def look(name: str) -> int:
        async with pool.engine(await registry.find(name)) as engine:
            return (await engine.look()).cells_n

    assert await asyncio.gather(*map(look, "bcbc")) == [512] * 4


async def test_a_loading_that_nobody_waits_for_any_more_is_of_use_to_the_next(pool: Pool) -> None:
    served = await pool.registry.find("a")
    first = asyncio.create_task(pool.load(served))
    while pool.state_of(served) != "loading":
        await asyncio.sleep(0)
    first.cancel()
    engine = await pool.load(served)
    assert engine.opened is not None
    assert set(pool.loaded()) == {"a"}


async def test_a_program_that_cannot_be_started_is_told_of(tmp_path: Path) -> None:
    opening = OpenShared(None, "none", EngineSettings(), 4, offline=True)
    registry = Registry([Served("a", "a")])
    pool = Pool(PoolSettings(opening, 4, 60.0, ("/no/such/program",)), registry)
    with pytest.raises(ApiError, match="cannot be started"):
        await pool.load(registry.default)
    await pool.close()


async def test_a_model_that_stays_for_ever_has_no_timer_and_one_that_stays_for_nothing_ends_at_once(
    tmp_path: Path,
) -> None:
    for keep_alive_s, stays in ((None, True), (0.0, False)):
        opening = OpenShared(None, "none", EngineSettings(), 4, offline=True)
        pool = Pool(PoolSettings(opening, 4, keep_alive_s, COMMAND), Registry([Served("a", "a")]))
        async with pool.engine(pool.registry.default) as engine:
            assert set(pool.loaded()) == {"a"}
            assert (await engine.look()).cells_n == 512
        if stays:
            assert not pool._timers
            assert set(pool.loaded()) == {"a"}
        else:
            while pool.loaded():
                await asyncio.sleep(0.01)
            async with pool.engine(pool.registry.default) as another:
                assert another is not engine
        await pool.close()
