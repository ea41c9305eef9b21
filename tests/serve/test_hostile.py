"""Callers that break off, flood, stall or send what is none: each gets its answer or is left, and the next one is served."""

import json
import platform
import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.serve.served import SCRIPTED, Server, wait_for

CHAT = "/v1/chat/completions"
GOOD = {"messages": [{"role": "user", "content": "one"}], "max_tokens": 2}
ENDLESS = {"messages": [{"role": "user", "content": "slow"}], "max_tokens": 100_000}
CUT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"


def post(body: bytes, headers: str = "Content-Type: application/json\r\n") -> bytes:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"null", "is null, not an object"),
        (b"[1]", "is an array, not an object"),
        (b'{"temperature": NaN}', "NaN is no number"),
        (b'{"a":' * 20_000, "nested too deeply"),
        (b"[" * 1_000_000, "nested too deeply"),
        (b'{"n": ' + b"1" * 5000 + b"}", "not JSON"),
        (b'{"model": "\xed\xa0\x80"}', "not JSON"),
        (b'{"metadata": {"n": 1e999}}', "1e999 is too large a number"),
        (b'{"metadata": ' + b"[" * 200 + b"]" * 200 + b"}", "nested too deeply"),
    ],
    ids=[
        *("nothing", "half", "no text", "null", "array", "NaN", "deep", "deeper", "long number"),
        *("half a pair", "large number", "as deep as Python reads"),
    ],
)
def test_a_body_that_is_no_object_is_refused(scripted: Server, body: bytes, said: str) -> None:
    reply = scripted.ask(CHAT, data=body)
    assert reply.status == 400
    assert reply.error["code"] == "invalid_json"
    assert said in reply.error["message"]
    assert scripted.ask(CHAT, GOOD).status == 200


def test_a_token_of_more_digits_than_any_has_is_refused(scripted: Server) -> None:
    reply = scripted.ask(CHAT, {**GOOD, "logit_bias": {"1" * 5000: 1}})
    assert reply.status == 400
    assert reply.error["param"] == "logit_bias"
    assert scripted.ask(CHAT, {**GOOD, "logit_bias": {"1": 1}}).status == 200


@pytest.mark.parametrize("key", ["logit_bias", "stop"])
def test_more_texts_than_anybody_needs_are_refused(scripted: Server, key: str) -> None:
    for count, status in ((256, 200), (257, 400)):
        texts = [[f"x{number}", 1] if key == "logit_bias" else f"x{number}" for number in range(count)]
        reply = scripted.ask(CHAT, {**GOOD, key: texts})
        assert reply.status == status
    assert reply.error["param"] == key


def test_a_body_that_is_said_to_be_something_else_is_refused(scripted: Server) -> None:
    data = json.dumps(GOOD).encode()
    form = "application/x-www-form-urlencoded"
    own_page = {"Content-Type": form, "Origin": f"http://127.0.0.1:{scripted.port}"}
    others = ("text/plain", "multipart/form-data; boundary=x", "\xe9")
    for headers in (own_page, *({"Content-Type": kind} for kind in others)):
        reply = scripted.ask(CHAT, data=data, headers=headers)
        assert reply.status == 415
        assert "Content-Type: application/json" in reply.error["message"]
    # The last is what `curl -d` says of any text.
    for kind in ("application/json; charset=utf-8", "application/vnd.api+json", form):
        assert scripted.ask(CHAT, data=data, headers={"Content-Type": kind}).status == 200


def test_a_body_that_is_too_large_is_refused_before_it_is_read(scripted: Server) -> None:
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 999999999\r\n\r\n"
    assert scripted.raw(head).startswith(b"HTTP/1.1 413 ")
    chunked = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", scripted.port)) as one:
        one.sendall(chunked)
        chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        try:
            for _ in range(20):
                one.sendall(chunk)
        except OSError:  # it hangs up in the middle
            return
        assert one.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["words", "version", "header", "path", "negative", "two lengths", "chunk", "two hosts", "TLS"],
)
def test_what_is_no_http_is_refused(scripted: Server, data: bytes) -> None:
    told = scripted.raw(data + b"\r\n\r\n")
    assert re.match(rb"HTTP/1.1 (400|403|404|431) ", told) or (not told and len(data) > 100_000)
    assert scripted.ask("/health").status == 200


