"""How the app is started."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from edgespec.chat.thinking import AS_IT_LIKES, Thinking
from edgespec.llama.sampling_wish import NO_WISH, SamplingWish
from edgespec.session.choice import AUTO_DRAFT
from edgespec.session.settings import EngineSettings
from edgespec.worker.protocol import Job, Worker
from edgespec.worker.remote.address import ServerAddress

ScreenName = Literal["chat", "race", "bench", "models", "workshop"]
WorkerFactory = Callable[[], Worker]


@dataclass(frozen=True, slots=True)
class Launch:
    """What was asked for on the command line; None leaves it to the app's own settings."""

    target: str | None = None
    draft: str = AUTO_DRAFT
    system: str | None = None
    max_tokens: int | None = None
    sampling: SamplingWish = NO_WISH
    thinking: Thinking = AS_IT_LIKES
    engine: EngineSettings | None = None
    offline: bool = False
    server: ServerAddress | None = None
    """What answers in the place of an engine on this machine; `target` is then one of its models."""
    screen: ScreenName = "chat"
    bench_job: Job | None = None
    """A benchmark to run at once, on the bench screen."""
    resume_last: bool = False
    """Reopen the newest conversation."""

    def with_target(self, target: str) -> "Launch":
        """The same with another target, and whatever draft suits it."""
        return replace(self, target=target, draft=AUTO_DRAFT)
