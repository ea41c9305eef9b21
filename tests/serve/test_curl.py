"""`curl` against `edgespec serve`: what people paste into a terminal."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.served import Server

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text("s3cret\n", encoding="utf-8")
    one = Server(tiny_model, "--draft", "ngram", "-t", "1", "--api-key", keys)
    yield one.wait_ready()
    one.close()


def curl(server: Server, path: str, *arguments: str, data: Any = None) -> subprocess.CompletedProcess[bytes]:
    sent = [] if data is None else ["--json", json.dumps(data)]
    return subprocess.run(
        ["curl", "-sS", "-N", "--max-time", "60", *arguments, *sent, f"http://127.0.0.1:{server.port}{path}"],
        capture_output=True,
        check=False,
    )


AUTH = ("-H", "Authorization: Bearer s3cret")
CHAT = {"messages": [{"role": "user", "content": "the cat"}], "max_tokens": 8}


def test_the_health_is_open_to_all(server: Server) -> None:
    assert json.loads(curl(server, "/health").stdout) == {"status": "ok"}


def test_a_chat_is_answered(server: Server) -> None:
    body = json.loads(curl(server, "/v1/chat/completions", *AUTH, data=CHAT).stdout)
    assert body["usage"]["completion_tokens"] == 8


def test_a_stream_ends_with_its_mark(server: Server) -> None:
    lines = curl(server, "/v1/chat/completions", *AUTH, data=CHAT | {"stream": True}).stdout.decode()
    events = [line for line in lines.split("\n\n") if line]
    assert events[-1] == "data: [DONE]"
    assert all(json.loads(one.removeprefix("data: "))["object"] for one in events[:-1])


def test_without_the_key_it_fails_with_401(server: Server) -> None:
    done = curl(server, "/v1/models", "--fail-with-body")
    assert done.returncode == 22  # curl's own for an HTTP error
    assert json.loads(done.stdout)["error"]["type"] == "authentication_error"


def test_tokens_there_and_back(server: Server) -> None:
    tokens = json.loads(curl(server, "/tokenize", *AUTH, data={"content": "the cat"}).stdout)["tokens"]
    assert json.loads(curl(server, "/detokenize", *AUTH, data={"tokens": tokens}).stdout) == {
        "content": "the cat"
    }


def test_an_upload_in_pieces_is_read(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "body.json"
    file.write_text(json.dumps(CHAT), encoding="utf-8")
    done = curl(
        server,
        "/v1/chat/completions",
        *AUTH,
        "-H",
        "Content-Type: application/json",
        "-H",
        "Transfer-Encoding: chunked",
        "--data-binary",
        f"@{file}",
    )
    assert json.loads(done.stdout)["usage"]["completion_tokens"] == 8