def test_callers_that_break_off_leave_nothing_behind(scripted: Server) -> None:
    process = psutil.Process(scripted.process.pid)
    scripted.ask(CHAT, GOOD)
    wait_for(lambda: scripted.processing_n() == 0)
    before = process.num_fds()
    whole = post(json.dumps(ENDLESS).encode())
    for cut in (1, 20, len(CUT), len(whole) - 1):
        for _ in range(10):
            scripted.raw((CUT + whole)[:cut] if cut < 100 else whole[:cut], receives=False)
    for _ in range(10):
        # A reset instead of a goodbye.
        one = socket.create_connection(("127.0.0.1", scripted.port))
        one.sendall(CUT)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()
    wait_for(lambda: process.num_fds() <= before + 1)
    assert scripted.processing_n() == 0
    assert scripted.ask(CHAT, GOOD).status == 200


@pytest.mark.parametrize("streams", [False, True])
def test_an_answer_that_nobody_waits_for_is_not_written_on(scripted: Server, streams: bool) -> None:
    wait_for(lambda: scripted.processing_n() == 0)
    with socket.create_connection(("127.0.0.1", scripted.port)) as one:
        one.sendall(post(json.dumps({**ENDLESS, "stream": streams}).encode()))
        wait_for(lambda: scripted.processing_n() == 1)
    wait_for(lambda: scripted.processing_n() == 0)


def test_a_caller_that_does_not_read_keeps_nobody_else_waiting(
    start: Callable[..., Server], script_file: Path
) -> None:
    server = start(script_file, "-np", "2", "--queue", "0", module=SCRIPTED, SCRIPT_UNREAD_S="2").wait_ready()
    # Long words fill what the system holds for a connection.
    long_words = [{"role": "user", "content": "slow " + "word" * 2500}]
    body = json.dumps({**ENDLESS, "messages": long_words, "stream": True}).encode()
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", server.port))
        one.sendall(post(body))
        wait_for(lambda: server.processing_n() == 1)
        for _ in range(20):
            assert server.ask(CHAT, GOOD).status == 200
        # It has not hung up, and nobody writes for it any more.
        wait_for(lambda: server.processing_n() == 0)


def test_requests_one_behind_the_other_are_answered_in_their_order(scripted: Server) -> None:
    first, second = (json.dumps({**GOOD, "max_tokens": n}).encode() for n in (1, 3))
    keeping = post(first).replace(b"Connection: close\r\n", b"")
    told = scripted.raw(keeping + post(second))
    assert [int(n) for n in re.findall(rb'"completion_tokens":(\d+)', told)] == [1, 3]


def test_as_many_as_the_queue_holds_wait_and_one_more_is_sent_away(
    start: Callable[..., Server], script_file: Path
) -> None:
    server = start(script_file, "-np", "1", "--queue", "1", module=SCRIPTED).wait_ready()
    with server.streaming(CHAT, ENDLESS) as first, server.streaming(CHAT, ENDLESS) as second:
        next(first), next(second)
        reply = server.ask(CHAT, GOOD)
        assert reply.status == 503
        assert reply.error["code"] == "queue_full"
        assert 1 <= int(reply.headers["retry-after"]) <= 120
        assert server.ask("/v1/messages", {**GOOD}).error["type"] == "overloaded_error"
    wait_for(lambda: server.processing_n() == 0)
    assert server.ask(CHAT, GOOD).status == 200


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that would keep it")
def test_large_requests_leave_no_memory_behind(start: Callable[..., Server], script_file: Path) -> None:
    server = start(script_file, module=SCRIPTED).wait_ready()
    process = psutil.Process(server.process.pid)
    assert server.ask(CHAT, data=b"{").status == 400
    usual_mib = process.memory_full_info().uss >> 20
    # glibc takes each for what is usual from now on, if it is let.
    for n_mib in (4, 8, 12, 15):
        assert server.ask(CHAT, data=b"[" + b"0," * (n_mib << 19)).status == 400
    assert server.ask(CHAT, GOOD).status == 200
    wait_for(lambda: (process.memory_full_info().uss >> 20) < usual_mib + 4)
