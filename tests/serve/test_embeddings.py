"""Vectors of texts: `/v1/embeddings` and `/embedding`, of encoders and of models that pool."""

import base64
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gguf
import numpy as np
import openai
import pytest
from numpy.typing import NDArray

from tests.serve.served import Json, Server
from tests.tiny import make_tiny_model
from tests.tiny_encoder import CONTEXT, WIDTH, make_tiny_encoder

OPENAI, NATIVE = "/v1/embeddings", "/embedding"
TEXTS = ["the cat and the hat", "the sea", "x"]
NEAR = 1e-3
"""Of numbers of a vector: which kernels compute it depends on the texts that are read beside it."""
Vector = NDArray[np.float64]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_encoder(tmp_path_factory.mktemp("encoder") / "encoder.gguf")


@pytest.fixture(scope="module")
def server(encoder: Path) -> Iterator[Server]:
    one = Server(encoder, "-t", "1")
    yield one.wait_ready()
    one.close()


def vectors_of(server: Server, given: Json, **fields: Json) -> list[Vector]:
    body = server.ask(OPENAI, {"input": given, **fields}).json
    assert [one["index"] for one in body["data"]] == list(range(len(body["data"])))
    return [np.array(one["embedding"]) for one in body["data"]]


def test_several_texts_get_the_vectors_that_each_gets_alone(server: Server) -> None:
    body = server.ask(OPENAI, {"input": TEXTS}).json
    assert (body["object"], body["model"]) == ("list", "encoder")
    assert {one["object"] for one in body["data"]} == {"embedding"}
    together = vectors_of(server, TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        (alone,) = vectors_of(server, text)
        assert vector.shape == (WIDTH,)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
        assert vector == pytest.approx(alone, abs=NEAR)
    assert together[0] @ together[1] < 0.999
    counted = [
        len(server.ask("/tokenize", {"content": one, "add_special": True}).json["tokens"]) for one in TEXTS
    ]
    assert body["usage"] == {"prompt_tokens": sum(counted), "total_tokens": sum(counted)}


def test_tokens_are_texts_too(server: Server) -> None:
    tokens = [
        server.ask("/tokenize", {"content": text, "add_special": True}).json["tokens"] for text in TEXTS
    ]
    assert np.allclose(vectors_of(server, tokens), vectors_of(server, TEXTS), atol=NEAR)
    assert np.allclose(vectors_of(server, tokens[0]), vectors_of(server, TEXTS[0]), atol=NEAR)
    assert np.allclose(vectors_of(server, [tokens[0], TEXTS[1]]), vectors_of(server, TEXTS[:2]), atol=NEAR)


def test_base64_holds_the_same_numbers(server: Server) -> None:
    (written,) = server.ask(OPENAI, {"input": TEXTS[0], "encoding_format": "base64"}).json["data"]
    told = struct.unpack(f"<{WIDTH}f", base64.b64decode(written["embedding"]))
    (vector,) = vectors_of(server, TEXTS[0])
    assert list(told) == [np.float32(one) for one in vector]


def test_fewer_dimensions_are_the_first_ones_at_a_length_of_one(server: Server) -> None:
    (whole,), (cut,) = vectors_of(server, "the cat"), vectors_of(server, "the cat", dimensions=8)
    assert cut == pytest.approx(whole[:8] / np.linalg.norm(whole[:8]), abs=NEAR)
    reply = server.ask(OPENAI, {"input": "a", "dimensions": WIDTH + 1})
    assert (reply.status, reply.error["param"]) == (400, "dimensions")
    assert str(WIDTH) in reply.error["message"]


@pytest.mark.parametrize(
    ("norm", "length"),
    [
        (-1, None),
        (0, lambda one: np.abs(one).max() / 32760),
        (1, lambda one: np.abs(one).sum()),
        (3, lambda one: (np.abs(one) ** 3).sum() ** (1 / 3)),
    ],
)
def test_llama_servers_form_scales_as_it_is_asked_to(
    server: Server, norm: int, length: Callable[[Vector], float] | None
) -> None:
    ((one,),) = (entry["embedding"] for entry in server.ask(NATIVE, {"content": TEXTS[0]}).json)
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-6)
    (entry,) = server.ask(NATIVE, {"content": TEXTS[0], "embd_normalize": norm}).json
    assert entry["index"] == 0
    scaled = np.array(entry["embedding"][0])
    assert scaled / np.linalg.norm(scaled) == pytest.approx(np.array(one), abs=NEAR)
    assert np.linalg.norm(scaled) != pytest.approx(1, abs=1e-3)
    if length is not None:
        assert length(scaled) == pytest.approx(1, abs=1e-5)


def test_a_text_that_does_not_fit_is_refused_with_both_numbers(server: Server) -> None:
    reply = server.ask(OPENAI, {"input": ["a", "a " * CONTEXT]})
    assert (reply.status, reply.error["code"]) == (400, "context_length_exceeded")
    assert (reply.error["param"], reply.error["n_ctx"]) == ("input", CONTEXT)
    assert reply.error["n_prompt_tokens"] == CONTEXT + 2
    assert vectors_of(server, "a " * (CONTEXT - 2))[0].shape == (WIDTH,)


