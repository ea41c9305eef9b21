"""Filling in between two texts: `/infill`, and `suffix` of `/v1/completions`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.served import Json, Server
from tests.tiny import FIM_TOKENS, make_tiny_model

TEXT, NATIVE, INFILL = "/v1/completions", "/completion", "/infill"
PRE, SUF, MID, REPO, FILE = FIM_TOKENS
HEAD = f"{REPO}myproject\n"
BETWEEN: Json = {"input_prefix": "one ", "input_suffix": " three", "n_predict": 8}
CONTEXT = 256


@pytest.fixture(scope="module", params=[FIM_TOKENS, FIM_TOKENS[:3]], ids=["all tokens", "three tokens"])
def fim(request: pytest.FixtureRequest) -> tuple[str, ...]:
    names: tuple[str, ...] = request.param
    return names


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, fim: tuple[str, ...]) -> Iterator[Server]:
    model = make_tiny_model(tmp_path_factory.mktemp("fim") / "fim.gguf", tokenizer="bpe", fim=fim)
    one = Server(model, "--draft", "none", "-t", "1", "-c", str(CONTEXT))
    yield one.wait_ready()
    one.close()


def answer_to(server: Server, prompt: str) -> Json:
    """What the model writes behind a text in which control tokens stand by their names."""
    return server.ask(NATIVE, {"prompt": prompt, "n_predict": 8}).json


def test_the_texts_stand_in_llama_servers_order(server: Server, fim: tuple[str, ...]) -> None:
    has_files = FILE in fim
    head = f"{HEAD}{FILE}filename\n" if has_files else ""
    wanted = answer_to(server, f"{head}{PRE}one {SUF} three{MID}")
    got = server.ask(INFILL, BETWEEN).json
    assert got["content"] == wanted["content"]
    assert got["tokens_evaluated"] == wanted["tokens_evaluated"]
    assert answer_to(server, "one ")["content"] != got["content"]

    files = {"input_extra": [{"filename": "a.py", "text": "x = 1\n"}, {"text": "y = 2\n"}], "prompt": " two"}
    extra = (
        f"{HEAD}{FILE}a.py\nx = 1\n{FILE}tmp\ny = 2\n{FILE}filename\n"
        if has_files
        else "\n\n--- snippet ---\n\nx = 1\n\n\n--- snippet ---\n\ny = 2\n"
    )
    wanted = answer_to(server, f"{extra}{PRE}one two{SUF} three{MID}")
    got = server.ask(INFILL, BETWEEN | files | {"input_prefix": "one"}).json
    assert (got["content"], got["tokens_evaluated"]) == (wanted["content"], wanted["tokens_evaluated"])


def test_a_suffix_of_openais_completions_is_filled_in_before(server: Server) -> None:
    body = {"max_tokens": 8, "temperature": 0}
    wanted = [
        server.ask(INFILL, BETWEEN | {"input_prefix": prompt}).json["content"] for prompt in ("one ", "two ")
    ]
    got = server.ask(TEXT, {"prompt": ["one ", "two "], "suffix": " three", **body}).json["choices"]
    assert [choice["text"] for choice in got] == wanted
    plain = server.ask(TEXT, {"prompt": "one ", "suffix": "", **body}).json["choices"][0]["text"]
    assert plain == answer_to(server, "one ")["content"] != wanted[0]
    reply = server.ask(TEXT, {"prompt": [1, 2], "suffix": "b", **body})
    assert (reply.status, reply.error["param"]) == (400, "suffix")


def test_files_that_are_longer_than_the_context_are_cut_around_the_gap(server: Server) -> None:
    def first_logprob(prefix: str, suffix: str) -> float:
        body = BETWEEN | {"input_prefix": prefix, "input_suffix": suffix, "n_probs": 1}
        got = server.ask(INFILL, body).json
        assert got["tokens_evaluated"] + 8 <= CONTEXT
        assert got["tokens_predicted"] == 8
        logprob: float = got["completion_probabilities"][0]["logprob"]
        return logprob

    def near(logprob: float) -> object:
        # What is held was read in a batch of its own.
        return pytest.approx(logprob, abs=1e-4)

    wanted = first_logprob("a b " * 400 + "<here>", "<there>" + " c d" * 400)
    assert first_logprob("x y " * 100 + "a b " * 300 + "<here>", "<there>" + " c d" * 300) == near(wanted)
    assert first_logprob("a b " * 400 + "<hers>", "<there>" + " c d" * 400) != near(wanted)
    assert first_logprob("a b " * 400 + "<here>", "<these>" + " c d" * 400) != near(wanted)


def test_a_prompt_is_held_for_the_next_request_without_writing(server: Server) -> None:
    fresh = BETWEEN | {"input_prefix": "held for the next request: "}
    warmed = server.ask(INFILL, fresh | {"n_predict": 0, "response_fields": ["content", "tokens_predicted"]})
    assert warmed.json == {"content": "", "tokens_predicted": 0}
    got = server.ask(INFILL, fresh).json
    assert got["tokens_cached"] == got["tokens_evaluated"] - 1
    *written, last = server.stream(INFILL, fresh | {"n_predict": 0})
    assert written == []
    assert last["stop"] is True


def test_an_answer_of_several_lines_ends_when_its_time_is_over(server: Server) -> None:
    lines = BETWEEN | {"grammar": r'root ::= ([a-y] [a-y] [a-y] "\n"){30}', "n_predict": 130}
    assert server.ask(INFILL, lines).json["content"].count("\n") == 30
    # A hundred and twenty rounds take longer than a thousandth of a second.
    cut = server.ask(INFILL, lines | {"t_max_predict_ms": 1}).json
    assert 1 <= cut["content"].count("\n") < 30
    assert cut["stop_type"] == "limit"


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"input_prefix": None}, "input_prefix"),
        ({"input_suffix": None}, "input_suffix"),
        ({"input_suffix": 3}, "input_suffix"),
        ({"prompt": [1]}, "prompt"),
        ({"input_extra": {}}, "input_extra"),
        ({"input_extra": [{"filename": "a"}]}, "input_extra[0].text"),
        ({"input_extra": [{"filename": 1, "text": "a"}]}, "input_extra[0].filename"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(scripted: Server, wrong: Json, param: str) -> None:
    reply = scripted.ask(INFILL, BETWEEN | wrong)
    assert (reply.status, reply.error["param"]) == (400, param)


def test_a_model_without_such_tokens_says_so(tiny_model: Path) -> None:
    server = Server(tiny_model, "--draft", "none", "-t", "1")
    try:
        server.wait_ready()
        for path, body in ((INFILL, BETWEEN), (TEXT, {"prompt": "one", "suffix": "three"})):
            reply = server.ask(path, body)
            assert reply.status == 400
            assert reply.error["type"] == "invalid_request_error"
            assert "no tokens for filling in" in reply.error["message"]
        assert server.ask(TEXT, {"prompt": "one", "max_tokens": 1}).status == 200
    finally:
        server.close()


def test_an_editor_that_asks_for_few_fields_and_warms_the_cache_is_served(server: Server) -> None:
    """As llama.vim and its like ask: with fields that nobody reads, and first without an answer."""
    usual = {"id_slot": 0, "cache_prompt": True, "stream": False, "t_max_prompt_ms": 500, "n_indent": 4}
    extra = [{"text": "x = 1\n", "time": 3.5, "filename": "a.py"}]
    warm = {"input_prefix": "", "input_suffix": "", "prompt": "", "input_extra": extra, "n_predict": 0}
    reply = server.ask(
        INFILL, usual | warm | {"samplers": [], "t_max_predict_ms": 1, "response_fields": [""]}
    )
    assert (reply.status, reply.json) == (200, {})
    asked = usual | BETWEEN | {"input_extra": extra, "prompt": "two", "t_max_predict_ms": 60_000, "stop": []}
    only = ["content", "tokens_cached", "truncated", "timings/prompt_n", "timings/predicted_per_second"]
    sampling = {"top_k": 40, "top_p": 0.9, "samplers": ["top_k", "top_p", "infill"]}
    body = server.ask(INFILL, asked | sampling | {"response_fields": only}).json
    assert list(body) == only
    assert body["truncated"] is False
