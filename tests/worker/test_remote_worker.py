"""A server in the place of a worker's process: what foreign ones say, also oddly, becomes the same events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edgespec.chat.messages import ChatMessage
from edgespec.chat.structure import Structure, StructureKind
from edgespec.chat.thinking import Thinking
from edgespec.chat.tools import Tool, Toolbox, ToolCall
from edgespec.decode.policy import Mode
from edgespec.llama.sampler import Sampling
from edgespec.session.settings import EngineSettings
from edgespec.worker.protocol import (
    Answer,
    Answered,
    AnyEvent,
    ChangeDraft,
    ChangeMode,
    OpenPair,
    PairOpened,
    Progressed,
    Request,
    RequestFailed,
    RunRace,
    Stop,
    TokensArrived,
)
from edgespec.worker.remote.address import ServerAddress, parse_server
from edgespec.worker.remote.worker import RemoteWorker
from tests.cli.processes import free_port
from tests.worker.foreign_server import (
    DONE,
    DRAFTED,
    LLAMA_PROPS,
    MODEL,
    Busy,
    Foreign,
    Reply,
    chunk,
    event,
    refused,
    said,
    serving,
)

QUESTION = (ChatMessage("user", "what is it"),)
ASK = Answer(QUESTION, 32)
TIMINGS = DRAFTED | {"cache_n": 10}


class Heard:
    """A worker that asks one server, and what it says."""

    def __init__(self, worker: RemoteWorker) -> None:
        self._worker = worker
        self._events = worker.events()

    async def next(self) -> AnyEvent:
        async with asyncio.timeout(60):
            return await anext(self._events)

    def send(self, request: Request) -> None:
        self._worker.send(request)

    async def do(self, request: Request) -> list[AnyEvent]:
        """Everything up to the event that answers it."""
        self.send(request)
        heard = [await self.next()]
        while not isinstance(heard[-1], PairOpened | Answered | RequestFailed):
            heard.append(await self.next())
        return heard


@asynccontextmanager
async def asking(url: str | ServerAddress) -> AsyncIterator[Heard]:
    worker = RemoteWorker(parse_server(url) if isinstance(url, str) else url)
    try:
        yield Heard(worker)
    finally:
        await worker.close()


def opened(target: str | None = None) -> OpenPair:
    return OpenPair(target, "auto", EngineSettings())


async def answer_of(foreign: Foreign, ask: Answer = ASK) -> tuple[list[TokensArrived], AnyEvent]:
    """What comes of one question to a server."""
    with serving(foreign):
        async with asking(foreign.url) as heard:
            assert isinstance((await heard.do(opened()))[-1], PairOpened)
            *arrived, last = await heard.do(ask)
    return [one for one in arrived if isinstance(one, TokensArrived)], last


def text_of(arrived: list[TokensArrived]) -> str:
    return "".join(one.text for one in arrived)


def thought_of(arrived: list[TokensArrived]) -> str:
    return "".join(one.thought for one in arrived)


async def failure_of(reply: Reply, ask: Answer = ASK) -> RequestFailed:
    _, last = await answer_of(Foreign(replies=[reply]), ask)
    assert isinstance(last, RequestFailed)
    return last


# The pair.


async def test_the_only_model_of_a_server_is_its_pair_and_what_is_not_told_stays_unknown() -> None:
    with serving(Foreign()) as foreign:
        async with asking(foreign.url) as heard:
            assert await heard.do(opened()) == [
                PairOpened(MODEL, None, Mode.AUTO, 0, 0.0, 0, server=foreign.url)
            ]


async def test_the_context_is_the_one_that_llama_server_or_vllm_tells() -> None:
    vllm = {"data": [{"id": MODEL, "max_model_len": 8192}]}
    for foreign, n_ctx in ((Foreign(props=LLAMA_PROPS), 4096), (Foreign(models=vllm), 8192)):
        with serving(foreign):
            async with asking(foreign.url) as heard:
                (pair,) = await heard.do(opened())
        assert isinstance(pair, PairOpened)
        assert pair.n_ctx == n_ctx


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        ("llama3.2", "llama3.2:latest"),
        ("QWEN", "qwen"),
        ("coder", "/models/Coder.gguf"),
        ("second", "/models/Coder.gguf"),
    ],
)
async def test_a_model_is_found_as_people_write_it(asked: str, answers: str) -> None:
    names = [{"id": "llama3.2:latest"}, {"id": "qwen"}, {"id": "/models/Coder.gguf", "aliases": ["second"]}]
    with serving(Foreign(models={"data": names}, replies=[said("hello")])) as foreign:
        async with asking(foreign.url) as heard:
            (pair,) = await heard.do(opened(asked))
            assert isinstance(pair, PairOpened)
            assert pair.target == answers
            await heard.do(ASK)
    assert foreign.bodies[0]["model"] == answers


@pytest.mark.parametrize(
    ("models", "asked", "message", "hint"),
    [
        (["qwen-coder", "llama"], "qwen", "has no model 'qwen'", "it has qwen-coder"),
        (["one", "two"], None, "has 2 models", "name one of them: one, two"),
        ([], None, "lists no model", "load one there, or name the one that shall answer"),
    ],
)
async def test_a_model_that_is_not_clear_gets_the_names(
    models: list[str], asked: str | None, message: str, hint: str
) -> None:
    with serving(Foreign(models={"data": [{"id": name} for name in models]})) as foreign:
        async with asking(foreign.url) as heard:
            (failed,) = await heard.do(opened(asked))
    assert failed == RequestFailed(f"the server at {foreign.url} {message}", hint)


@pytest.mark.parametrize("models", [None, {"data": []}, {"object": "list", "data": None}])
async def test_where_nothing_is_listed_a_name_is_taken_as_it_is(models: object) -> None:
    with serving(Foreign(models=models)) as foreign:
        async with asking(foreign.url) as heard:
            (pair,) = await heard.do(opened("anything"))
    assert isinstance(pair, PairOpened)
    assert pair.target == "anything"


async def test_of_several_the_one_that_is_loaded_answers() -> None:
    models = [{"id": "a", "status": {"value": "unloaded"}}, {"id": "b", "status": {"value": "loaded"}}]
    with serving(Foreign(models={"data": models})) as foreign:
        async with asking(foreign.url) as heard:
            (pair,) = await heard.do(opened())
    assert isinstance(pair, PairOpened)
    assert pair.target == "b"


async def test_of_edgespecs_own_the_first_answers_and_what_its_list_tells_is_known() -> None:
    meta = {"n_ctx": 4096, "draft": "small"}
    models = [{"id": name, "owned_by": "edgespec", "meta": meta} for name in ("a", "b")]
    with serving(Foreign(models={"data": models}, props=Busy(), replies=[said("yes")])) as foreign:
        async with asking(foreign.url) as heard:
            (pair,) = await heard.do(opened())
            await heard.do(ASK)
    assert isinstance(pair, PairOpened)
    assert (pair.target, pair.n_ctx, pair.draft) == ("a", 4096, "small")
    assert foreign.bodies[0]["timings_per_token"] is True


@pytest.mark.parametrize("models", [[], "text", {"message": "welcome"}, {"data": 7}])
async def test_what_is_no_such_server_is_said_to_be_none(models: object) -> None:
    with serving(Foreign(models=models)) as foreign:
        async with asking(foreign.url) as heard:
            (failed,) = await heard.do(opened())
    assert isinstance(failed, RequestFailed)
    assert failed.message == f"what answers at {foreign.url} does not speak OpenAI's protocol"


async def test_nobody_there_names_the_address_and_a_way_out() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with asking(url) as heard:
        (failed,) = await heard.do(opened())
        assert isinstance(failed, RequestFailed)
        assert failed.message.startswith(f"nobody answers at {url} (")
        assert "`edgespec serve`" in failed.hint
        # And once somebody is, it goes on.
        assert await heard.do(opened()) == [failed]


# The answer.


async def test_an_answer_without_figures_has_none() -> None:
    arrived, answered = await answer_of(Foreign(replies=[said("Hel", "lo.")]))
    assert text_of(arrived) == "Hello."
    assert isinstance(answered, Answered)
    stats = answered.stats
    assert (stats.predicted_n, stats.prompt_n, stats.tok_per_s, stats.draft_n) == (0, 0, 0.0, 0)
    assert stats.why == "speculation unknown: the server gives no figures"
    assert (stats.stopped, answered.memory_bytes, answered.notes) == ("eog", 0, ())
    assert stats.ttft_s > 0  # which is measured here


async def test_timings_are_read_under_llama_cpps_names() -> None:
    last = chunk(end="stop", timings=TIMINGS)
    _, answered = await answer_of(Foreign(props=LLAMA_PROPS, replies=[Reply([chunk("yes"), last, DONE])]))
    assert isinstance(answered, Answered)
    stats = answered.stats
    assert (stats.prompt_n, stats.prompt_evaluated_n, stats.predicted_n) == (15, 5, 21)
    assert (stats.tok_per_s, stats.prompt_tok_per_s, stats.acceptance) == (10.0, 20.0, 0.75)
    assert stats.why == "speculation on: 9 of 12 tokens accepted"


async def test_usage_alone_gives_counts() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 6}}
    usage |= {"completion_tokens_details": {"reasoning_tokens": 3}}
    tail = event({"choices": [], "usage": usage})
    _, answered = await answer_of(Foreign(replies=[Reply([chunk("yes"), chunk(end="stop"), tail, DONE])]))
    assert isinstance(answered, Answered)
    stats = answered.stats
    assert (stats.prompt_n, stats.prompt_evaluated_n, stats.predicted_n, stats.thought_n) == (9, 3, 4, 3)
    assert stats.prompt_tok_per_s == 0.0


async def test_counts_that_are_none_are_unknown() -> None:
    odd: dict[str, Any] = {"predicted_n": -3, "predicted_ms": "soon", "prompt_n": None, "draft_n": 1e300}
    last = chunk(end="stop", timings=odd, usage=[1, 2])
    arrived, answered = await answer_of(Foreign(replies=[Reply([chunk("yes"), last, DONE])]))
    assert text_of(arrived) == "yes"
    assert isinstance(answered, Answered)
    assert (answered.stats.predicted_n, answered.stats.draft_n, answered.stats.tok_per_s) == (0, 0, 0.0)


async def test_signs_of_life_and_empty_pieces_between_the_text_change_nothing() -> None:
    pieces = [
        b": keep-alive\n\n",
        b"event: message\nid: 1\nretry: 5\n",
        chunk("one "),
        b"\n\n:\n\n",
        event({"choices": []}),
        event({"choices": [{"index": 0, "delta": None, "finish_reason": None}]}),
        chunk(None, delta={"role": "assistant", "content": None}),
        chunk("two"),
        chunk("", end="stop"),
        b"data:[DONE]\r\n\r\n",
    ]
    arrived, answered = await answer_of(Foreign(replies=[Reply(pieces)]))
    assert text_of(arrived) == "one two"
    assert (arrived[0].decode_s, arrived[-1].predicted_n) == (0.0, 0)
    assert arrived[-1].decode_s > 0  # as seen from here: by it the app tells how far an answer is
    assert isinstance(answered, Answered)
    assert answered.stats.decode_s == 0


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_pieces_may_be_cut_anywhere_also_inside_of_a_character(size: int) -> None:
    text = "äöü \u2028 \U0001f600 \x85 end"
    whole = chunk(text).replace(b"\n", b"\r\n") + chunk(end="stop") + DONE
    cut = [whole[i : i + size] for i in range(0, len(whole), size)]
    arrived, _ = await answer_of(Foreign(replies=[Reply(cut)]))
    assert text_of(arrived) == text


async def test_the_end_may_lack_its_mark_or_its_reason() -> None:
    for pieces in ([chunk("yes"), chunk(end="stop")], [chunk("yes"), DONE]):
        arrived, answered = await answer_of(Foreign(replies=[Reply(pieces)]))
        assert text_of(arrived) == "yes"
        assert isinstance(answered, Answered)
        assert answered.stats.stopped == "eog"


async def test_what_is_lost_after_the_last_word_does_not_cost_the_answer() -> None:
    reply = Reply([chunk("yes"), chunk(end="stop")], then="break")
    arrived, answered = await answer_of(Foreign(replies=[reply]))
    assert text_of(arrived) == "yes"
    assert isinstance(answered, Answered)


async def test_a_server_that_does_not_stream_answers_all_at_once() -> None:
    whole = {
        "object": "chat.completion",
        "choices": [{"message": {"role": "assistant", "content": "all of it"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 32},
    }
    reply = Reply([json.dumps(whole).encode()], content_type="application/json")
    arrived, answered = await answer_of(Foreign(replies=[reply]))
    assert text_of(arrived) == "all of it"
    assert isinstance(answered, Answered)
    assert (answered.stats.stopped, answered.stats.predicted_n) == ("length", 32)


async def test_a_limit_before_the_limit_is_a_full_context() -> None:
    last = chunk(end="length", timings=TIMINGS)
    _, answered = await answer_of(Foreign(replies=[Reply([chunk("yes"), last, DONE])]))
    assert isinstance(answered, Answered)
    assert answered.stats.stopped == "context"


# Thoughts.


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_a_thought_in_a_field_of_its_own_is_kept_apart(field: str) -> None:
    pieces = [
        chunk(delta={field: "let me "}),
        chunk(delta={field: "see"}),
        chunk("yes <think>"),
        chunk(end="stop"),
    ]
    arrived, _ = await answer_of(Foreign(replies=[Reply([*pieces, DONE])]))
    assert (thought_of(arrived), text_of(arrived)) == ("let me see", "yes <think>")


async def test_a_thought_between_marks_is_too() -> None:
    arrived, _ = await answer_of(Foreign(replies=[said("<thi", "nk>let me", " see</think>\n\n", "yes")]))
    assert (thought_of(arrived), text_of(arrived)) == ("let me see", "yes")


async def test_what_was_held_back_comes_at_the_end() -> None:
    arrived, _ = await answer_of(Foreign(replies=[said("<thi")]))
    assert text_of(arrived) == "<thi"


# What is asked.


async def test_llama_cpps_settings_go_to_servers_that_know_them() -> None:
    ask = Answer(QUESTION, 7, Sampling(0.7, seed=3), thinking=Thinking("off", 5))
    with serving(Foreign(props=LLAMA_PROPS, replies=[said("yes")])) as foreign:
        async with asking(foreign.url) as heard:
            await heard.do(opened())
            await heard.do(ask)
    (body,) = foreign.bodies
    assert body == {
        "model": MODEL,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 7,
        "temperature": 0.7,
        "top_p": 0.95,
        "seed": 3,
        "top_k": 40,
        "min_p": 0.05,
        "repeat_penalty": 1.0,
        "repeat_last_n": 64,
        "timings_per_token": True,
        "chat_template_kwargs": {"enable_thinking": False},
        "reasoning_budget_tokens": 5,
        "messages": [{"role": "user", "content": "what is it"}],
    }


async def test_others_get_openais_and_what_was_asked_for() -> None:
    asks = [ASK, Answer(QUESTION, 32, Sampling(0.5, top_k=3), thinking=Thinking("auto", 9))]
    with serving(Foreign(replies=[said("yes")])) as foreign:
        async with asking(foreign.url) as heard:
            await heard.do(opened())
            for ask in asks:
                *_, answered = await heard.do(ask)
    plain, picky = (set(body) for body in foreign.bodies)
    assert plain == {"model", "stream", "stream_options", "max_tokens", "temperature", "messages"}
    assert picky - plain == {"top_p", "seed", "top_k"}
    assert isinstance(answered, Answered)
    assert answered.notes == ("`think_budget` 9 has no effect: the server knows none",)


async def test_a_conversation_goes_out_whole_with_its_thoughts_where_they_are_understood() -> None:
    turns = (
        ChatMessage("system", "be brief"),
        *QUESTION,
        ChatMessage("assistant", "a cat", "hm"),
        ChatMessage("user", "why"),
    )
    for props, thought in ((LLAMA_PROPS, {"reasoning_content": "hm"}), (None, {})):
        with serving(Foreign(props=props, replies=[said("yes")])) as foreign:
            async with asking(foreign.url) as heard:
                await heard.do(opened())
                await heard.do(Answer(turns, 8))
        assert foreign.bodies[0]["messages"] == [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "what is it"},
            {"role": "assistant", "content": "a cat", **thought},
            {"role": "user", "content": "why"},
        ]


# Tools.


async def test_tools_and_earlier_calls_go_out_and_new_calls_come_in_pieces() -> None:
    turns = (
        *QUESTION,
        ChatMessage("assistant", "", calls=(ToolCall("one", "look", '{"at": 1}'),)),
        ChatMessage("tool", "a cat", call_id="one", tool_name="look"),
    )
    toolbox = Toolbox((Tool("look", "Looks.", {"properties": {"at": {"type": "integer"}}}),))
    replies = [
        chunk(
            delta={"tool_calls": [{"index": 0, "id": "two", "function": {"name": "look", "arguments": ""}}]}
        ),
        chunk(delta={"tool_calls": [{"index": 0, "function": {"arguments": '{"at"'}}]}),
        chunk(delta={"tool_calls": [{"index": 0, "function": {"arguments": ": 2}"}}]}),
        chunk(end="tool_calls"),
    ]
    foreign = Foreign(replies=[Reply([*replies, DONE])])
    arrived, last = await answer_of(foreign, Answer(turns, 32, toolbox=toolbox))
    assert isinstance(last, Answered)
    assert last.stats.stopped == "eog"
    calls = [delta for one in arrived for delta in one.calls]
    assert [(one.id, one.name) for one in calls if one.name] == [("two", "look")]
    assert "".join(one.arguments for one in calls) == '{"at": 2}'
    body = foreign.bodies[0]
    assert body["tools"][0]["function"]["name"] == "look"
    assert body["messages"][1]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at": 1}'}
    assert body["messages"][2] == {"role": "tool", "content": "a cat", "tool_call_id": "one"}


@pytest.mark.parametrize(
    "calls",
    [
        "no list",
        [3],
        [{"index": 10**9, "function": {"name": "look"}}],
        [{"index": 0, "function": "look"}],
        [{"index": 0, "function": {"name": 3}}],
        [{"index": 0, "function": {"arguments": "{}"}}],
    ],
)
async def test_what_is_no_call_is_passed_over(calls: object) -> None:
    arrived, last = await answer_of(
        Foreign(replies=[Reply([chunk(delta={"tool_calls": calls}), chunk("yes"), chunk(end="stop"), DONE])])
    )
    assert isinstance(last, Answered)
    assert text_of(arrived) == "yes"
    assert not any(one.calls for one in arrived)


async def test_calls_that_a_server_leaves_in_the_text_are_calls_where_tools_were_offered() -> None:
    said = ['{"na', 'me": "look", ', '"arguments": {"at": 2}}']
    replies = [*map(chunk, said), chunk(end="stop"), DONE]
    toolbox = Toolbox((Tool("look"),))
    arrived, last = await answer_of(Foreign(replies=[Reply(replies)]), Answer(QUESTION, 32, toolbox=toolbox))
    assert isinstance(last, Answered)
    calls = [delta for one in arrived for delta in one.calls]
    assert [one.name for one in calls if one.name] == ["look"]
    assert json.loads("".join(one.arguments for one in calls)) == {"at": 2}
    assert text_of(arrived) == ""
    for ask in (ASK, Answer(QUESTION, 32, toolbox=toolbox, structure=Structure(StructureKind.JSON))):
        arrived, _ = await answer_of(Foreign(replies=[Reply(replies)]), ask)
        assert text_of(arrived) == "".join(said)
        assert not any(one.calls for one in arrived)


# What goes wrong.


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"message": "no room left.", "type": "server_error"}, "no room left"),
        ("model 'x' not found", "model 'x' not found"),
        ({"message": "use `seed`\x1b[2J"}, "use 'seed'\\x1b[2J"),
        ({"type": "odd"}, "nothing about the reason"),
        ({"message": ["a", 1]}, '["a", 1]'),
    ],
)
async def test_a_refusal_is_told_in_the_servers_words(error: object, words: str) -> None:
    failed = await failure_of(refused(500, error))
    assert failed.message.endswith(f" failed and says: {words} (HTTP 500)")


async def test_an_error_in_the_middle_keeps_what_came_and_says_why() -> None:
    reply = Reply([chunk("one "), event({"error": {"code": 500, "message": "slot lost"}}), DONE])
    arrived, failed = await answer_of(Foreign(replies=[reply]))
    assert text_of(arrived) == "one "
    assert isinstance(failed, RequestFailed)
    assert failed.message.endswith("failed and says: slot lost")


@pytest.mark.parametrize("reply", [Reply([chunk("one ")], then="break"), Reply([chunk("one ")])])
async def test_a_lost_connection_is_no_end(reply: Reply) -> None:
    arrived, failed = await answer_of(Foreign(replies=[reply]))
    assert text_of(arrived) == "one "
    assert isinstance(failed, RequestFailed)
    assert "broke off" in failed.message


async def test_a_stream_of_something_else_is_said_to_be_none() -> None:
    for reply in (Reply([b"data: hello\n\n"]), Reply([b"<html>"], content_type="text/html")):
        failed = await failure_of(reply)
        assert failed.message.endswith("does not speak OpenAI's protocol")


async def test_an_event_without_an_end_is_not_waited_for() -> None:
    failed = await failure_of(Reply([b"data: " + b"x" * (1 << 20)] * 17))
    assert "broke off (Server-sent event exceeded the 16777216 byte limit.)" in failed.message


async def test_a_busy_server_is_asked_again_when_it_says() -> None:
    busy = refused(503, {"message": "queue is full"}, Retry_After="0")
    arrived, answered = await answer_of(Foreign(replies=[busy, busy, said("yes")]))
    assert text_of(arrived) == "yes"
    assert isinstance(answered, Answered)


async def test_the_front_door_hears_why_it_waits() -> None:
    with serving(Foreign(replies=[refused(503, "later", Retry_After="0"), said("yes")])) as foreign:
        async with asking(foreign.url) as heard:
            await heard.do(opened())
            events = await heard.do(ASK)
    assert events[0] == Progressed("the server is busy: asking again in 0 s", 0, None)


@pytest.mark.parametrize("status", [429, 503])
async def test_one_that_wants_too_long_is_not_waited_for(status: int) -> None:
    failed = await failure_of(refused(status, {"message": "queue is full"}, Retry_After="3600"))
    assert failed.message.endswith("is busy: queue is full")
    assert failed.hint == "ask again in 3600 s, or take another `server`"


async def test_a_key_is_sent_and_a_wrong_one_named_by_where_it_is_from() -> None:
    with serving(Foreign(key="right", replies=[said("yes")])) as foreign:
        async with asking(parse_server(foreign.url, "right", "key.txt")) as heard:
            await heard.do(opened())
            assert isinstance((await heard.do(ASK))[-1], Answered)
        assert foreign.keys == ["Bearer right"] * 3
        for address, message in (
            (parse_server(foreign.url), f"the server at {foreign.url} wants an API key"),
            (
                parse_server(foreign.url, "wr0ng", "key.txt"),
                f"the server at {foreign.url} refuses the API key of key.txt",
            ),
        ):
            async with asking(address) as heard:
                (failed,) = await heard.do(opened())
            assert isinstance(failed, RequestFailed)
            assert failed.message == message
            assert "`api_key`" in failed.hint
        assert "wr0ng" not in repr(parse_server(foreign.url, "wr0ng", "key.txt"))


# The end of the context.

OVERFLOW = refused(
    400, {"type": "exceed_context_size_error", "message": "too long", "n_prompt_tokens": 900, "n_ctx": 512}
)
TURNS = (
    ChatMessage("system", "be brief"),
    ChatMessage("user", "first"),
    ChatMessage("assistant", "1"),
    ChatMessage("user", "second"),
    ChatMessage("assistant", "2"),
    ChatMessage("user", "third"),
)


async def test_a_conversation_that_does_not_fit_is_known_by_it() -> None:
    failed = await failure_of(OVERFLOW)
    assert failed.context_full
    assert failed.message == "the prompt has 900 tokens and the server's context 512"
    other = await failure_of(refused(400, {"code": "context_length_exceeded", "message": "too long"}))
    assert other.context_full
    assert other.message == "the prompt does not fit the server's context: too long"


async def test_the_oldest_turns_are_left_out_until_it_fits() -> None:
    with serving(Foreign(replies=[OVERFLOW, OVERFLOW, said("yes")])) as foreign:
        async with asking(foreign.url) as heard:
            await heard.do(opened())
            *_, answered = await heard.do(Answer(TURNS, 8, drop_oldest=True))
    sent = [[one["content"] for one in body["messages"]] for body in foreign.bodies]
    assert sent[1:] == [["be brief", "second", "2", "third"], ["be brief", "third"]]
    assert isinstance(answered, Answered)
    assert answered.stats.dropped_n == 4


async def test_the_last_question_is_never_left_out() -> None:
    failed = await failure_of(OVERFLOW, Answer(TURNS, 8, drop_oldest=True))
    assert failed.context_full


# Stopping, and what a server does not do.


async def test_a_stop_closes_the_stream_and_keeps_what_came() -> None:
    with serving(Foreign(replies=[Reply([chunk("one ")], then="hold"), said("two")])) as foreign:
        async with asking(foreign.url) as heard:
            await heard.do(opened())
            heard.send(ASK)
            assert isinstance(arrived := await heard.next(), TokensArrived)
            heard.send(Stop())
            answered = await heard.next()
            assert await asyncio.to_thread(foreign.left.wait, 60)
            again, _ = await heard.do(ASK)
    assert isinstance(answered, Answered)
    assert (arrived.text, answered.stats.stopped) == ("one ", "interrupted")
    assert isinstance(again, TokensArrived)
    assert again.text == "two"


async def test_a_stop_before_anything_came_stops_it_too() -> None:
    with serving(Foreign(replies=[Reply([], then="hold")])) as foreign:
        async with asking(foreign.url) as heard:
            await heard.do(opened())
            heard.send(ASK)
            while not foreign.bodies:
                await asyncio.sleep(0.01)
            heard.send(Stop())
            answered = await heard.next()
    assert isinstance(answered, Answered)
    assert answered.stats.stopped == "interrupted"


async def test_a_stop_reaches_what_has_not_begun() -> None:
    async with asking("127.0.0.1:1") as heard:
        heard.send(opened())
        heard.send(Stop())
        assert await heard.next() == RequestFailed("stopped", interrupted=True)


async def test_closing_ends_an_answer_on_the_server_as_well() -> None:
    with serving(Foreign(replies=[Reply([chunk("one ")], then="hold")])) as foreign:
        async with asking(foreign.url) as heard:
            await heard.do(opened())
            heard.send(ASK)
            await heard.next()
        assert await asyncio.to_thread(foreign.left.wait, 60)


@pytest.mark.parametrize("request_", [ChangeMode(Mode.OFF), ChangeDraft("none"), RunRace("who", (), 8)])
async def test_what_is_not_to_be_had_from_a_server_is_refused_in_words(request_: Request) -> None:
    async with asking("127.0.0.1:1") as heard:
        (failed,) = await heard.do(request_)
    assert isinstance(failed, RequestFailed)
    assert failed.message
    assert failed.hint
