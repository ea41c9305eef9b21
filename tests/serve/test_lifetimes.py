"""Engines and servers that start, fail, die and end: what callers are told, and what is left."""

import os
import signal
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.cli.processes import needs_signals
from tests.serve.served import LIMIT_S, SCRIPTED, Server, wait_for
from tests.tiny import CHAT_TEMPLATE, make_tiny_model

TEXT, CHAT = "/v1/completions", "/v1/chat/completions"
GOOD = {"prompt": "once", "max_tokens": 4}
LONG = {"prompt": "once", "max_tokens": 450, "ignore_eos": True}
SLOW = {"prompt": "slow", "max_tokens": 100_000}
pytestmark = needs_signals


@pytest.mark.parametrize("streams", [False, True])
def test_an_engine_that_dies_costs_its_answers_and_nothing_else(
    start: Callable[..., Server], tiny_model: Path, streams: bool
) -> None:
    server = start(tiny_model, "--draft", "none", "-t", "1").wait_ready()
    (engine,) = server.engines()
    # So many that they are under way for long.
    many = {**LONG, "n": 16}
    if streams:
        with server.streaming(TEXT, many) as events:
            next(events)
            engine.kill()
            *_, last = events
        error = last["error"]
    else:
        with ThreadPoolExecutor(1) as callers:
            waiting = callers.submit(server.ask, TEXT, many)
            wait_for(lambda: server.processing_n() > 0)
            engine.kill()
            reply = waiting.result()
        assert reply.status == 500
        error = reply.error
    assert error["code"] == "engine_failed"
    assert error["type"] == "server_error"
    assert "killed" in error["message"]
    assert server.ask(TEXT, GOOD).status == 200
    (another,) = server.engines()
    assert another.pid != engine.pid


def test_an_engine_that_hangs_leaves_the_other_metrics(
    start: Callable[..., Server], tiny_model: Path
) -> None:
    server = start(tiny_model, "--draft", "none", "-t", "1").wait_ready()
    assert server.metric("edgespec_engine_up") == 1
    (engine,) = server.engines()
    engine.suspend()
    try:
        assert server.metric("edgespec_engine_up") == 0
        assert server.metric("edgespec_models_loaded") == 1
    finally:
        engine.resume()
    assert server.ask(TEXT, GOOD).status == 200


def test_an_error_in_a_stream_has_the_form_of_its_protocol(
    start: Callable[..., Server], script_file: Path
) -> None:
    server = start(script_file, module=SCRIPTED).wait_ready()
    dying = {"messages": [{"role": "user", "content": "die"}], "input": "die", "max_tokens": 9}
    last = server.stream("/v1/messages", dying)[-1]
    assert (last["type"], last["error"]["type"]) == ("error", "api_error")
    last = server.stream("/v1/responses", dying)[-1]
    assert (last["type"], last["code"]) == ("error", "engine_failed")
    last = server.stream(CHAT, dying)[-1]
    assert last["error"]["type"] == "server_error"
    assert server.ask(CHAT, {"messages": [{"role": "user", "content": "one"}]}).status == 200


def test_a_server_that_is_killed_leaves_no_engine(start: Callable[..., Server], tiny_model: Path) -> None:
    server = start(tiny_model, "--draft", "none", "-t", "1").wait_ready()
    with server.streaming(TEXT, LONG) as events:
        next(events)
        engines = server.engines()
        server.process.kill()
        server.process.wait()
    _, alive = psutil.wait_procs(engines, timeout=LIMIT_S)
    assert engines
    assert not alive


@pytest.mark.parametrize("said", ["", "hang"], ids=["nothing to do", "at a round that does not end"])
def test_a_server_that_is_killed_leaves_no_engine_that_writes_nothing(
    start: Callable[..., Server], script_file: Path, said: str
) -> None:
    server = start(script_file, module=SCRIPTED).wait_ready()
    with ExitStack() as callers:
        if said:
            next(callers.enter_context(server.streaming(TEXT, {"prompt": said, "max_tokens": 9})))
        engines = server.engines()
        server.process.kill()
        server.process.wait()
    assert engines
    assert not psutil.wait_procs(engines, timeout=LIMIT_S)[1]


