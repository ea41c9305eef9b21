"""The engine client: one worker at a time, and everyone hears what they asked for."""

import asyncio

from textual.message import Message
from textual.message_pump import MessagePump

from edgespec.decode.policy import Mode
from edgespec.session.settings import EngineSettings
from edgespec.worker.protocol import Answer, OpenPair, PairOpened, RunRace, TokensArrived
from tests.tui.scripted import PAIR, ScriptedWorker
from tui.services.engine_client import EngineClient, EngineState
from tui.services.messages import EngineChanged, WorkerReported


class SlowWorker(ScriptedWorker):
    """Ends when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = asyncio.Event()

    async def close(self) -> None:
        await self.may_end.wait()
        await super().close()


class Workers:
    """Makes them, and keeps them."""

    def __init__(self) -> None:
        self.made: list[SlowWorker] = []

    def __call__(self) -> SlowWorker:
        self.made.append(SlowWorker())
        return self.made[-1]

    @property
    def targets(self) -> list[str | None]:
        """What each was asked to open."""
        opened = [request for worker in self.made for request in worker.requests]
        return [request.target for request in opened if isinstance(request, OpenPair)]


class Listener(MessagePump):
    """Keeps what is posted to it."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Message] = []

    def post_message(self, message: Message) -> bool:
        self.heard.append(message)
        return True

    @property
    def events(self) -> list[object]:
        return [message.event for message in self.heard if isinstance(message, WorkerReported)]

    @property
    def n_changes(self) -> int:
        return sum(isinstance(message, EngineChanged) for message in self.heard)


def pair(target: str) -> OpenPair:
    return OpenPair(target, "auto", EngineSettings())


async def rest() -> None:
    """Until nobody has anything to do."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_next_pair_is_loaded_when_the_one_before_has_left_the_memory() -> None:
    workers = Workers()
    engine = EngineClient(workers)
    engine.open(pair("first"))
    await rest()
    assert engine.pair == PAIR
    engine.open(pair("second"))
    await rest()
    assert (engine.state, engine.pair, workers.targets) == (EngineState.LOADING, None, ["first"])
    workers.made[0].may_end.set()
    await rest()
    assert (engine.state, workers.targets) == (EngineState.READY, ["first", "second"])


async def test_of_pairs_asked_for_in_a_row_only_the_last_is_loaded() -> None:
    workers = Workers()
    engine = EngineClient(workers)
    engine.open(pair("first"))
    await rest()
    for target in ("second", "third", "fourth"):
        engine.open(pair(target))
        await rest()
    workers.made[0].may_end.set()
    await rest()
    assert workers.targets == ["first", "fourth"]


async def test_a_pair_that_is_to_be_loaded_is_not_once_the_engine_is_closed() -> None:
    workers = Workers()
    engine = EngineClient(workers)
    engine.open(pair("first"))
    await engine.close()
    await rest()
    assert (engine.state, workers.made) == (EngineState.CLOSED, [])
    assert engine.request == pair("first")


async def test_what_a_leaving_worker_still_says_changes_nothing() -> None:
    workers = Workers()
    engine = EngineClient(workers)
    engine.open(pair("first"))
    await rest()
    engine.open(pair("second"))
    workers.made[0].say(PairOpened("first", None, Mode.OFF, 1, 1.0, 1))
    await rest()
    assert engine.pair is None


async def test_listeners_hear_the_kinds_they_asked_for_and_every_change_of_the_pair() -> None:
    engine = EngineClient(Workers())
    all_tokens, changes_alone = Listener(), Listener()
    engine.subscribe(all_tokens, TokensArrived)
    engine.subscribe(changes_alone)
    engine.open(pair("first"))
    await rest()
    engine.ask(Answer((), 8))
    await rest()
    assert {type(event) for event in all_tokens.events} == {TokensArrived}
    assert (changes_alone.events, changes_alone.n_changes) == ([], 2)
    assert engine.is_ready
    engine.unsubscribe(all_tokens)
    n_heard = len(all_tokens.heard)
    engine.ask(Answer((), 8))
    await rest()
    assert len(all_tokens.heard) == n_heard


async def test_the_last_race_of_a_target_is_kept() -> None:
    engine = EngineClient(Workers())
    engine.open(pair("first"))
    await rest()
    engine.ask(RunRace("who wins", (Mode.OFF, Mode.AUTO), 8))
    await rest()
    assert [arm.name for arm in engine.races["target-1b"].arms] == ["plain", "auto"]
