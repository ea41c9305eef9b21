"""A server under load, in short: `make serve-load` asks it ten thousand times."""

import json
import math
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import psutil
import pytest

from scripts.growth import MIB, Sample, growth_of
from scripts.serve_load.callers import OFFENCES, WAIT_S, Caller, questions
from scripts.serve_load.load import Server, answers_of, load, started, sure_prompts, tiny_pair

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="handles are counted as POSIX counts them")


def samples(mib_per_request: float, handles: int = 10, threads: int = 4) -> list[Sample]:
    return [
        Sample(
            number,
            int((50 + mib_per_request * number) * MIB),
            handles if number == 100 else 10,
            threads if number == 100 else 4,
        )
        for number in range(10, 101, 10)
    ]


@pytest.mark.parametrize(
    ("mib_per_request", "handles", "threads", "is_within"),
    [(0.0, 10, 4, True), (0.002, 10, 4, False), (0.0, 11, 4, False), (0.0, 10, 5, False)],
)
def test_a_leak_is_seen(mib_per_request: float, handles: int, threads: int, is_within: bool) -> None:
    growth = growth_of("engine", samples(mib_per_request, handles, threads))
    assert growth.is_within is is_within
    assert growth.mib_per_1000 == pytest.approx(1000 * mib_per_request, abs=0.01)


def test_what_adds_up_to_more_than_a_hundredth_is_seen_however_slow_it_is() -> None:
    slow = [Sample(number, int((50 + number / 2000) * MIB), 10, 4) for number in range(0, 20_001, 500)]
    growth = growth_of("engine", slow, limit_share=0.01)
    assert growth.mib_per_1000 < 1
    assert not growth.is_within


def test_a_stream_that_breaks_off_is_no_answer() -> None:
    event = b'data: {"choices": [{"delta": {"content": "A heron"}}]}\n\n'
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(event), event)
    (question,) = [one for one in questions(["a heron?"], 9) if one.streams and "chat" in one.path]
    for rest, is_whole in ((b"", False), (b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n", True)):
        with (
            socket.create_server(("127.0.0.1", 0)) as listening,
            ThreadPoolExecutor(1) as callers,
            closing(Caller("127.0.0.1", listening.getsockname()[1])) as caller,
        ):
            asked = callers.submit(caller.ask, question)
            with listening.accept()[0] as connection, connection.makefile("rb") as request:
                # All of it: with something unread, closing would reset the connection.
                heads = dict(
                    line.lower().split(b": ") for line in iter(request.readline, b"\r\n") if b": " in line
                )
                request.read(int(heads[b"content-length"]))
                connection.sendall(head + rest)
            if is_whole:
                assert asked.result() == ["A heron"]
            else:
                with pytest.raises(ValueError, match="broke off"):
                    asked.result()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with started(*tiny_pair(tmp_path_factory.mktemp("load")), "-np", "4", "-t", "1") as one:
        yield one


def test_answers_stay_right_beside_broken_and_hostile_requests(server: Server) -> None:
    right = answers_of(server, questions(sure_prompts(server, 4, 16), 16))
    found = load(server, right, 320, 8, n_rounds=2, told=lambda _line: None)
    assert found.troubles == []
    assert found.n_requests == 320
    assert found.answers.total() > 160
    assert len(found.offences) >= len(OFFENCES) - 2
    assert server.busy_n == 0
    assert sorted(found.samples) == ["engine", "server"]
    for kept in found.samples.values():
        assert kept[-1].n_handles <= kept[0].n_handles


def test_requests_for_unknown_models_make_no_threads(server: Server) -> None:
    def ask(number: int) -> int:
        body = {
            "model": f"owner/repo-{number}:Q4_K_M",
            "messages": [{"role": "user", "content": "the heron"}],
        }
        with closing(HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)) as connection:
            connection.request(
                "POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"}
            )
            return connection.getresponse().status

    before_n = psutil.Process(server.pid).num_threads()
    with ThreadPoolExecutor(16) as callers:
        assert set(callers.map(ask, range(200))) == {404}
    assert psutil.Process(server.pid).num_threads() <= before_n + 1


def test_an_answer_that_is_another_one_is_seen(server: Server) -> None:
    right = answers_of(server, questions(["the heron"], 16))
    wrong = {question: [f"{text}." for text in texts] for question, texts in right.items()}
    found = load(server, wrong, 16, 2, n_rounds=1, deadline=math.inf, told=lambda _line: None)
    assert found.answers.total() == 0
    assert "another text than alone" in found.troubles[0]
