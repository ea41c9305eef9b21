"""Sampler chains: what each setting does to the choice."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edgespec.errors import EngineError, UsageError
from edgespec.llama.context import Context
from edgespec.llama.library import load_library
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampler, Sampling
from tests.llama.engines import TEXT, settings

WARM = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
"""Nothing but the model's own odds."""


@pytest.fixture(scope="module")
def prompt(model: Model) -> list[int]:
    return model.tokenize(TEXT)


@pytest.fixture(scope="module")
def after_prompt(model: Model, prompt: list[int]) -> Iterator[Context]:
    """A context that has read the prompt; sampling does not change it."""
    with Context(model, settings()) as context:
        context.decode(prompt, outputs=6)
        yield context


def draws(context: Context, count: int, row: int = 5, **changes: Any) -> list[int]:
    with Sampler(Sampling(**changes), context.model.n_vocab) as sampler:
        sampler.start([])
        return [sampler.sample(context, row) for _ in range(count)]


def answer(model: Model, prompt: list[int], count: int, sampler: Sampler) -> list[int]:
    """Plain decoding with a sampler."""
    with Context(model, settings()) as context:
        sampler.start(prompt)
        context.decode(prompt)
        tokens = [sampler.sample(context, 0)]
        while len(tokens) < count:
            context.decode(tokens[-1:])
            tokens.append(sampler.sample(context, 0))
        return tokens


def test_temperature_zero_is_the_largest_logit_of_every_row(after_prompt: Context):
    best = after_prompt.logits(6).argmax(axis=1).tolist()
    assert len(set(best)) > 1
    assert [draws(after_prompt, 1, row)[0] for row in range(6)] == best


def test_rows_are_counted_among_the_ones_with_logits(model: Model, prompt: list[int]):
    with Context(model, settings()) as context:
        context.decode(prompt[:5])
        context.decode(prompt[5:8], outputs=2, pad_to=8)
        best = context.logits(2).argmax(axis=1).tolist()
        assert [draws(context, 1, row)[0] for row in range(2)] == best


@pytest.mark.parametrize(
    "narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}], ids=["top-k 1", "top-p 0", "min-p 1"]
)
def test_the_narrowest_cut_is_greedy_at_any_temperature(after_prompt: Context, narrow: dict[str, Any]):
    best = int(after_prompt.logits(6)[5].argmax())
    hot = {**WARM, "temperature": 5.0}
    assert set(draws(after_prompt, 50, **{**hot, **narrow})) == {best}
    assert len(set(draws(after_prompt, 50, **hot))) > 5


def test_top_k_keeps_k_tokens(after_prompt: Context):
    best_three = set(np.argsort(after_prompt.logits(6)[5])[-3:].tolist())
    assert set(draws(after_prompt, 400, **{**WARM, "temperature": 5.0, "top_k": 3})) == best_three


def test_draws_follow_the_odds_of_the_model(after_prompt: Context):
    """Chi-square over the ten likeliest tokens and the rest; the seed is fixed, so the figure is too."""
    logits = after_prompt.logits(6)[5].astype(np.float64) / 3.0
    odds = np.exp(logits - logits.max())
    odds /= odds.sum()
    found = np.bincount(
        draws(after_prompt, 4000, **{**WARM, "temperature": 3.0}), minlength=after_prompt.model.n_vocab
    )
    top = np.argsort(odds)[-10:]
    expected = np.append(odds[top], 1 - odds[top].sum()) * 4000
    observed = np.append(found[top], 4000 - found[top].sum())
    assert expected.min() > 20
    # 29.6 is the 0.1 % point for ten degrees of freedom.
    assert ((observed - expected) ** 2 / expected).sum() < 29.6


def test_a_seed_makes_an_answer_reproducible_and_another_one_changes_it(model: Model, prompt: list[int]):
    def write(seed: int) -> list[int]:
        with Sampler(Sampling(**WARM, seed=seed), model.n_vocab) as sampler:
            return answer(model, prompt, 40, sampler)

    assert write(7) == write(7)
    assert write(7) != write(8)


def test_a_started_sampler_begins_again_at_its_seed(model: Model, prompt: list[int]):
    with Sampler(Sampling(**WARM, seed=3, repeat_penalty=1.3), model.n_vocab) as sampler:
        first = answer(model, prompt, 30, sampler)
        assert answer(model, prompt, 30, sampler) == first


@pytest.mark.parametrize(
    "penalty",
    [{"repeat_penalty": 1e6}, {"presence_penalty": 1e3}, {"frequency_penalty": 1e3}],
    ids=["repeat", "presence", "frequency"],
)
def test_a_penalty_bars_what_was_said(after_prompt: Context, prompt: list[int], penalty: dict[str, float]):
    best = int(after_prompt.logits(6)[5].argmax())
    with Sampler(Sampling(**penalty), after_prompt.model.n_vocab) as sampler:
        sampler.start([])
        assert sampler.sample(after_prompt, 5) == best
        # What it picked itself counts as said.
        assert sampler.sample(after_prompt, 5) != best
        sampler.start([best])
        assert sampler.sample(after_prompt, 5) != best
        # Sixty-four tokens later it is forgotten.
        sampler.start([best, *[token for token in range(10, 200) if token != best][:64]])
        assert sampler.sample(after_prompt, 5) == best


