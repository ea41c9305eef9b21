"""Sessions that many callers share, and what they are told."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edgespec.chat.messages import ChatMessage
from edgespec.llama.kv_types import KvType
from edgespec.session import EngineSettings, open_pair
from edgespec.session.shared.asked import Ask, Began, Ended, Figures, Look, Refused, TokenLogprob, Told, Wrote
from edgespec.session.shared.opening import open_shared
from edgespec.session.shared.session import SharedSession

EXACT = EngineSettings(kv_type_k=KvType.F32, kv_type_v=KvType.F32, n_threads=1)
"""Batches of different sizes agree to the last bits."""


@dataclass
class Written:
    """What was told of one choice."""

    text: str = ""
    thought: str = ""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    ended: Ended | None = None


@dataclass
class Ear:
    """Collects what is told."""

    began: dict[int, Began] = field(default_factory=dict)
    written: dict[tuple[int, int], Written] = field(default_factory=dict)
    refused: dict[int, Refused] = field(default_factory=dict)
    others: list[Told] = field(default_factory=list)

    def hear(self, told: Sequence[Told]) -> None:
        for one in told:
            if isinstance(one, Began):
                assert one.id not in self.began
                self.began[one.id] = one
            elif isinstance(one, Wrote):
                assert one.id in self.began
                written = self.written.setdefault((one.id, one.choice), Written())
                assert written.ended is None
                written.text += one.text
                written.thought += one.thought
                written.tokens += one.tokens
                written.logprobs += one.logprobs
            elif isinstance(one, Ended):
                written = self.written.setdefault((one.id, one.choice), Written())
                assert written.ended is None
                written.ended = one
            elif isinstance(one, Refused):
                self.refused[one.id] = one
            else:
                self.others.append(one)


def finish(session: SharedSession, ear: Ear | None = None, most: int = 20_000) -> Ear:
    """Steps until nothing is left to do."""
    ear = ear or Ear()
    while not session.is_idle:
        most -= 1
        assert most, "it does not come to an end"
        ear.hear(session.step())
    return ear


def answer(session: SharedSession, *asks: Ask) -> Ear:
    for ask in asks:
        session.submit(ask)
    return finish(session)


def figures(session: SharedSession) -> Figures:
    session.submit(Look(-1))
    ear = Ear()
    ear.hear(session.step())
    (found,) = (one for one in ear.others if isinstance(one, Figures))
    return found


def user(text: str) -> tuple[ChatMessage, ...]:
    return (ChatMessage("user", text),)


@contextmanager
def shared(
    target: Path, draft: Path | str = "ngram", n_parallel: int = 4, settings: EngineSettings = EXACT
) -> Iterator[SharedSession]:
    with open_shared(target, draft, settings=settings, n_parallel=n_parallel) as session:
        yield session


def alone(target: Path, ask: Ask) -> list[int]:
    """The tokens of a session for one, without drafts."""
    with open_pair(target, "none", settings=EXACT) as session:
        prompt = ask.prompt
        assert not isinstance(prompt, str)
        messages = [one for one in prompt if isinstance(one, ChatMessage)]
        stream = session.stream(messages, max_tokens=ask.max_tokens or 100, sampling=ask.sampling)
        return [token.id for token in stream]
