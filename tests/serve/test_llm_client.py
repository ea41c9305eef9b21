"""The `llm` package against `edgespec serve`, set up as its documentation says for servers of OpenAI's protocol."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.served import Server


@pytest.fixture(scope="module")
def server(tiny_model: Path) -> Iterator[Server]:
    one = Server(tiny_model, "--draft", "none", "-t", "1")
    yield one.wait_ready()
    one.close()


@pytest.fixture
def llm_home(server: Server, tmp_path: Path) -> Path:
    base = f"http://127.0.0.1:{server.port}/v1"
    lines = [
        "- model_id: local",
        "  model_name: tiny",
        f"  api_base: {base}",
        "- model_id: local-text",
        "  model_name: tiny",
        f"  api_base: {base}",
        "  completion: true",
    ]
    (tmp_path / "extra-openai-models.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def ask(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llm", *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "LLM_USER_PATH": str(home), "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        check=False,
    )


def wanted(server: Server, **fields: object) -> str:
    body = {"messages": [{"role": "user", "content": "the cat"}], "max_tokens": 12, "temperature": 0}
    text: str = server.ask("/v1/chat/completions", body | fields).json["choices"][0]["message"]["content"]
    return text


OPTIONS = ("-o", "max_tokens", "12", "-o", "temperature", "0")


@pytest.mark.parametrize("how", [(), ("--no-stream",)], ids=["streamed", "whole"])
def test_a_prompt_is_answered(server: Server, llm_home: Path, how: tuple[str, ...]) -> None:
    done = ask(llm_home, "-m", "local", *OPTIONS, *how, "the cat")
    assert done.returncode == 0, done.stderr
    assert done.stdout == wanted(server) + "\n"


def test_a_conversation_goes_on(server: Server, llm_home: Path) -> None:
    assert ask(llm_home, "-m", "local", *OPTIONS, "the cat").returncode == 0
    done = ask(llm_home, "-c", *OPTIONS, "and the hat")
    assert done.returncode == 0, done.stderr
    turns = [
        {"role": "user", "content": "the cat"},
        {"role": "assistant", "content": wanted(server)},
        {"role": "user", "content": "and the hat"},
    ]
    assert done.stdout == wanted(server, messages=turns) + "\n"


def test_plain_completions_go_too(server: Server, llm_home: Path) -> None:
    done = ask(llm_home, "-m", "local-text", *OPTIONS, "the cat")
    assert done.returncode == 0, done.stderr
    text = server.ask("/v1/completions", {"prompt": "the cat", "max_tokens": 12, "temperature": 0}).json
    assert done.stdout == text["choices"][0]["text"] + "\n"


def test_what_is_wrong_is_said_in_the_servers_words(llm_home: Path) -> None:
    done = ask(llm_home, "-m", "local", "-o", "temperature", "1", "-o", "max_tokens", "100", "the cat " * 600)
    assert done.returncode == 1
    assert "tokens" in done.stderr
    assert json.dumps("context_length_exceeded").strip('"') in done.stderr or "context" in done.stderr