def test_presence_counts_once_and_frequency_every_time(after_prompt: Context):
    row = after_prompt.logits(6)[5]
    second, best = (int(token) for token in np.argsort(row)[-2:])
    lead = float(row[best] - row[second])

    def pick(**penalty: float) -> int:
        with Sampler(Sampling(**penalty), after_prompt.model.n_vocab) as sampler:
            sampler.start([best] * 4)
            return sampler.sample(after_prompt, 5)

    assert pick(presence_penalty=lead * 0.5) == best
    assert pick(frequency_penalty=lead * 0.5) == second


def test_only_greedy_without_penalties_is_plain():
    assert Sampling().is_plain_greedy
    assert Sampling(top_k=1, seed=9).is_plain_greedy
    assert not Sampling(temperature=0.1).is_plain_greedy
    for penalty in ("presence_penalty", "frequency_penalty"):
        assert not Sampling(**{penalty: 0.5}).is_plain_greedy
    assert not Sampling(repeat_penalty=1.1).is_plain_greedy


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ({"temperature": -0.1}, "`temperature` -0.1 is out of range", "use 0 (greedy) to 10"),
        ({"temperature": float("nan")}, "`temperature` nan is out of range", "use 0 (greedy) to 10"),
        ({"temperature": float("inf")}, "`temperature` inf is out of range", "use 0 (greedy) to 10"),
        ({"top_k": -1}, "`top_k` -1 is out of range", "use 0 (off) or more"),
        ({"top_p": 0.0}, "`top_p` 0.0 is out of range", "use above 0, at most 1"),
        ({"top_p": 1.5}, "`top_p` 1.5 is out of range", "use above 0, at most 1"),
        ({"min_p": 2.0}, "`min_p` 2.0 is out of range", "use 0 to 1"),
        ({"repeat_penalty": 0.0}, "`repeat_penalty` 0.0 is out of range", "use above 0; 1 is off"),
        (
            {"repeat_penalty": float("inf")},
            "`repeat_penalty` inf is out of range",
            "use above 0; 1 is off",
        ),
        (
            {"presence_penalty": float("nan")},
            "`presence_penalty` nan is out of range",
            "use a finite number; 0 is off",
        ),
        (
            {"frequency_penalty": float("-inf")},
            "`frequency_penalty` -inf is out of range",
            "use a finite number; 0 is off",
        ),
        ({"seed": -1}, "`seed` -1 is out of range", "use 0 to 4294967294"),
        # llama.cpp's number for "a random seed": the same flag would give another answer every time.
        ({"seed": 2**32 - 1}, "`seed` 4294967295 is out of range", "use 0 to 4294967294"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(value: dict[str, Any], message: str, hint: str):
    with pytest.raises(UsageError) as caught:
        Sampling(**value)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_closing_twice_frees_once(monkeypatch: pytest.MonkeyPatch):
    lib, freed = load_library(), []
    free = lib.llama_sampler_free
    monkeypatch.setattr(lib, "llama_sampler_free", lambda handle: (freed.append(handle), free(handle)))
    sampler = Sampler(Sampling(temperature=1.0), 300)
    sampler.close()
    sampler.close()
    assert len(freed) == 1


def test_a_closed_sampler_is_an_error_and_not_a_crash(after_prompt: Context):
    sampler = Sampler(Sampling(temperature=1.0), after_prompt.model.n_vocab)
    sampler.close()
    with pytest.raises(EngineError, match="the sampler is closed"):
        sampler.sample(after_prompt, 0)
    with pytest.raises(EngineError, match="the sampler is closed"):
        sampler.start([])


@pytest.mark.parametrize(
    "changes", [{"temperature": 0.0}, {"temperature": 0.8}, {**WARM, "repeat_penalty": 1.5}]
)
def test_a_row_of_logits_is_drawn_from_as_the_context_is(after_prompt: Context, changes: dict[str, Any]):
    n_vocab = after_prompt.model.n_vocab
    row = after_prompt.logits(6)[5]
    with Sampler(Sampling(seed=4, **changes), n_vocab) as sampler:
        sampler.start([])
        found = []
        for _ in range(20):
            found.append(sampler.draw(row))
            sampler.accept(found[-1])
    assert found == draws(after_prompt, 20, seed=4, **changes)


def test_a_draw_from_some_tokens_is_one_of_them(after_prompt: Context):
    row, few = after_prompt.logits(6)[5], np.array([7, 70, 17])
    with Sampler(Sampling(seed=4, **WARM), after_prompt.model.n_vocab) as sampler:
        sampler.start([])
        assert {sampler.draw(row, few) for _ in range(60)} <= {7, 17, 70}
