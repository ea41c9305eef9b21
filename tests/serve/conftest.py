"""Servers for tests: one with scripted engines that all tests of HTTP share, and others as a test wants them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.serve.served import SCRIPTED, Server

if TYPE_CHECKING:
    import openai


@pytest.fixture(scope="session")
def script_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that a scripted engine never opens."""
    file = tmp_path_factory.mktemp("scripted") / "script.gguf"
    file.write_bytes(b"GGUF")
    return file


@pytest.fixture(scope="session")
def scripted(script_file: Path) -> Iterator[Server]:
    """A server whose engine is a script, for all tests that leave it as it is."""
    server = Server(script_file, "--alias", "gpt-4o", "-np", "4", "--queue", "4", module=SCRIPTED)
    yield server.wait_ready()
    server.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Starts servers of the test's own: `start(model, "--draft", "none")`."""
    started: list[Server] = []

    def start_one(*arguments: str | Path, module: str = "edgespec", **environment: str) -> Server:
        started.append(Server(*arguments, module=module, **environment))
        return started[-1]

    yield start_one
    for server in started:
        server.close()


@pytest.fixture
def client(server: Server) -> Iterator["openai.OpenAI"]:
    """The openai package's client of the module's own `server`."""
    import openai

    with openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0) as one:
        yield one
