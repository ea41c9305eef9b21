"""Texts by how well they answer a question: `/v1/rerank`, of rerankers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import gguf
import pytest

from tests.serve.served import Json, Server
from tests.tiny_encoder import CONTEXT, make_tiny_encoder

PATH = "/v1/rerank"
RANK = gguf.PoolingType.RANK
QUERY, TEXTS = "the sea", ["the cat and the hat", "sand", "the sea and the sand", "x"]
NEAR = 1e-3
"""Which kernels compute a number depends on the texts that are read beside it."""


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_encoder(tmp_path_factory.mktemp("reranker") / "reranker.gguf", pooling=RANK)


@pytest.fixture(scope="module")
def server(reranker: Path) -> Iterator[Server]:
    one = Server(reranker, "-t", "1")
    yield one.wait_ready()
    one.close()


def scores_of(server: Server, texts: list[str], query: str = QUERY) -> dict[int, float]:
    results = server.ask(PATH, {"query": query, "documents": texts}).json["results"]
    return {one["index"]: one["relevance_score"] for one in results}


def test_the_best_comes_first_with_the_score_that_it_gets_alone(server: Server) -> None:
    for path in (PATH, "/rerank", "/reranking", "/v1/reranking"):
        body = server.ask(path, {"query": QUERY, "documents": TEXTS, "model": "reranker"}).json
        assert (body["object"], body["model"]) == ("list", "reranker")
        scores = [one["relevance_score"] for one in body["results"]]
        assert scores == sorted(scores, reverse=True)
        assert len(set(scores)) == len(TEXTS)
        for one in body["results"]:
            (alone,) = scores_of(server, [TEXTS[one["index"]]]).values()
            assert one["relevance_score"] == pytest.approx(alone, abs=NEAR)
    # Begin of text and separator stand once in each pair.
    plain = [len(server.ask("/tokenize", {"content": text}).json["tokens"]) for text in (QUERY, *TEXTS)]
    wanted = len(TEXTS) * (plain[0] + 2) + sum(plain[1:])
    assert body["usage"] == {"prompt_tokens": wanted, "total_tokens": wanted}
    assert scores_of(server, TEXTS, "the hat") != pytest.approx(scores_of(server, TEXTS), abs=NEAR)


def test_no_more_than_are_wanted_come(server: Server) -> None:
    best = server.ask(PATH, {"query": QUERY, "documents": TEXTS, "top_n": 2}).json["results"]
    all_of_them = server.ask(PATH, {"query": QUERY, "documents": TEXTS, "top_n": 9}).json["results"]
    assert best == all_of_them[:2]
    assert len(all_of_them) == len(TEXTS)


def test_texts_in_the_other_form_come_back_in_it(server: Server) -> None:
    body = {"query": QUERY, "texts": TEXTS, "return_text": True}
    found = server.ask("/rerank", body).json
    scores = scores_of(server, TEXTS)
    for one in found:
        assert one == {"index": one["index"], "score": one["score"], "text": TEXTS[one["index"]]}
        assert one["score"] == pytest.approx(scores[one["index"]], abs=NEAR)
    assert [set(one) for one in server.ask("/rerank", {**body, "return_text": False}).json] == [
        {"index", "score"}
    ] * len(TEXTS)


def test_a_file_may_say_how_question_and_text_are_put_together(
    tmp_path: Path, server: Server, start: Callable[..., Server]
) -> None:
    told = "{query} sand {document}{document}"
    own = start(make_tiny_encoder(tmp_path / "own.gguf", pooling=RANK, template=told), "-t", "1").wait_ready()
    body = own.ask(PATH, {"query": "{document}", "documents": ["x"]}).json
    # The braces of a question are its own.
    whole = "{document} sand xx"
    assert body["usage"]["prompt_tokens"] == len(own.ask("/tokenize", {"content": whole}).json["tokens"])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"documents": TEXTS}, "query"),
        ({"query": 1, "documents": TEXTS}, "query"),
        ({"query": QUERY}, "documents"),
        ({"query": QUERY, "documents": []}, "documents"),
        ({"query": QUERY, "documents": "x"}, "documents"),
        ({"query": QUERY, "documents": ["x", 3]}, "documents"),
        ({"query": QUERY, "texts": ["x"] * 2049}, "texts"),
        ({"query": QUERY, "documents": TEXTS, "top_n": 0}, "top_n"),
        ({"query": QUERY, "documents": ["the " * CONTEXT]}, "documents"),
        ({"query": "the " * CONTEXT, "texts": ["x"]}, "texts"),
    ],
)
def test_what_cannot_be_ranked_is_refused_by_its_name(server: Server, body: Json, param: str) -> None:
    reply = server.ask(PATH, body)
    assert (reply.status, reply.error["param"]) == (400, param)


def test_a_reranker_gives_neither_vectors_nor_text(server: Server) -> None:
    reply = server.ask("/v1/embeddings", {"input": "x"})
    assert (reply.status, reply.error["code"]) == (400, "embeddings_not_supported")
    assert "/v1/rerank" in reply.error["message"]
    reply = server.ask("/v1/completions", {"prompt": "x"})
    assert (reply.status, reply.error["code"]) == (400, "writes_no_text")
    assert "/v1/rerank" in reply.error["message"]


def test_one_without_a_head_is_refused(tmp_path: Path, start: Callable[..., Server]) -> None:
    headless = make_tiny_encoder(tmp_path / "headless.gguf", pooling=RANK, has_head=False)
    server = start(headless)
    assert server.process.wait() == 3
    assert "headless is an encoder" in server.read_line()
