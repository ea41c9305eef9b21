"""Arms of fixed draft length: how they are written, how they draft, and what `auto` loses against the best of them."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgespec.bench.document import to_json
from edgespec.bench.fixed_lengths import best_fixed_arm, parse_draft_lengths, regret_of
from edgespec.bench.prompts import Prompt
from edgespec.bench.result import BenchResult
from edgespec.bench.speculative import BenchSettings, SpeculativeBench
from edgespec.bench.store import ResultStore
from edgespec.bench.verdict import verdict
from edgespec.catalog.model_file import open_file
from edgespec.chat.messages import ChatMessage
from edgespec.errors import UsageError
from edgespec.session import EngineSettings
from edgespec.session.engine import Engine
from tests.bench.runs import arm, fixed_run, plain_arm, run

PROMPTS = tuple(
    Prompt(f"p{number}", "chat", (ChatMessage("user", text),))
    for number, text in enumerate(("the cat and the hat", "the sea"))
)


def test_lengths_are_ascending_and_each_once() -> None:
    assert parse_draft_lengths(" 4, 1,2,4 ") == (1, 2, 4)
    assert parse_draft_lengths("15") == (15,)


@pytest.mark.parametrize(
    ("text", "named"), [("", ""), ("0", "0"), ("1,16", "16"), ("2,-3", "-3"), ("1.5", "1.5"), ("2,x", "x"), ("²", "²")]
)  # fmt: skip
def test_what_is_no_length_is_named_with_the_way_out(text: str, named: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_draft_lengths(text)
    assert caught.value.message == f"`fixed` {named!r} is not a draft length"
    assert caught.value.hint == "use whole numbers from 1 to 15, such as 1,2,3,4"


# Regret


def test_the_regret_is_that_against_the_length_that_is_best_over_all_prompts() -> None:
    regret = regret_of(fixed_run(auto_factor=1.1))
    assert regret is not None
    assert (regret.best_fixed, regret.draft_length) == ("fixed-2", 2)
    assert regret.regret == pytest.approx(1 / 1.1 - 1)
    assert regret.auto_ratio.value == pytest.approx(1.1)
    # Both arms are 1 % off in the same repeats: what is paired cancels out.
    assert regret.regret_sd == pytest.approx(0.0, abs=1e-9)
    assert regret.regret_low == pytest.approx(regret.regret_high)


def test_a_better_fixed_length_is_a_regret_above_zero_with_its_error() -> None:
    uneven = arm("auto", {"chat-1": 1.0, "edit-1": 1.2}, draft="small-0.5b")
    fixed = fixed_run().arms[-2]
    rates = [10.0, 12.0, 11.0, 10.0, 11.0, 12.0]
    samples = tuple(replace(one, tok_per_s=rate) for one, rate in zip(uneven.samples, rates, strict=True))
    regret = regret_of(run(plain_arm(), replace(uneven, samples=samples), fixed))
    assert regret is not None
    assert regret.regret > 0
    assert regret.regret_sd > 0.01
    assert regret.regret_low < regret.regret < regret.regret_high
    ratio = regret.auto_ratio
    assert ratio.value * (1 + regret.regret) == pytest.approx(1.0)
    assert ratio.sd / ratio.value == pytest.approx(regret.regret_sd / (1 + regret.regret))


def test_without_fixed_lengths_or_without_auto_there_is_no_regret() -> None:
    whole = fixed_run()
    assert regret_of(run()) is None
    assert best_fixed_arm(run()) is None
    assert regret_of(run(*(one for one in whole.arms if one.name != "auto"))) is None


def test_the_verdict_says_how_auto_stands_to_the_best_fixed_length() -> None:
    assert verdict(fixed_run(auto_factor=1.1)).endswith(
        "faster than plain decoding; auto is 1.10x ± 0.00 of fixed-2, the best fixed length here"
    )


# On real models


@pytest.fixture
def engine(tiny_model: Path, tiny_draft: Path) -> Iterator[Engine]:
    drafts = [open_file("tiny-draft", tiny_draft)]
    with Engine(open_file("tiny", tiny_model), drafts, EngineSettings(n_threads=1)) as made:
        yield made


def bench(engine: Engine, folder: Path, fixed: tuple[int, ...]) -> BenchResult:
    settings = BenchSettings(max_tokens=24, repeat=2, fixed=fixed)
    return SpeculativeBench(engine, PROMPTS, settings, ResultStore(folder)).run()


def test_every_length_is_an_arm_that_drafts_so_many_tokens_each_time(engine: Engine, tmp_path: Path) -> None:
    result = bench(engine, tmp_path, (1, 3))
    names = ["plain", "tiny-draft", "ngram", "auto", "fixed-1", "fixed-3"]
    assert [one.name for one in result.arms] == names
    assert result.audit.compared == result.audit.identical == 5 * 2 * len(PROMPTS)
    for found, length in zip(result.arms[-2:], (1, 3), strict=True):
        assert (found.draft, found.draft_length) == ("tiny-draft", length)
        assert len(found.accept_rate_per_position) == length
        for sample in found.samples:
            # A round per pass; only the last ones may be shorter, where the answer ends.
            assert sample.accepted_per_position[0][1] >= sample.target_passes - 1
        assert found.note.startswith(
            f"{sum(s.draft_n for s in found.samples)} tokens drafted from tiny-draft, "
        )
        assert f", {length} at a time, in " in found.note
    assert all(one.draft_length is None for one in result.arms[:-2])
    regret = regret_of(result)
    assert regret is not None
    assert math.isfinite(regret.regret_sd)
    document = json.loads(to_json(result))
    assert document["settings"]["fixed"] == [1, 3]
    assert document["regret"]["best_fixed"] == regret.best_fixed
    assert f"of {regret.best_fixed}, the best fixed length here" in document["verdict"]


def test_lengths_without_a_draft_are_refused_before_anything_is_measured(
    tiny_model: Path, tmp_path: Path
) -> None:
    with (
        Engine(open_file("tiny", tiny_model), [], EngineSettings(n_threads=1)) as engine,
        pytest.raises(
            UsageError, match="`fixed` lengths need a draft model and tiny has none here"
        ) as caught,
    ):
        bench(engine, tmp_path / "results", (2,))
    assert caught.value.hint == "name one with `draft`, or leave `fixed` out"
    assert not (tmp_path / "results").exists()