def test_a_server_that_nobody_hears_answers_all_the_same(
    start: Callable[..., Server], tiny_model: Path
) -> None:
    server = start(tiny_model, "--draft", "none", "-t", "1")
    assert server.process.stderr is not None
    server.process.stderr.close()
    process = psutil.Process(server.process.pid)
    wait_for(lambda: bool(process.net_connections("inet")) or server.process.poll() is not None)
    (listening,) = process.net_connections("inet")
    server.port = listening.laddr.port
    assert server.ask(TEXT, GOOD).status == 200
    wait_for(lambda: server.ask("/health").status == 200)
    assert server.ask(TEXT, GOOD).status == 200
    assert server.end() == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_asked_to_end_finishes_what_is_short(
    start: Callable[..., Server], tiny_model: Path, how: int
) -> None:
    server = start(tiny_model, "--draft", "none", "-t", "1").wait_ready()
    engines = server.engines()
    with server.streaming(TEXT, {**LONG, "max_tokens": 200}) as events:
        next(events)
        server.process.send_signal(how)
        *_, last, mark = events
    assert last["choices"][0]["finish_reason"] == "length"
    assert mark == "[DONE]"
    assert server.process.wait(timeout=LIMIT_S) == 0
    assert server.read_line() == "edgespec: ended\n"
    assert server.read_line() == ""
    assert not psutil.wait_procs(engines, timeout=LIMIT_S)[1]


def test_what_takes_longer_ends_with_an_error(start: Callable[..., Server], script_file: Path) -> None:
    server = start(script_file, module=SCRIPTED).wait_ready()
    with server.streaming(TEXT, SLOW) as events:
        next(events)
        server.process.send_signal(signal.SIGTERM)
        *_, last = events
    assert "being stopped" in last["error"]["message"]
    assert server.process.wait(timeout=LIMIT_S) == 0


