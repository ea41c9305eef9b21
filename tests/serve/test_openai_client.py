"""The `openai` package against `edgespec serve`: what most programs do with a server, done by the client that most of them use."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.serve.served import Server, wait_for

QUESTION: list[Any] = [{"role": "user", "content": "the cat and the hat"}]
CONTEXT = 16384


@pytest.fixture(scope="module")
def server(tiny_model: Path, tiny_draft: Path) -> Iterator[Server]:
    one = Server(tiny_model, "--draft", tiny_draft, "-t", "1", "-np", "4", "-c", str(CONTEXT))
    yield one.wait_ready()
    one.close()


def text_of(chunks: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_the_list_of_models_names_what_answers(client: openai.OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert listed[0] == "tiny"
    assert client.models.retrieve("tiny").id == "tiny"


def test_a_chat_streams_the_text_that_it_has_whole(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny", "messages": QUESTION, "max_tokens": 24, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    message = whole.choices[0].message
    assert (message.role, whole.choices[0].finish_reason) == ("assistant", "length")
    assert whole.usage is not None
    assert (whole.usage.completion_tokens, whole.model) == (24, "tiny")
    *chunks, last = client.chat.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    )
    assert text_of(chunks) == message.content
    assert [one.choices[0].finish_reason for one in chunks][-1] == "length"
    assert last.choices == []
    assert last.usage == whole.usage or last.usage.completion_tokens == 24
    assert len({one.id for one in chunks}) == 1


def test_plain_completions_take_several_prompts(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny", "max_tokens": 8, "temperature": 0}
    both = client.completions.create(prompt=["the sea", "the sand"], **asked)
    each = [client.completions.create(prompt=one, **asked).choices[0].text for one in ("the sea", "the sand")]
    assert [one.text for one in sorted(both.choices, key=lambda choice: choice.index)] == each
    streamed = client.completions.create(prompt="the sea", stream=True, **asked)
    assert "".join(one.choices[0].text for one in streamed if one.choices) == each[0]


def test_several_answers_differ_by_their_seed_and_come_again_with_it(client: openai.OpenAI) -> None:
    def draw() -> list[str | None]:
        drawn = client.chat.completions.create(
            model="tiny", messages=QUESTION, max_tokens=16, n=3, temperature=1.5, seed=7
        )
        return [one.message.content for one in drawn.choices]

    texts = draw()
    assert len(set(texts)) == 3
    assert draw() == texts


def test_log_probabilities_are_those_of_the_text(client: openai.OpenAI) -> None:
    told = client.chat.completions.create(
        model="tiny", messages=QUESTION, max_tokens=6, temperature=0, logprobs=True, top_logprobs=3
    )
    logprobs = told.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert len(logprobs.content) == 6
    for token in logprobs.content:
        assert len(token.top_logprobs) == 3
        assert token.logprob == token.top_logprobs[0].logprob <= 0
    text = b"".join(bytes(token.bytes or b"") for token in logprobs.content).decode("utf-8", "replace")
    assert text == told.choices[0].message.content


def test_a_stop_text_ends_the_answer_before_it(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny", "prompt": "the cat", "max_tokens": 24, "temperature": 0}
    whole = client.completions.create(**asked).choices[0].text
    stop = next(one for one in whole if one.isascii() and one.isalnum())
    cut = client.completions.create(**asked, stop=[stop]).choices[0]
    assert (cut.text, cut.finish_reason) == (whole[: whole.index(stop)], "stop")


def test_responses_answer_whole_and_streamed(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny", "input": "the cat", "max_output_tokens": 16, "temperature": 0}
    whole = client.responses.create(**asked)
    events = list(client.responses.create(**asked, stream=True))
    text = "".join(one.delta for one in events if one.type == "response.output_text.delta")
    assert text == whole.output_text
    assert text
    assert (events[0].type, events[-1].type) == ("response.created", "response.incomplete")


# Errors, as the package's own classes.


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="tinny", messages=QUESTION)
    assert caught.value.code == "model_not_found"
    assert "tiny" in str(caught.value)


def test_a_prompt_that_does_not_fit_is_a_bad_request_with_both_numbers(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="tiny", prompt="a b " * CONTEXT)
    assert caught.value.code == "context_length_exceeded"
    assert str(CONTEXT) in str(caught.value)


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"n": 0}, {"max_tokens": "many"}, {"stop": 5}, {"logit_bias": [3]}]
)
def test_a_field_that_makes_no_sense_is_named(client: openai.OpenAI, wrong: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="tiny", messages=QUESTION, extra_body=wrong)
    assert caught.value.param == next(iter(wrong))


def test_embeddings_of_a_model_that_writes_are_refused_clearly(client: openai.OpenAI) -> None:
    with pytest.raises((openai.BadRequestError, openai.APIStatusError)) as caught:
        client.embeddings.create(model="tiny", input="the cat", encoding_format="float")
    assert caught.value.status_code in (400, 501)


def test_a_wrong_key_is_an_authentication_error(tiny_model: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("first\nsecond\n", encoding="utf-8")
    server = Server(tiny_model, "--draft", "none", "-t", "1", "--api-key", keys)
    try:
        url = f"http://127.0.0.1:{server.wait_ready().port}/v1"
        stranger = openai.OpenAI(base_url=url, api_key="third", max_retries=0)
        with stranger, pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        with openai.OpenAI(base_url=url, api_key="second", max_retries=0) as friend:
            assert friend.models.list().data
    finally:
        server.close()


# Hanging up, and many at once.


def test_a_stream_that_is_closed_ends_the_work(client: openai.OpenAI, server: Server) -> None:
    before = server.metric("edgespec_predicted_tokens_total")
    stream = client.completions.create(
        model="tiny",
        prompt="the cat",
        stream=True,
        max_tokens=CONTEXT - 100,
        extra_body={"ignore_eos": True},
    )
    next(iter(stream))
    stream.close()
    wait_for(lambda: server.processing_n() == 0)
    assert server.metric("edgespec_predicted_tokens_total") - before < CONTEXT - 100


async def test_a_request_that_is_given_up_ends_the_work_and_others_go_on(server: Server) -> None:
    before = server.metric("edgespec_predicted_tokens_total")
    async with openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0
    ) as client:
        endless = asyncio.create_task(
            client.completions.create(
                model="tiny",
                prompt="the cat",
                max_tokens=CONTEXT - 100,
                extra_body={"ignore_eos": True},
            )
        )
        while not await asyncio.to_thread(server.processing_n):
            await asyncio.sleep(0.01)
        endless.cancel()
        asked = [
            client.completions.create(model="tiny", prompt="the sea", max_tokens=8, temperature=0)
            for _ in range(6)
        ]
        texts = {one.choices[0].text for one in await asyncio.gather(*asked)}
    await asyncio.to_thread(wait_for, lambda: server.processing_n() == 0)
    assert len(texts) == 1
    assert server.metric("edgespec_predicted_tokens_total") - before < CONTEXT - 100
