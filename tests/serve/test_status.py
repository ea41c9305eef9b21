"""Health, models, properties, metrics; and what has no place."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serve.served import SCRIPTED, Server


def test_a_server_that_is_ready_says_so(scripted: Server) -> None:
    for path in ("/health", "/v1/health"):
        assert scripted.ask(path).json == {"status": "ok"}


def test_the_list_of_models_begins_with_the_servers_own(scripted: Server) -> None:
    for path in ("/v1/models", "/models"):
        body = scripted.ask(path).json
        assert body["object"] == "list"
        first = body["data"][0]
        assert (first["id"], first["object"], first["owned_by"]) == ("script", "model", "edgespec")
        assert first["status"] == {"value": "loaded"}
        assert first["aliases"] == ["gpt-4o"]
        assert first["meta"]["n_ctx"] == 512
        assert first["created"] > 1_700_000_000
        assert (first["type"], first["display_name"]) == ("model", "script")
    assert scripted.ask("/v1/models/script").json == first
    assert scripted.ask("/v1/models/gpt-4o").json["id"] == "script"
    assert scripted.ask("/v1/models/nobody").status == 404


def test_properties_have_llama_servers_names(scripted: Server) -> None:
    body = scripted.ask("/props").json
    assert body["total_slots"] == 4
    assert body["default_generation_settings"]["n_ctx"] == 512
    assert body["default_generation_settings"]["params"]["temperature"] == 0
    assert body["model_path"].endswith(".gguf")
    assert body["modalities"] == {"vision": False, "video": False, "audio": False}
    assert body["is_sleeping"] is False
    assert {"chat_template_caps", "model_ftype", "endpoint_slots", "is_sleeping", "ui"} <= set(body)


def test_metrics_can_be_read_by_prometheus(scripted: Server) -> None:
    scripted.ask("/v1/completions", {"prompt": "a", "max_tokens": 2})
    reply = scripted.ask("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = reply.body.decode().splitlines()
    kinds = {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE")}
    for line in lines:
        if not line.startswith("#"):
            sample = re.fullmatch(r'(\w+)(\{(\w+="[^"]*",?)+\})? [-+.\de]+', line)
            assert sample is not None, line
            assert (kinds[sample[1]] == "counter") == sample[1].endswith("_total")
    assert scripted.metric("edgespec_predicted_tokens_total") >= 2
    assert scripted.metric("edgespec_draft_tokens_accepted_total") == 3
    assert scripted.metric("edgespec_speed_against_plain") > 0
    assert any('route="/v1/completions",status="200"' in line for line in lines)


def test_what_has_no_place_is_refused_in_openais_form(scripted: Server) -> None:
    for path, method, status in (
        ("/v1/nothing", "GET", 404),
        ("/v1/chat/completions", "GET", 405),
        ("/", "POST", 405),
    ):
        reply = scripted.ask(path, method=method)
        assert reply.status == status
        assert reply.error["type"] in ("not_found_error", "invalid_request_error")
        assert re.fullmatch(r"req_[0-9a-f]{16}", reply.headers["x-request-id"])


def test_the_address_itself_says_what_this_is(scripted: Server) -> None:
    body = scripted.ask("/").json
    assert (body["name"], body["model"]) == ("edgespec", "script")
    assert "docs/serve.md" in body["documentation"]
    assert {"POST /v1/chat/completions", "GET /metrics"} <= set(body["routes"])


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/v1/chat/completion", "/v1/chat/completions"),
        ("/v1/embedding", "/v1/embeddings"),
        ("/api/metrics", "/metrics"),
        ("/zzzzzzzz", "/ lists what there is"),
    ],
)
def test_a_route_that_is_not_there_is_told_with_those_that_are_near(
    scripted: Server, path: str, near: str
) -> None:
    reply = scripted.ask(path, {})
    assert reply.status == 404
    assert reply.error["code"] == "route_not_found"
    assert near in reply.error["message"]


def test_a_method_that_a_route_does_not_take_is_told_with_the_one_that_it_takes(scripted: Server) -> None:
    reply = scripted.ask("/v1/completions", method="GET")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert "it takes POST" in reply.error["message"]


def test_places_tell_what_they_do_and_no_prompts(scripted: Server) -> None:
    idle = scripted.ask("/slots").json
    assert [one["id"] for one in idle] == [0, 1, 2, 3]
    assert not any(one["is_processing"] for one in idle)
    slow = {"prompt": "slow secret", "max_tokens": 100_000, "temperature": 0.5, "stop": ["x"]}
    with scripted.streaming("/v1/completions", slow) as events:
        next(events)
        busy, *others = scripted.ask("/slots").json
        assert not any(one["is_processing"] for one in others)
        assert len(others) == 3
        assert scripted.ask("/slots?fail_on_no_slot=1").status == 200
        assert (busy["is_processing"], busy["n_prompt_tokens"], busy["n_ctx"]) == (True, 2, 512)
        assert busy["params"]["temperature"] == 0.5
        assert busy["params"]["stream"] is True
        (next_token,) = busy["next_token"]
        assert next_token["n_decoded"] + next_token["n_remain"] == 100_000
        assert "secret" not in str(busy)


def test_prompts_are_shown_where_they_are_logged_anyway(
    start: Callable[..., Server], script_file: Path
) -> None:
    server = start(script_file, "-np", "1", "--log-prompts", module=SCRIPTED).wait_ready()
    slow = {"prompt": "slow secret", "max_tokens": 100_000}
    with server.streaming("/v1/completions", slow) as events:
        next(events)
        (busy,) = server.ask("/slots").json
        assert busy["prompt"] == "slow secret"
        reply = server.ask("/slots?fail_on_no_slot=1")
        assert (reply.status, reply.error["code"]) == (503, "queue_full")


def test_ranking_is_refused_with_what_can_be_done_instead(scripted: Server) -> None:
    for path in ("/rerank", "/v1/rerank", "/reranking", "/v1/reranking"):
        reply = scripted.ask(path, {"query": "a", "documents": ["b"]})
        assert (reply.status, reply.error["type"]) == (501, "not_supported_error")
        assert "/v1/embeddings" in reply.error["message"]
