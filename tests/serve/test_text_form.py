"""Completions of a text, in OpenAI's and llama.cpp's form, and what is asked of the tokenizer alone."""

import pytest

from tests.serve.served import Json, Server

TEXT = "/v1/completions"


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("a b", ["a b a "]),
        ({"prompt_string": "a b"}, ["a b a "]),
        ([7, 8], ["7 8 7 "]),
        ([7, "ab", 8], ["7 97 98 "]),
        (["a b", "c"], ["a b a ", "c c c "]),
        ([[7, 8], "c", {"prompt_string": "d"}, [5, "a"]], ["7 8 7 ", "c c c ", "d d d ", "5 97 5 "]),
    ],
)
def test_prompts_of_all_kinds_are_answered_in_their_order(
    scripted: Server, prompt: Json, texts: list[str]
) -> None:
    body = scripted.ask(TEXT, {"prompt": prompt, "max_tokens": 3}).json
    assert body["object"] == "text_completion"
    assert body["id"].startswith("cmpl-")
    assert [choice["text"] for choice in body["choices"]] == texts
    assert [choice["index"] for choice in body["choices"]] == list(range(len(texts)))
    assert body["usage"]["completion_tokens"] == 3 * len(texts)
    streamed = dict.fromkeys(range(len(texts)), "")
    for event in scripted.stream(TEXT, {"prompt": prompt, "max_tokens": 3})[:-1]:
        (choice,) = event["choices"]
        streamed[choice["index"]] += choice["text"]
    assert list(streamed.values()) == texts


def test_choices_of_several_prompts_are_counted_through(scripted: Server) -> None:
    body = scripted.ask(TEXT, {"prompt": ["a", "b"], "n": 2, "max_tokens": 1}).json
    assert [choice["text"] for choice in body["choices"]] == ["a ", "a ", "b ", "b "]


def test_logprobs_have_the_older_form(scripted: Server) -> None:
    for field in (1, True):
        body = scripted.ask(
            TEXT, {"prompt": "ab c", "max_tokens": 3, "logprobs": field, "top_logprobs": 1}
        ).json
        assert body["choices"][0]["logprobs"] == {
            "tokens": ["ab ", "c ", "ab "],
            "token_logprobs": [-0.1] * 3,
            "top_logprobs": [{"ab ": -0.1}, {"c ": -0.1}, {"ab ": -0.1}],
            "text_offset": [0, 3, 5],
        }
    events = scripted.stream(TEXT, {"prompt": "ab c", "max_tokens": 3, "logprobs": 0})[:-1]
    told = [event["choices"][0]["logprobs"] for event in events if event["choices"][0]["logprobs"]]
    assert [offset for part in told for offset in part["text_offset"]] == [0, 3, 5]


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"prompt": None}, "prompt", "is missing"),
        ({"prompt": []}, "prompt", "is empty"),
        ({"prompt": 5}, "prompt", "is a number"),
        ({"prompt": [[]]}, "prompt[0]", "is empty"),
        ({"prompt": [True]}, "prompt[0]", "is a boolean"),
        ({"prompt": {"prompt_string": "a", "multimodal_data": ["x"]}}, "prompt.multimodal_data", "send text"),
        ({"prompt": ["a"] * 300}, "prompt", "300 prompts"),
        ({"echo": True}, "echo", "is true"),
        ({"prompt": [1], "suffix": "x"}, "suffix", "a text"),
        ({"best_of": 4}, "best_of", "is 4"),
        ({"logprobs": 50}, "logprobs", "0 to 20"),
    ],
)
def test_a_wrong_field_is_named(scripted: Server, fields: Json, param: str, said: str) -> None:
    reply = scripted.ask(TEXT, {"prompt": "a", **fields})
    assert reply.status == 400, reply.body
    assert reply.error["param"] == param
    assert said in reply.error["message"]


@pytest.mark.parametrize("path", ["/completion", "/completions"])
def test_llama_cpps_own_form_has_its_figures(scripted: Server, path: str) -> None:
    body = scripted.ask(path, {"prompt": "a b", "n_predict": 3, "return_tokens": True, "stop": ["z"]}).json
    assert (body["content"], body["tokens"], body["stop"]) == ("a b a ", [1, 1, 1], True)
    assert (body["stop_type"], body["stopping_word"], body["truncated"]) == ("limit", "", False)
    assert (body["tokens_predicted"], body["tokens_evaluated"], body["tokens_cached"]) == (3, 2, 0)
    assert body["generation_settings"]["n_predict"] == 3
    assert body["generation_settings"]["stop"] == ["z"]
    assert body["timings"]["predicted_n"] == 3
    assert body["has_new_line"] is False
    *events, last = scripted.stream(path, {"prompt": "a b", "n_predict": 3})
    assert "".join(event["content"] for event in events) == "a b a "
    assert all(event["tokens"] and event["stop"] is False for event in events)
    assert (last["stop"], last["content"], last["timings"]["predicted_n"]) == (True, "", 3)
    *events, _ = scripted.stream(path, {"prompt": "a b", "n_predict": 3, "timings_per_token": True})
    told = [event["timings"]["predicted_n"] for event in events]
    assert (told[0], told[-1]) == (1, 3)
    only = ["content", "timings/predicted_n", "generation_settings/n_predict", "nothing", "content/inside"]
    body = scripted.ask(path, {"prompt": "a b", "n_predict": 3, "response_fields": only}).json
    assert body == {"content": "a b a ", "timings/predicted_n": 3, "generation_settings/n_predict": 3}
    many = scripted.ask(path, {"prompt": ["a", "b"], "n_predict": 1}).json
    assert [one["content"] for one in many] == ["a ", "b "]
    probs = scripted.ask(path, {"prompt": "a", "n_predict": 1, "n_probs": 1}).json["completion_probabilities"]
    assert probs[0]["token"] == "a "
    assert probs[0]["top_logprobs"][0]["bytes"] == list(b"a ")


def test_text_becomes_tokens_and_tokens_text(scripted: Server) -> None:
    assert scripted.ask("/tokenize", {"content": "ab"}).json == {"tokens": [97, 98]}
    pieces = scripted.ask("/tokenize", {"content": "aá", "with_pieces": True}).json["tokens"]
    assert pieces == [{"id": 97, "piece": "a"}, {"id": 0xC3, "piece": [0xC3]}, {"id": 0xA1, "piece": [0xA1]}]
    assert scripted.ask("/detokenize", {"tokens": [97, 98]}).json == {"content": "ab"}
    turn = {"role": "user", "content": "as it is read"}
    assert scripted.ask("/apply-template", {"messages": [turn]}).json == {"prompt": "as it is read"}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "content"),
        ("/tokenize", {"content": 5}, "content"),
        ("/detokenize", {}, "tokens"),
        ("/detokenize", {"tokens": ["a"]}, "tokens"),
        ("/detokenize", {"tokens": [-1]}, "tokens"),
        ("/detokenize", {"tokens": [2**40]}, "tokens"),
        ("/apply-template", {}, "messages"),
        ("/v1/embeddings", {"input": "a"}, "model"),
    ],
)
def test_what_cannot_be_done_is_said(scripted: Server, path: str, body: Json, param: str) -> None:
    reply = scripted.ask(path, body)
    assert reply.status == 400
    assert reply.error["param"] == param