def test_of_a_text_that_cannot_fit_only_the_beginning_is_tokenized(server: Server) -> None:
    reply = server.ask(OPENAI, {"input": ["a", "a " * 500_000]})
    assert (reply.status, reply.error["code"]) == (400, "context_length_exceeded")
    assert CONTEXT < reply.error["n_prompt_tokens"] < 100_000


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": [[]]}, "input[0]"),
        ({"input": ["a", 1.5]}, "input[1]"),
        ({"input": [[-1]]}, "input[0]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "embd_normalize": -2}, "embd_normalize"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(server: Server, wrong: Json, param: str) -> None:
    reply = server.ask(OPENAI, wrong)
    assert (reply.status, reply.error["param"]) == (400, param)


def test_no_token_of_the_models_is_refused(server: Server) -> None:
    reply = server.ask(OPENAI, {"input": [[10**6]]})
    assert reply.status == 400
    assert "no token 1000000" in reply.error["message"]


def test_many_callers_get_their_own_vectors(server: Server) -> None:
    texts = [f"{number} sea and {number * 7} sand" for number in range(40)]
    alone = vectors_of(server, texts)
    with ThreadPoolExecutor(8) as callers:
        together = list(callers.map(lambda text: vectors_of(server, text)[0], texts))
    assert np.allclose(together, alone, atol=NEAR)
    alike = np.array(together) @ np.array(alone).T
    assert list(alike.argmax(axis=1)) == list(range(len(texts)))
    assert server.metric("edgespec_prompt_tokens_total") > 0
    assert server.processing_n() == 0


def test_an_embedding_model_says_what_it_is_and_writes_nothing(server: Server) -> None:
    assert "(embeddings, mean pooling)" in server.lines[-1]
    meta = server.ask("/v1/models").json["data"][0]["meta"]
    assert (meta["pooling"], meta["n_embd"], meta["n_ctx"]) == ("mean", WIDTH, CONTEXT)
    assert server.ask("/slots").json[0]["is_processing"] is False
    turns = {"messages": [{"role": "user", "content": "a"}], "input": "a", "prompt": "a", "max_tokens": 1}
    paths = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/completion")
    for path in (*paths, "/apply-template", "/v1/messages/count_tokens"):
        reply = server.ask(path, turns)
        assert reply.status == 400, path
        assert "an embedding model" in reply.error["message"]


def test_the_openai_package_gets_floats_whichever_form_it_asks_for(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        usual = client.embeddings.create(model="encoder", input=TEXTS)
        plain = client.embeddings.create(model="encoder", input=TEXTS, encoding_format="float", dimensions=4)
    assert np.allclose([one.embedding for one in usual.data], vectors_of(server, TEXTS), atol=NEAR)
    assert {len(one.embedding) for one in plain.data} == {4}
    assert usual.usage.prompt_tokens > 0


def test_every_way_of_pooling_is_served_and_a_model_that_writes_is_not(
    start: Callable[..., Server], tiny_model: Path, tmp_path: Path
) -> None:
    models = {
        "last": make_tiny_model(tmp_path / "last.gguf", pooling=gguf.PoolingType.LAST),
        "mean": make_tiny_model(tmp_path / "mean.gguf", pooling=gguf.PoolingType.MEAN),
        "cls": make_tiny_encoder(tmp_path / "cls.gguf", pooling=gguf.PoolingType.CLS),
        "unsaid": make_tiny_encoder(tmp_path / "unsaid.gguf", pooling=None),
    }
    server = start(tiny_model, *models.values(), "--draft", "none", "-t", "1").wait_ready()
    found = {name: vectors_of(server, "the cat", model=name)[0] for name in models}
    for name, vector in found.items():
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6), name
    poolings = {
        one["id"]: (one["meta"] or {}).get("pooling") for one in server.ask("/v1/models").json["data"]
    }
    assert [poolings[name] for name in models] == ["last", "mean", "cls", "mean"]
    for path, body in ((OPENAI, {"input": "a"}), (NATIVE, {"content": "a"})):
        reply = server.ask(path, {**body, "model": "tiny"})
        assert (reply.status, reply.error["code"]) == (400, "embeddings_not_supported")
        assert "name an embedding model" in reply.error["message"]
    assert server.ask("/v1/completions", {"prompt": "a", "max_tokens": 1, "model": "tiny"}).status == 200


def test_the_mean_is_that_of_the_tokens_and_the_last_is_the_last(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    """One model with both poolings: the mean of a text's prefixes' last vectors, since each token sees only what is before it."""
    last = make_tiny_model(tmp_path / "last.gguf", pooling=gguf.PoolingType.LAST)
    mean = make_tiny_model(tmp_path / "mean.gguf", pooling=gguf.PoolingType.MEAN)
    server = start(last, mean, "-t", "1").wait_ready()
    tokens = server.ask("/tokenize", {"content": "the cat and the hat", "add_special": True}).json["tokens"]
    raw = {"embd_normalize": -1}
    ends = [tokens[: end + 1] for end in range(len(tokens))]
    each = [entry["embedding"][0] for entry in server.ask(NATIVE, {"input": ends, **raw}).json]
    (entry,) = server.ask(NATIVE, {"input": tokens, "model": "mean", **raw}).json
    assert np.allclose(np.mean(each, axis=0), entry["embedding"][0], atol=NEAR * 2)
    assert np.allclose(
        each[-1], server.ask(NATIVE, {"input": tokens, **raw}).json[0]["embedding"][0], atol=NEAR * 2
    )


def test_a_draft_for_an_embedding_model_ends_the_server_with_one_line(
    start: Callable[..., Server], encoder: Path
) -> None:
    server = start(encoder, "--draft", "ngram")
    assert server.process.wait() == 2
    (line,) = iter(server.read_line, "")
    assert "nothing can be drafted" in line
    assert "--draft" in line
