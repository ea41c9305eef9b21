"""How much of the answers is thought: counted as `run` counts it, for every arm, shown where there is any."""

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from edgespec.bench.document import from_json, to_document
from edgespec.bench.prompts import Prompt
from edgespec.bench.report import to_csv, to_markdown
from edgespec.bench.result import BenchResult
from edgespec.bench.store import ResultStore
from edgespec.bench.summary import summarize_arm
from edgespec.bench.table import render_table
from edgespec.catalog.model_file import open_file
from edgespec.chat.messages import ChatMessage
from edgespec.session import EngineSettings, open_pair
from edgespec.session.engine import Engine
from tests.bench.conftest import bench
from tests.bench.runs import PLAIN_RATES, answers, run
from tests.scripted_model import TEMPLATE, make_scripted_model

QUESTIONS = tuple(
    Prompt(f"p{number}", "chat", (ChatMessage("user", text),))
    for number, text in enumerate(("Is it?", "Why?"))
)
THINKER = ("<think>", "Hm", ", so", " it is", "</think>", "\n\n", "Yes", " indeed", ".")
SWITCHED = TEMPLATE.replace(
    "{% endif %}", "{% if enable_thinking is false %}<think>\n</think>\n{% endif %}{% endif %}"
)
CONTROL = (
    "<|START_THINKING|>",
    "Hm",
    " so",
    "<|END_THINKING|>",
    "<|START_RESPONSE|>",
    "Yes",
    "<|END_RESPONSE|>",
)
CHANNELS = ("<|channel|>", "analysis", "<|message|>", "Hm", ".", "<|end|>", "Yes")


def measured(path: Path, tmp_path: Path, **settings: Any) -> BenchResult:
    store = ResultStore(tmp_path / "results")
    with Engine(open_file("thinker", path), [], EngineSettings(n_threads=1)) as engine:
        return bench(engine, store, prompts=QUESTIONS, repeat=1, **settings)


@pytest.mark.parametrize(
    ("script", "control", "template"),
    [
        (THINKER, (), SWITCHED),
        (THINKER, (), TEMPLATE.replace("<assistant>{%", "<assistant><think>{%")),
        (CONTROL, tuple(word for word in CONTROL if "|" in word), TEMPLATE),
        (CHANNELS, ("<|channel|>", "<|message|>", "<|end|>"), TEMPLATE + "{# <|channel|> <|message|> #}"),
        (("Yes", " indeed"), (), TEMPLATE),
    ],
    ids=["tags", "begun by the prompt", "control tokens", "channels", "no thought"],
)
@pytest.mark.parametrize("max_tokens", [3, 24])
def test_every_arm_counts_the_thoughts_that_run_counts(
    script: tuple[str, ...], control: tuple[str, ...], template: str, max_tokens: int, tmp_path: Path
) -> None:
    path = make_scripted_model(tmp_path / "m.gguf", script, control=control, chat_template=template)
    with open_pair(path, "none") as session:
        for _ in session.stream("Is it?", max_tokens=max_tokens):
            pass
        wanted = session.stats
    result = measured(path, tmp_path, max_tokens=max_tokens)
    assert [arm.name for arm in result.arms] == ["plain", "ngram", "auto"]
    for arm in result.arms:
        assert {one.thought_n for one in arm.samples} == {wanted.thought_n}
        assert arm.thought_share == wanted.thought_n / wanted.predicted_n
    assert (wanted.thought_n > 0) == (len(script) > 2)


def test_thinking_is_switched_for_all_arms_alike(tmp_path: Path) -> None:
    path = make_scripted_model(tmp_path / "m.gguf", THINKER, after={"\n": "Yes"}, chat_template=SWITCHED)
    off, on = (measured(path, tmp_path, think=think) for think in ("off", "on"))
    for result, share, predicted_n in ((off, 0.0, 4), (on, 0.5, 10)):
        assert {arm.thought_share for arm in result.arms} == {share}
        assert {one.predicted_n for arm in result.arms for one in arm.samples} == {predicted_n}
        assert len({(one.prompt_id, one.prompt_n) for arm in result.arms for one in arm.samples}) == 2
        assert result.audit.identical == result.audit.compared > 0
    assert (off.settings["think"], on.settings["think"]) == ("off", "on")


def thoughtful(thought_n: int | None) -> BenchResult:
    plain = answers(PLAIN_RATES, thought_n=thought_n)
    return run(*(summarize_arm(name, None, plain, plain) for name in ("plain", "ngram")))


def drawn(part: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(part)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def test_the_share_is_shown_where_a_model_thinks() -> None:
    result = thoughtful(52)
    assert [line.split()[-1] for line in drawn(render_table(result)).splitlines()[:3:2]] == ["thought", "%"]
    assert drawn(render_table(result)).count("51 %") == 2
    markdown = to_markdown(result).splitlines()
    assert markdown[2].endswith("| verify % | thought |")
    assert markdown[4].endswith("| 51 % |")
    assert {row["thought_share"] for row in csv.DictReader(io.StringIO(to_csv(result)))} == {"0.514851"}
    assert [arm["thought_share"] for arm in to_document(result)["arms"]] == [pytest.approx(52 / 101)] * 2


@pytest.mark.parametrize("thought_n", [0, None])
def test_nothing_is_shown_of_it_for_other_models_and_older_runs(thought_n: int | None) -> None:
    result = thoughtful(thought_n)
    assert "thought" not in drawn(render_table(result)) + to_markdown(result)
    cells = {row["thought_share"] for row in csv.DictReader(io.StringIO(to_csv(result)))}
    assert cells == {"" if thought_n is None else "0"}


def test_an_older_run_does_not_know_it() -> None:
    document = to_document(thoughtful(52))
    for arm in document["arms"]:
        del arm["thought_share"]
        for one in arm["samples"]:
            del one["thought_n"]
    old = from_json(json.dumps(document))
    assert isinstance(old, BenchResult)
    unknown = [dataclasses.replace(arm, thought_share=None) for arm in thoughtful(None).arms]
    assert list(old.arms) == unknown
