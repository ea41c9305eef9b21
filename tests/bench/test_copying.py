"""What is copied, by hand and of a real answer that repeats its prompt."""

import dataclasses
import math
from pathlib import Path

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgespec.bench.arm import ArmSpec
from edgespec.bench.arm_loop import ArmLoop, TokenizedPrompt
from edgespec.bench.category_rows import category_rows
from edgespec.bench.copying import COPIES_FROM, copied_shares, count_copied, group_of
from edgespec.bench.result import COPYING, NOT_COPYING
from edgespec.bench.summary import summarize_arm
from edgespec.catalog.model_file import open_file
from edgespec.decode.policy import Mode
from edgespec.llama.sampler import Sampling
from edgespec.session import EngineSettings
from edgespec.session.engine import Engine
from tests.bench.runs import answers, run, sample
from tests.tiny import make_tiny_model

LENGTH = 24


@pytest.mark.parametrize(
    ("prompt", "answer", "copied"),
    [
        ([1, 2, 3, 4, 5], [9, 1, 2, 3, 4, 5, 6], 2),
        ([1, 2, 3, 4, 5], [1, 2, 3, 5, 4], 0),
        ([1, 2, 3, 4, 9, 2, 3, 4, 5], [1, 2, 3, 4, 5], 2),
        ([1, 2, 3], [1, 2, 3, 4], 0),
        ([1, 2, 3, 4], [], 0),
        ([], [1, 2, 3, 4], 0),
    ],
)
def test_a_token_is_copied_where_the_prompt_has_it_behind_the_same_three(
    prompt: list[int], answer: list[int], copied: int
) -> None:
    assert count_copied(prompt, answer) == copied


@given(st.lists(st.integers(0, 3), max_size=20), st.lists(st.integers(0, 3), max_size=20))
def test_the_first_three_tokens_never_count_and_a_whole_copy_counts_all_others(
    before: list[int], answer: list[int]
) -> None:
    found = count_copied(before, answer)
    assert 0 <= found <= max(len(answer) - 3, 0)
    assert count_copied([*before, *answer], answer) == max(len(answer) - 3, 0)


def test_the_share_of_a_category_is_the_mean_over_its_prompts() -> None:
    short = sample(10.0, prompt_id="edit-1", category="edit", predicted_n=10, copied_n=8)
    long = sample(10.0, prompt_id="edit-2", category="edit", predicted_n=100, copied_n=20)
    again = dataclasses.replace(long, repeat=1)
    assert copied_shares([short, long, again]) == {"edit": pytest.approx((0.8 + 0.2) / 2)}


def test_a_category_copies_from_a_quarter_on() -> None:
    assert (group_of(COPIES_FROM), group_of(COPIES_FROM - 1e-9)) == (COPYING, NOT_COPYING)


def test_of_older_runs_nobody_knows_what_copies() -> None:
    rates = {"chat-1": (10.0, 10.1), "edit-1": (20.0, 20.2)}
    old = answers(rates, copied_n=None)
    assert copied_shares(old) == {}
    plain, ngram = (summarize_arm(name, None, old, old) for name in ("plain", "ngram"))
    assert ngram.by_copying == {}
    rows = category_rows(run(plain, ngram))
    assert [(row.title, row.depth, row.copied) for row in rows] == [
        ("all prompts", 0, ""),
        ("chat", 0, ""),
        ("edit", 0, ""),
    ]


def test_the_kinds_that_copy_have_figures_of_their_own() -> None:
    plain = answers({"chat-1": (10.0, 10.0), "code-1": (10.0, 10.0), "edit-1": (10.0, 10.0)})
    fast = answers({"chat-1": (9.0, 9.0), "code-1": (16.0, 16.0), "edit-1": (30.0, 30.0)})
    found = summarize_arm("auto", None, fast, plain)
    assert {name: one.speedup for name, one in found.by_copying.items()} == {
        COPYING: pytest.approx(3.0),
        NOT_COPYING: pytest.approx(math.sqrt(0.9 * 1.6)),
    }
    assert found.speedup == pytest.approx((3.0 * 0.9 * 1.6) ** (1 / 3))


def without_attention(path: Path) -> Path:
    """A model whose next token depends on the last one alone: its text goes round, and a prompt can have it all."""
    make_tiny_model(path)
    for tensor in gguf.GGUFReader(path, "r+").tensors:
        if tensor.name.endswith("attn_output.weight"):
            tensor.data[:] = 0
    return path


def test_an_answer_that_repeats_its_prompt_is_told_from_one_that_does_not(tmp_path: Path) -> None:
    model = open_file("round", without_attention(tmp_path / "round.gguf"))
    with Engine(model, [], EngineSettings(n_threads=1)) as engine:
        state = engine.measure_costs(None)
        start = (1, 40)
        text = [
            token.id for token in engine.generator(Mode.OFF, None, Sampling(), state).generate(start, 120)
        ]
        prompts = [
            TokenizedPrompt("new", "chat", start),
            TokenizedPrompt("again", "edit", (*start, *text)),
        ]
        specs = [ArmSpec(name, engine, mode, None, state) for name, mode in
                 (("plain", Mode.OFF), ("ngram", Mode.NGRAM))]  # fmt: skip
        with ArmLoop(specs, prompts, LENGTH) as loop:
            for number, prompt in enumerate(prompts):
                loop.run(prompt, 0, turn=number)
            plain, ngram = loop.results()
    assert loop.audit.identical == 2
    assert [one.copied_n for one in plain.samples] == [0, LENGTH - 3]
    assert copied_shares(plain.samples) == {"chat": 0.0, "edit": (LENGTH - 3) / LENGTH}
    # Of one prompt there is no interval, and NaN is not NaN: since Python 3.13 dataclasses compare field by field.
    assert repr(ngram.by_copying[COPYING]) == repr(ngram.by_category["edit"])
    assert repr(ngram.by_copying[NOT_COPYING]) == repr(ngram.by_category["chat"])