def test_a_model_that_cannot_be_opened_ends_the_server_with_one_line(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF no more")
    for model, code in ((broken, 3), ("no-such-model", 3)):
        server = start(model)
        assert server.process.wait(timeout=LIMIT_S) == code
        lines = list(iter(server.read_line, ""))
        assert len(lines) == 1
        assert lines[0].startswith("edgespec: ")
        assert Path(model).name in lines[0]


def test_an_address_that_is_taken_ends_the_server_with_one_line(
    start: Callable[..., Server], scripted: Server, script_file: Path
) -> None:
    server = start(script_file, "--port", str(scripted.port), module=SCRIPTED)
    assert server.process.wait(timeout=LIMIT_S) == 1
    line = server.read_line()
    assert line.startswith(
        f"edgespec: cannot listen on 127.0.0.1, port {scripted.port}: address already in use."
    )
    assert "--port" in line


def test_a_server_that_loads_says_so_and_lets_callers_wait(
    start: Callable[..., Server], script_file: Path
) -> None:
    server = start(script_file, module=SCRIPTED, SCRIPT_LOADS_S="2")
    server.port = wait_for_port(server)
    reply = server.ask("/health")
    assert reply.status == 503
    assert reply.error["message"] == "Loading model"
    assert reply.headers["retry-after"]
    assert server.ask("/v1/models").json["data"][0]["status"] == {"value": "loading"}
    assert server.ask(TEXT, GOOD).status == 200
    assert server.ask("/health").status == 200


def test_a_server_that_is_asked_to_end_while_it_loads_ends(
    start: Callable[..., Server], script_file: Path
) -> None:
    server = start(script_file, module=SCRIPTED, SCRIPT_LOADS_S="600")
    wait_for_port(server)
    wait_for(lambda: len(server.engines()) == 1)
    engines = server.engines()
    assert server.end() == 0
    assert list(iter(server.read_line, "")) == ["edgespec: ended\n"]
    assert not psutil.wait_procs(engines, timeout=LIMIT_S)[1]


def wait_for_port(server: Server) -> int:
    """Where it listens, before it tells."""
    process = psutil.Process(server.process.pid)
    found: list[int] = []

    def listens() -> bool:
        found[:] = [one.laddr.port for one in process.net_connections() if one.status == psutil.CONN_LISTEN]
        return bool(found)

    wait_for(listens)
    return found[0]


@pytest.fixture(scope="module")
def second_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model than the tiny one."""
    return make_tiny_model(
        tmp_path_factory.mktemp("second") / "second.gguf", seed=3, chat_template=CHAT_TEMPLATE
    )


def test_other_models_are_loaded_when_they_are_named_and_unloaded_when_idle(
    start: Callable[..., Server], tiny_model: Path, second_model: Path
) -> None:
    server = start(tiny_model, second_model, "--draft", "none", "-t", "1", "--keep-alive", "3s").wait_ready()
    assert [one["id"] for one in server.ask("/v1/models").json["data"]] == ["tiny", "second"]
    assert len(server.engines()) == 1
    answers = {}
    for name in ("tiny", "second", str(second_model), None, ""):
        body = server.ask(TEXT, {**GOOD, "model": name}).json
        answers.setdefault(body["model"], set()).add(body["choices"][0]["text"])
    assert [len(texts) for texts in answers.values()] == [1, 1]
    assert answers["tiny"] != answers["second"]
    wait_for(lambda: not server.engines())
    assert {one["status"]["value"] for one in server.ask("/v1/models").json["data"]} == {"unloaded"}
    assert server.ask("/health").status == 200
    assert server.ask("/props").json["is_sleeping"] is True
    assert server.ask("/slots").status == 503
    body = server.ask(TEXT, {**GOOD, "model": "second"}).json
    assert {body["choices"][0]["text"]} == answers["second"]


def test_a_model_is_loaded_once_for_all_who_wait(
    start: Callable[..., Server], tiny_model: Path, second_model: Path
) -> None:
    server = start(tiny_model, second_model, "--draft", "none", "-t", "1").wait_ready()
    with ThreadPoolExecutor(6) as callers:
        replies = list(callers.map(lambda _: server.ask(TEXT, {**GOOD, "model": "second"}), range(6)))
    assert {reply.status for reply in replies} == {200}
    assert len(server.engines()) == 2


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../second.gguf", "owner/repo:Q4_K_M", "smollm2", "x" * 5000, "a\nb"]
)
def test_a_name_that_is_none_of_a_model_here_is_not_found(scripted: Server, name: str) -> None:
    reply = scripted.ask(TEXT, {**GOOD, "model": name})
    assert reply.status == 404
    assert (reply.error["param"], reply.error["code"]) == ("model", "model_not_found")
    assert "script" in reply.error["message"]


def test_a_file_can_be_named_by_nobody_but_who_started_the_server(scripted: Server, tiny_model: Path) -> None:
    assert scripted.ask(TEXT, {**GOOD, "model": str(tiny_model)}).status == 404


def test_a_model_that_is_here_but_not_whole_is_told_of(
    start: Callable[..., Server], tiny_model: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF no more")
    server = start(tiny_model, broken, "--draft", "none", "-t", "1").wait_ready()
    for _ in range(2):
        reply = server.ask(TEXT, {**GOOD, "model": "broken"})
        assert reply.status == 500
        assert reply.error["code"] == "model_not_loaded"
        assert "broken" in reply.error["message"]
    assert server.ask(TEXT, GOOD).status == 200
    wait_for(lambda: len(server.engines()) == 1)


def test_a_conversation_outlives_the_server_in_its_folder(
    start: Callable[..., Server], tiny_model: Path, tmp_path: Path
) -> None:
    body = {"prompt": "a prompt that comes twice " * 6, "max_tokens": 4}
    told = []
    for _ in range(2):
        server = start(
            tiny_model, "--draft", "none", "-t", "1", "--cache-dir", tmp_path / "kept"
        ).wait_ready()
        told.append(server.ask(TEXT, body).json)
        assert server.end() == 0
    assert told[0]["choices"][0]["text"] == told[1]["choices"][0]["text"]
    cached = [one["usage"]["prompt_tokens_details"]["cached_tokens"] for one in told]
    assert cached[0] == 0 < cached[1]


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_what_is_asked_lies_on_no_disk_but_in_the_folder_that_was_named(
    start: Callable[..., Server], tiny_model: Path, tmp_path: Path, isolated_machine: Path
) -> None:
    folder = tmp_path / "kept"
    for options in ((), ("--cache-dir", folder)):
        server = start(tiny_model, "--draft", "none", "-t", "1", *options).wait_ready()
        assert server.ask(TEXT, {"prompt": "swordfish " * 9, "max_tokens": 4}).status == 200
        assert server.end() == 0
        files = [one for place in (isolated_machine, tmp_path) for one in place.rglob("*") if one.is_file()]
        assert [one for one in files if b"swordfish" in one.read_bytes()] == []
        kept = [one for one in files if one.suffix == ".kept"]
        assert {one.parent for one in kept} == ({folder} if options else set())
    assert {stat.S_IMODE(one.stat().st_mode) for one in kept} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
