"""Ctrl-C while `edgespec run` loads, reads and answers."""

import signal
from pathlib import Path
from typing import Any

import pytest

from edgespec.llama import context as context_module
from edgespec.llama.library import load_library
from tests.cli.processes import interrupt, needs_signals, start
from tests.conftest import RunCli
from tests.tiny import CHAT_TEMPLATE, TinyShape, make_tiny_model


@pytest.fixture(scope="module")
def long_model(tiny_folder: Path) -> Path:
    """A model with room for an answer that nobody waits for."""
    return make_tiny_model(
        tiny_folder / "long.gguf", chat_template=CHAT_TEMPLATE, shape=TinyShape(context=1 << 16)
    )


@needs_signals
def test_ctrl_c_while_it_answers_keeps_what_was_said(long_model: Path):
    process = start(
        "run", long_model, "-p", "the cat", "-c", "60000", "-n", "60000", "-t", "1", "--draft", "none"
    )
    assert process.stdout is not None
    first = process.stdout.read(20)
    code, rest, err = interrupt(process)
    assert code == 130
    assert err == "edgespec: interrupted\n"
    assert len(first) == 20
    assert rest.endswith("\n")


def test_ctrl_c_while_it_reads_the_prompt_stops_within_the_batch(
    run_cli: RunCli, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    run_cli("run", tiny_model, "-p", "x", "-n", "1")  # measures the costs
    lib, codes = load_library(), list[int]()
    decode = lib.llama_decode

    def interrupted(handle: Any, batch: Any) -> int:
        if batch.n_tokens > 100:
            signal.raise_signal(signal.SIGINT)
        codes.append(decode(handle, batch))
        return codes[-1]

    monkeypatch.setattr(lib, "llama_decode", interrupted)
    result = run_cli("run", tiny_model, "-p", "x" * 400, "-n", "5")
    assert (result.code, result.out, result.err) == (130, "", "edgespec: interrupted\n")
    # The warm-up, and then the prompt's batch, which llama.cpp says was aborted.
    assert codes == [0, 2]


def test_ctrl_c_while_it_loads_is_one_line(
    run_cli: RunCli, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    real = context_module.Context.__init__

    def interrupted(self: Any, *arguments: Any, **options: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        real(self, *arguments, **options)

    monkeypatch.setattr(context_module.Context, "__init__", interrupted)
    result = run_cli("run", tiny_model, "-p", "x")
    assert (result.code, result.out, result.err) == (130, "", "edgespec: interrupted\n")
