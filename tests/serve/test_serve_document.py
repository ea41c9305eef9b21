"""docs/serve.md says what is so: its snippets run against a real server, and no option or path is left out."""

import json
import os
import plistlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import click
import pytest
import yaml

from edgespec.cli.serve import command
from edgespec.serve.app import _GOT, _POSTED
from tests.conftest import REPOSITORY
from tests.serve.served import Server

TEXT = (REPOSITORY / "docs" / "serve.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8080"


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def server(tiny_model: Path) -> Iterator[Server]:
    one = Server(tiny_model, "--draft", "ngram", "-t", "1")
    yield one.wait_ready()
    one.close()


def run(command: list[str], server: Server, text: str) -> str:
    """What a snippet prints, asking the test's server."""
    done = subprocess.run(
        command,
        input=text.replace(ADDRESS, f"http://127.0.0.1:{server.port}"),
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("place", range(len(snippets("python"))))
def test_the_python_snippets_run(server: Server, place: int) -> None:
    said = run([sys.executable, "-"], server, snippets("python")[place])
    assert re.search(r"^\d+\.\d tok/s; speculation ", said) if "tok/s" in snippets("python")[place] else said


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="curl or bash is missing")
@pytest.mark.parametrize("place", range(len(snippets("bash"))))
def test_the_curl_snippets_run(server: Server, place: int) -> None:
    text = snippets("bash")[place]
    said = run(["bash", "-s"], server, text)
    if '"stream": true' in text:
        assert said.endswith("data: [DONE]\n\n")
    else:
        assert json.loads(said)["usage"]["completion_tokens"] > 0


def test_the_commands_of_edgespec_run(server: Server, run_cli) -> None:  # type: ignore[no-untyped-def]
    (line,) = re.findall(r"^    edgespec (run --server .*)$", TEXT, re.MULTILINE)
    import shlex

    result = run_cli(*shlex.split(line.replace(ADDRESS, f"http://127.0.0.1:{server.port}")), "-n", "8")
    assert (result.code, bool(result.out.strip())) == (0, True)


def test_there_are_snippets_of_each_kind() -> None:
    kinds = {kind: len(snippets(kind)) for kind in ("python", "bash", "yaml", "json", "ini", "xml")}
    assert kinds == {"python": 2, "bash": 2, "yaml": 2, "json": 2, "ini": 1, "xml": 1}


def test_settings_for_other_programs_are_in_their_form() -> None:
    for text in snippets("yaml"):
        assert yaml.safe_load(text)
    for text in snippets("json"):
        assert json.loads(text)
    for text in snippets("ini"):
        unit = ConfigParser(interpolation=None)
        unit.read_string(text)
        assert unit["Service"]["ExecStart"].endswith("serve qwen2.5-coder")
    for text in snippets("xml"):
        assert plistlib.loads(text.encode())["ProgramArguments"][-2:] == ["serve", "qwen2.5-coder"]


def test_every_option_is_told_and_no_other() -> None:
    options = {
        name
        for one in command.params
        if isinstance(one, click.Option) and not one.hidden
        for name in one.opts
        if name[:2] == "--"
    }
    told = set(re.findall(r"`(--[a-z][a-z-]+)", TEXT.split("## What it speaks")[0].split("## Options")[1]))
    assert told == options


def test_the_paths_that_are_told_are_served() -> None:
    served = {path for *_, paths in (*_POSTED, *_GOT) for path in paths}
    table = TEXT.split("## What it speaks")[1].split("### curl")[0]
    told = {
        path
        for row in re.findall(r"^\| `/.*$", table, re.MULTILINE)
        for path in re.findall(r"`(/[^`]+)`", row)
    }
    assert told <= served
    assert {path for path in served if path.startswith("/v1/") and path.count("/") == 2} - told <= {
        "/v1/health",
    }
