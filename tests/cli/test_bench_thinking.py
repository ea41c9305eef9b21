"""`edgespec bench` with models that think first: how much is thought, and whether they think at all."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunCli
from tests.scripted_model import TEMPLATE, make_scripted_model
from tests.session.single_thread import one_thread

__all__ = ["one_thread"]


@pytest.fixture
def bench_thinker(run_cli: RunCli, tmp_path: Path, prompts: Path) -> RunCli:
    """Runs `edgespec bench` on a model whose template has a switch."""
    script = ("<think>", "Hm", ", so", "</think>", "\n\n", "Yes", " indeed", ".")
    off = "{% if enable_thinking is false %}<think>\n</think>\n{% endif %}{% endif %}"
    template = TEMPLATE.replace("{% endif %}", off)
    path = make_scripted_model(tmp_path / "thinker.gguf", script, after={"\n": "Yes"}, chat_template=template)

    def run(*arguments: str) -> Any:
        return run_cli("bench", path, "--draft", "none", "--prompts", prompts, "-r", "1", *arguments)

    return run


def test_the_table_has_the_share_of_thought(bench_thinker: RunCli) -> None:
    result = bench_thinker()
    assert result.code == 0, result.err
    heads = next(line for line in result.out.splitlines() if line.startswith("arm"))
    assert heads.split()[:6] == ["arm", "tok/s", "speed-up", "accepted", "length", "thought"]
    assert result.out.count(" 44 %") == 3


def test_thinking_is_switched_off(bench_thinker: RunCli) -> None:
    result = bench_thinker("--think", "off", "--json")
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    assert document["settings"]["think"] == "off"
    assert [arm["thought_share"] for arm in document["arms"]] == [0.0] * 3
    assert {one["thought_n"] for arm in document["arms"] for one in arm["samples"]} == {0}
    assert "thought" not in bench_thinker("--think", "off").out


def test_thinking_says_nothing_to_throughput(bench_thinker: RunCli) -> None:
    result = bench_thinker("--throughput", "--think", "off")
    assert result.code == 2
    assert result.err.count("\n") == 1


def test_one_line_says_that_there_is_no_switch(bench: RunCli) -> None:
    result = bench("--think", "off", "--json")
    assert (result.code, result.err.count("\n")) == (0, 1)
    assert result.err.startswith("edgespec: warning: thinking stays as it is: ")
