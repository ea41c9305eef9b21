"""`run --server` and the app's worker against `edgespec serve` itself: the texts, figures and refusals that an engine here has."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgespec.chat.messages import ChatMessage
from edgespec.worker.protocol import Answer, Answered, PairOpened, RequestFailed, Stop, TokensArrived
from tests.serve.served import Server, wait_for
from tests.worker.test_remote_worker import asking, opened, text_of

RunCli = Callable[..., Any]
CONTEXT = 8192


@pytest.fixture(scope="module")
def server(tiny_model: Path, tiny_draft: Path) -> Iterator[Server]:
    one = Server(tiny_model, "--draft", tiny_draft, "-t", "1", "-c", str(CONTEXT))
    yield one.wait_ready()
    one.close()


def address(server: Server) -> str:
    return f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("how", [(), ("--raw",), ("--temperature", "0.9", "--seed", "3")])
def test_the_answer_is_that_of_an_engine_here(
    server: Server, run_cli: RunCli, tiny_model: Path, tiny_draft: Path, how: tuple[str, ...]
) -> None:
    asked = ("-p", "the cat and the hat", "-n", "24", "--json", *how)
    remote = json.loads(run_cli("run", "--server", address(server), *asked).out)
    local = json.loads(run_cli("run", tiny_model, "--draft", tiny_draft, "-t", "1", *asked).out)
    for key in ("text", "thought", "prompt_n", "predicted_n", "stopped", "schema"):
        assert remote[key] == local[key], key
    assert remote["model"] == "tiny"
    assert isinstance(remote["draft_n"], int)
    assert remote["speculation"].startswith("speculation o")
    assert remote["tok_per_s"] > 0


def test_an_answer_of_a_schema_is_one_as_well(server: Server, run_cli: RunCli, tiny_model: Path) -> None:
    schema = '{"type": "object", "properties": {"a": {"enum": ["cat", "dog"]}}, "required": ["a"]}'
    asked = ("-p", "the cat", "--json-schema", schema)
    remote = run_cli("run", "--server", address(server), *asked)
    assert json.loads(remote.out)["a"] in ("cat", "dog")
    assert remote.out == run_cli("run", tiny_model, "--draft", "none", "-t", "1", *asked).out


async def test_the_app_knows_pair_and_context_and_gets_figures(server: Server) -> None:
    async with asking(address(server)) as heard:
        (pair,) = await heard.do(opened())
        assert isinstance(pair, PairOpened)
        assert (pair.target, pair.draft, pair.n_ctx) == ("tiny", "tiny-draft", CONTEXT)
        *arrived, answered = await heard.do(Answer((ChatMessage("user", "the cat"),), 40))
    assert isinstance(answered, Answered)
    assert text_of([one for one in arrived if isinstance(one, TokensArrived)])
    assert answered.stats.predicted_n == 40
    assert answered.stats.tok_per_s > 0


async def test_a_stop_ends_the_work_on_the_server(server: Server) -> None:
    before = server.metric("edgespec_predicted_tokens_total")
    async with asking(address(server)) as heard:
        await heard.do(opened())
        heard.send(Answer((ChatMessage("user", "the sea"),), CONTEXT - 100))
        await heard.next()
        heard.send(Stop())
        while not isinstance(last := await heard.next(), Answered | RequestFailed):
            pass
        wait_for(lambda: server.processing_n() == 0)
    assert isinstance(last, Answered)
    if last.stats.stopped == "interrupted":  # else the model ended first
        assert server.metric("edgespec_predicted_tokens_total") - before < CONTEXT - 100


async def test_a_conversation_that_does_not_fit_goes_on_without_its_oldest_turns(server: Server) -> None:
    long = "a b " * (CONTEXT // 3)
    turns = (ChatMessage("user", long), ChatMessage("assistant", long), ChatMessage("user", "the cat"))
    async with asking(address(server)) as heard:
        await heard.do(opened())
        *_, failed = await heard.do(Answer(turns, 8))
        *_, answered = await heard.do(Answer(turns, 8, drop_oldest=True))
    assert isinstance(failed, RequestFailed)
    assert failed.context_full
    assert str(CONTEXT) in failed.message
    assert isinstance(answered, Answered)
    assert answered.stats.dropped_n == 2


def test_a_name_that_is_not_there_gets_the_names(server: Server, run_cli: RunCli) -> None:
    result = run_cli("run", "tinny", "--server", address(server), "-p", "hi")
    assert result.code == 3
    assert "has no model 'tinny'. It has tiny" in result.err
