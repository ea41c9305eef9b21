"""`edgespec run --server`: a server answers, and the command's stdout, figures and errors are as always."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.processes import free_port, interrupt, needs_signals, start
from tests.conftest import RunCli
from tests.worker.foreign_server import (
    DONE,
    DRAFTED,
    LLAMA_PROPS,
    MODEL,
    TIMINGS,
    Foreign,
    Reply,
    chunk,
    event,
    refused,
    said,
    serving,
)


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    with serving(Foreign(replies=[said("Hel", "lo\x1b[2J.")])) as one:
        yield one


def test_stdout_is_the_answer_harmless_for_the_terminal(run_cli: RunCli, foreign: Foreign) -> None:
    result = run_cli("run", "--server", foreign.url, "-p", "hi", "--system", "be brief", "-n", "9")
    assert (result.code, result.out, result.err) == (0, "Hello\\x1b[2J.\n", "")
    (body,) = foreign.bodies
    assert (body["model"], body["max_tokens"], body["temperature"]) == (MODEL, 9, 0.0)
    assert [one["role"] for one in body["messages"]] == ["system", "user"]


def test_json_has_null_for_what_the_server_does_not_tell(run_cli: RunCli, foreign: Foreign) -> None:
    result = run_cli("run", "--server", foreign.url, "-p", "hi", "--json")
    document = json.loads(result.out)
    ttft_s = document.pop("ttft_s")
    assert ttft_s > 0
    assert document == {
        "schema": "edgespec.run/1",
        "text": "Hello\x1b[2J.",
        "thought": "",
        "prompt_n": None,
        "predicted_n": None,
        "thought_n": 0,
        "tok_per_s": None,
        "estimated_speedup": None,
        "draft_n": None,
        "draft_n_accepted": None,
        "acceptance": None,
        "mean_accepted_len": None,
        "prompt_tok_per_s": None,
        "stopped": "eog",
        "speculation": "speculation unknown: the server gives no figures",
        "model": MODEL,
        "server": foreign.url,
    }


def test_stats_say_what_is_known(run_cli: RunCli, foreign: Foreign) -> None:
    result = run_cli("run", "--server", foreign.url, "-p", "hi", "--stats")
    assert result.err.startswith("tokens unknown · speed unknown · TTFT 0.")
    assert result.err.endswith(" s\nspeculation unknown: the server gives no figures\n")
    foreign.replies = [Reply([chunk("yes"), chunk(end="stop", timings=DRAFTED), DONE])]
    result = run_cli("run", "--server", foreign.url, "-p", "hi", "--stats")
    assert result.err.startswith("21 tokens · 10.0 tok/s · 75% accepted (9/12) · TTFT 0.")
    assert result.err.endswith(" s · prompt 20 tok/s\nspeculation on: 9 of 12 tokens accepted\n")


def test_thoughts_go_to_stderr_when_asked_for(run_cli: RunCli, foreign: Foreign) -> None:
    thinks = [chunk(delta={"reasoning_content": "hm"}), chunk("yes"), chunk(end="stop"), DONE]
    foreign.replies = [Reply(thinks)]
    asked = ("run", "--server", foreign.url, "-p", "hi")
    result = run_cli(*asked)
    assert (result.out, result.err) == ("yes\n", "")
    result = run_cli(*asked, "--show-thinking")
    assert (result.out, result.err) == ("yes\n", "hm\n")


def test_all_thought_and_no_answer_is_explained(run_cli: RunCli, foreign: Foreign) -> None:
    foreign.replies = [Reply([chunk(delta={"reasoning": "hm"}), chunk(end="length"), DONE])]
    result = run_cli("run", "--server", foreign.url, "-p", "hi")
    assert "warning: all tokens were thoughts and the answer did not begin" in result.err


def test_raw_text_goes_to_the_plain_completions(run_cli: RunCli, foreign: Foreign) -> None:
    text = event({"choices": [{"text": "and on", "index": 0, "finish_reason": "length"}]})
    foreign.replies = [Reply([text, DONE])]
    result = run_cli("run", "--server", foreign.url, "-p", "once", "--raw")
    assert result.out == "and on\n"
    assert (foreign.paths[-1], foreign.bodies[0]["prompt"]) == ("/v1/completions", "once")


def test_what_the_server_cannot_do_is_a_warning_that_names_the_flag(
    run_cli: RunCli, foreign: Foreign
) -> None:
    result = run_cli("run", "--server", foreign.url, "-p", "hi", "--think-budget", "3")
    assert result.err == "edgespec: warning: --think-budget 3 has no effect: the server knows none\n"
    assert run_cli("run", "--server", foreign.url, "-p", "hi", "--think-budget", "3", "-q").err == ""


def test_a_full_context_is_told(run_cli: RunCli, foreign: Foreign) -> None:
    foreign.props = LLAMA_PROPS
    foreign.replies = [Reply([chunk("yes"), chunk(end="length", timings=TIMINGS), DONE])]
    result = run_cli("run", "--server", foreign.url, "-p", "hi")
    assert "the server's context is full, and the answer cut short; start it with a larger one" in result.err


SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}


def test_a_schema_goes_along_in_openais_form(run_cli: RunCli, foreign: Foreign) -> None:
    result = run_cli("run", "--server", foreign.url, "-p", "hi", "--json-schema", json.dumps(SCHEMA))
    assert result.code == 0
    form = foreign.bodies[0]["response_format"]
    assert (form["type"], form["json_schema"]["schema"]) == ("json_schema", SCHEMA)


def test_a_grammar_goes_to_servers_that_know_them_alone(
    run_cli: RunCli, foreign: Foreign, tmp_path: Path
) -> None:
    grammar = tmp_path / "yes.gbnf"
    grammar.write_text('root ::= "yes" | "no"', encoding="utf-8")
    asked = ("run", "--server", foreign.url, "-p", "hi", "--grammar", grammar)
    result = run_cli(*asked)
    assert (result.code, result.err) == (
        2,
        "edgespec: the server knows no grammars. Give a JSON schema instead\n",
    )
    foreign.props = LLAMA_PROPS
    assert run_cli(*asked).code == 0
    assert foreign.bodies[-1]["grammar"] == 'root ::= "yes" | "no"'


# Errors, each in one line.


def test_nobody_there(run_cli: RunCli) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = run_cli("run", "--server", url, "-p", "hi")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"edgespec: nobody answers at {url} (")
    assert result.err.endswith("Start a server there, such as `edgespec serve`, or check --server\n")
    assert result.err.count("\n") == 1


def test_another_model_than_there_is(run_cli: RunCli, foreign: Foreign) -> None:
    result = run_cli("run", "foreign-2b", "--server", foreign.url, "-p", "hi")
    said_ = f"edgespec: the server at {foreign.url} has no model 'foreign-2b'. It has {MODEL}\n"
    assert (result.code, result.err) == (3, said_)


def test_a_failure_in_the_middle_keeps_what_came(run_cli: RunCli, foreign: Foreign) -> None:
    foreign.replies = [Reply([chunk("so far"), event({"error": {"message": "lost"}})])]
    result = run_cli("run", "--server", foreign.url, "-p", "hi")
    assert (result.code, result.out) == (1, "so far\n")
    assert result.err == f"edgespec: the server at {foreign.url} failed and says: lost\n"


def test_a_prompt_that_does_not_fit(run_cli: RunCli, foreign: Foreign) -> None:
    foreign.replies = [
        refused(400, {"type": "exceed_context_size_error", "n_prompt_tokens": 900, "n_ctx": 512})
    ]
    result = run_cli("run", "--server", foreign.url, "-p", "hi")
    assert result.code == 2
    assert "the prompt has 900 tokens and the server's context 512" in result.err


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--ctx-size", "512"], "--ctx-size is up to the server with --server"),
        (["-t", "2"], "--threads is up to the server with --server"),
        (["--draft", "none"], "--draft is up to the server with --server"),
    ],
)
def test_what_is_the_servers_own_affair_is_refused(
    run_cli: RunCli, typed: list[str], words: str, foreign: Foreign
) -> None:
    result = run_cli("run", "--server", foreign.url, "-p", "hi", *typed)
    assert result.code == 2
    assert words in result.err
    assert foreign.paths == []


@pytest.mark.parametrize(
    "address", ["http://", "ftp://host", "host:99999", "http://host/?q=1", "http://a b", "", "[::1"]
)
def test_an_address_that_is_none(run_cli: RunCli, address: str) -> None:
    result = run_cli("run", "--server", address, "-p", "hi")
    assert result.code == 2
    assert result.err == (
        f"edgespec: --server {address!r} is not the address of a server. Name one such as http://127.0.0.1:8080\n"
    )


def test_a_password_in_the_address_is_not_repeated(run_cli: RunCli) -> None:
    result = run_cli("run", "--server", "http://me:s3cret@host", "-p", "hi")
    assert result.code == 2
    assert "s3cret" not in result.err
    assert "--api-key" in result.err


@pytest.mark.parametrize("form", ["{0}/v1", "{0}/v1/", "{0}/", "127.0.0.1:{1}"])
def test_addresses_as_clients_have_them(run_cli: RunCli, foreign: Foreign, form: str) -> None:
    address = form.format(foreign.url, foreign.url.rsplit(":")[-1])
    assert run_cli("run", "--server", address, "-p", "hi").code == 0


# The key.


def test_the_key_comes_from_a_file_or_the_environment(
    run_cli: RunCli, foreign: Foreign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign.key = "s3cret"
    asked = ("run", "--server", foreign.url, "-p", "hi")
    result = run_cli(*asked)
    assert (result.code, result.err) == (
        2,
        f"edgespec: the server at {foreign.url} wants an API key. Give it with --api-key\n",
    )
    file = tmp_path / "key"
    file.write_text("s3cret\nanother line\n", encoding="utf-8")
    assert run_cli(*asked, "--api-key", file).code == 0
    monkeypatch.setenv("EDGESPEC_API_KEY", "s3cret")
    assert run_cli(*asked).code == 0
    monkeypatch.setenv("EDGESPEC_API_KEY", "wr0ng")
    result = run_cli(*asked)
    assert result.code == 2
    assert "refuses the API key of EDGESPEC_API_KEY" in result.err
    assert "wr0ng" not in result.err


@pytest.mark.parametrize("content", [b"", b"\nkey", b"two\x00words", "schlüssel".encode()])
def test_a_key_that_is_none_is_refused_and_not_shown(run_cli: RunCli, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    result = run_cli("run", "--server", "http://127.0.0.1:1", "-p", "hi", "--api-key", file)
    assert result.code == 2
    assert str(file) in result.err
    assert "words" not in result.err
    missing = run_cli("run", "--server", "http://127.0.0.1:1", "-p", "hi", "--api-key", tmp_path / "none")
    assert (missing.code, str(tmp_path / "none") in missing.err) == (1, True)


def test_a_key_goes_with_a_server(run_cli: RunCli) -> None:
    result = run_cli("run", "-p", "hi", "--api-key", "file")
    assert (result.code, result.err) == (
        2,
        "edgespec: --api-key goes with --server. Add --server, or leave it out\n",
    )


@needs_signals
def test_ctrl_c_closes_the_stream_and_what_came_stays(foreign: Foreign) -> None:
    foreign.replies = [Reply([chunk("so far")], then="hold")]
    process = start("run", "--server", foreign.url, "-p", "hi")
    assert process.stdout is not None
    begun = process.stdout.read(6)
    code, out, err = interrupt(process)
    assert (begun, code, out, err) == (b"so far", 130, "\n", "edgespec: interrupted\n")
    assert foreign.left.wait(60)


def test_no_model_is_loaded_and_no_engine_imported_for_it(foreign: Foreign) -> None:
    import subprocess

    code = (
        "import sys; from edgespec.cli import main; "
        f"code = main(['run', '--server', {foreign.url!r}, '-p', 'hi']); "
        "print([name for name in ('llama_cpp', 'torch') if name in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")
