"""What the endpoints share: models, engines and what is counted."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from edgespec.serve.engine import Engine
from edgespec.serve.fields import Fields
from edgespec.serve.pool import Pool
from edgespec.serve.registry import Registry, Served


@dataclass(slots=True)
class Service:
    """One server."""

    pool: Pool
    registry: Registry
    logs_prompts: bool = False
    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By route and status."""
    was_ready: bool = False
    """The first model was loaded once."""

    @property
    def is_ready(self) -> bool:
        """Whether the first model is loaded, or was unloaded since."""
        return self.was_ready or self.registry.default.id in self.pool.loaded()

    @asynccontextmanager
    async def engine_for(self, fields: Fields) -> AsyncIterator[tuple[Engine, Served]]:
        """The engine of the model that a request names, loaded if need be.

        Raises:
            ApiError: there is no such model, or it cannot be loaded.
        """
        async with self.engine_named(fields.text("model")) as found:
            yield found

    @asynccontextmanager
    async def engine_named(self, name: str | None) -> AsyncIterator[tuple[Engine, Served]]:
        """Likewise, by its name; None for the first.

        Raises:
            ApiError: there is no such model, or it cannot be loaded.
        """
        served = await self.registry.find(name)
        async with self.pool.engine(served) as engine:
            yield engine, served
