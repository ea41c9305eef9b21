"""What the server's process keeps of a request: nothing, and without a look for circles of references."""

import asyncio
import gc
import json
import socket
import struct
import weakref
from asyncio.selector_events import _SelectorSocketTransport  # type: ignore[attr-defined]
from collections.abc import Callable, Iterator, Sequence

import pytest
from starlette.types import Receive, Scope, Send

from edgespec.decode.token import GenerationStats
from edgespec.serve.answering import Writer
from edgespec.serve.answers import Answers
from edgespec.serve.chat import ChatWriter
from edgespec.serve.completions import TextWriter
from edgespec.serve.fields import Fields
from edgespec.serve.messages import MessageWriter
from edgespec.serve.pool import Pool, PoolSettings
from edgespec.serve.registry import Registry, Served
from edgespec.serve.responses import ResponseWriter
from edgespec.serve.result import Result
from edgespec.serve.server import Server, leave_out_what_stays, listen, make_config
from edgespec.session.settings import EngineSettings
from edgespec.session.shared.asked import Ask, Began, Ended, EndReason, Told, Wrote
from edgespec.worker.serving_protocol import OpenShared
from tests.serve.test_connection import HEAD, serving, short

SETTINGS = PoolSettings(OpenShared(None, "none", EngineSettings(), 1), 4, None, ())
TOLD: Sequence[Told] = (
    Began(1, 3, 0),
    Wrote(1, 0, thought="Hm."),
    Wrote(1, 0, text="A heron."),
    Ended(1, 0, EndReason.STOP, "", GenerationStats()),
)


@pytest.fixture(autouse=True)
def no_looks() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive(kind: type) -> int:
    return sum(isinstance(one, kind) for one in gc.get_objects())


def ask_and_hang_up(port: int, *, reads: bool, said: bytes = HEAD, resets: bool = False) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        one.sendall(said)
        assert not reads or one.recv(1 << 16).startswith(b"HTTP/1.1 200")
        if resets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("resets", [False, True], ids=["closed", "reset"])
async def test_connections_that_ended_are_gone_at_once(resets: bool) -> None:
    async with serving(short) as port:
        for reads in (True, False):
            for _ in range(20):
                said = HEAD if reads else HEAD[:9]
                await asyncio.to_thread(ask_and_hang_up, port, reads=reads, said=said, resets=resets)
        async with asyncio.timeout(20):
            while alive(_SelectorSocketTransport):
                await asyncio.sleep(0.02)


async def test_callers_that_wait_and_hang_up_are_not_all_taken_in_at_once() -> None:
    taken_in: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        taken_in.append(len(server.server_state.connections))
        await short(scope, receive, send)

    with listen("127.0.0.1", 0) as listening:
        server = Server(make_config(app, 4), Pool(SETTINGS, Registry([Served("m", "m")])))
        running = asyncio.create_task(server._serve([listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        # The loop stands still meanwhile: the system takes them in.
        for _ in range(100):
            ask_and_hang_up(listening.getsockname()[1], reads=False, said=HEAD)
        while len(taken_in) < 100:
            await asyncio.sleep(0.01)
        server.should_exit = True
        await running
    assert max(taken_in) < 10


def test_looks_for_circles_pass_over_what_is_there_when_serving_begins() -> None:
    before_n = len(gc.get_objects())
    try:
        leave_out_what_stays()
        assert gc.get_freeze_count() > before_n * 3 // 4
        circle: list[object] = []
        circle.append(circle)
        assert len(gc.get_objects()) < before_n // 4
        del circle
        assert gc.collect() == 1
    finally:
        gc.unfreeze()


class Nobody:
    """Writes the answers."""

    def cancel(self, answers: Answers) -> None: ...

    def release(self, answers: Answers) -> None: ...


@pytest.mark.parametrize(
    "make",
    [
        lambda: ChatWriter("m", tells_usage=True, tells_timings=True),
        lambda: TextWriter("m", tells_usage=True),
        lambda: MessageWriter("m"),
        lambda: ResponseWriter("m", Fields({"input": "a long text"})),
    ],
    ids=["chat", "text", "messages", "responses"],
)
async def test_the_form_of_an_answer_is_gone_with_it(make: Callable[[], Writer]) -> None:
    writer, result = make(), Result(Answers(Nobody(), [Ask(1, "x")]))
    events = [*writer.begin(result)]
    for one in TOLD:
        result.add(one)
        events += writer.more(one, result)
    events += writer.end(result)
    assert "A heron." in json.dumps([*events, writer.whole(result)])
    is_there = weakref.ref(writer)
    del writer
    assert is_there() is None
