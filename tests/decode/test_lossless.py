"""The promise on real llama.cpp: the same text as plain decoding, whatever drafts, however it samples."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.engines import LlamaTarget
from edgespec.decode.generate import Generator
from edgespec.decode.policy import DraftingPolicy, Mode, Policy
from edgespec.decode.token import DraftSource
from edgespec.llama.context import Context
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampling
from tests.decode.real import (
    EagerPolicy,
    TimedDraft,
    always,
    answer,
    open_context,
    plain_answer,
    same_vocabulary,
    text_map,
)
from tests.decode.scripted import FLAT, STAIRCASE

LENGTH = 60
TEXTS = (
    "the cat sat on the mat, and the dog sat on the cat",
    "1 2 3 1 2 3 1 2 3 1 2 3",
    "日本 and 😀 and naïve café",
    "a",
)


@pytest.fixture
def draft(target_model: Model, draft_model: Model, draft_context: Context) -> TimedDraft:
    return TimedDraft(draft_context, same_vocabulary(target_model, draft_model))


@pytest.fixture
def twin(target_model: Model) -> Iterator[TimedDraft]:
    """The target as its own draft."""
    with open_context(target_model, n_outputs_max=1) as context:
        yield TimedDraft(context, same_vocabulary(target_model, target_model))


@pytest.fixture
def foreign_draft(target_model: Model, bpe_model: Model) -> Iterator[TimedDraft]:
    """A draft with another tokenizer."""
    with open_context(bpe_model, n_outputs_max=1) as context:
        yield TimedDraft(context, text_map(target_model, bpe_model))


def random_prompt(model: Model, seed: int) -> list[int]:
    """Bytes and words of the vocabulary in any order."""
    random = Random(seed)
    return [random.randrange(3, model.n_vocab) for _ in range(random.randint(1, 40))]


# Greedy


POLICIES = [
    pytest.param(EagerPolicy, id="1 to 8 in turn"),
    pytest.param(Policy, id="as it pays"),
    pytest.param(always(1), id="1"),
    pytest.param(always(4), id="4"),
    pytest.param(always(15), id="15"),
]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("mode", [Mode.NGRAM, Mode.MODEL, Mode.AUTO])
@pytest.mark.parametrize("text", TEXTS)
def test_greedy_text_is_that_of_plain_decoding(
    target: Context,
    draft: TimedDraft,
    text: str,
    mode: Mode,
    policy: Callable[[PairCosts], DraftingPolicy],
):
    prompt = target.model.tokenize(text)
    plain = plain_answer(target, prompt, LENGTH)
    target.clear()
    drafted = answer(target, draft, prompt, LENGTH, mode=mode, policy=policy)
    assert drafted.ids == plain.ids
    assert drafted.text == plain.text
    if mode is not Mode.NGRAM:
        assert drafted.stats.draft_n > 0


@pytest.mark.parametrize("seed", range(12))
def test_greedy_text_is_that_of_plain_decoding_after_any_prompt(
    target: Context, draft: TimedDraft, seed: int
):
    """With drafts of the text and of the model in one round, as far as the text has any."""
    prompt = random_prompt(target.model, seed)
    plain = plain_answer(target, prompt, LENGTH)
    for policy in (EagerPolicy, always(6)):
        target.clear()
        assert answer(target, draft, prompt, LENGTH, policy=policy).ids == plain.ids


def test_these_drafts_are_sometimes_right_and_sometimes_wrong(target: Context, draft: TimedDraft):
    """Else the tests of this file would say little."""
    answers = [answer(target, draft, random_prompt(target.model, seed), LENGTH) for seed in range(5)]
    tested = sum(given.stats.draft_n for given in answers)
    accepted = sum(given.stats.draft_n_accepted for given in answers)
    assert 0.2 < accepted / tested < 0.9
    assert {source for given in answers for source in given.stats.by_source} == {
        DraftSource.MODEL,
        DraftSource.NGRAM,
    }


def test_these_drafts_are_made_of_both_in_one_round(target: Context, draft: TimedDraft):
    """Likewise."""
    prompt = target.model.tokenize(TEXTS[1])
    given = answer(target, draft, prompt, LENGTH, policy=always(6))
    both = {DraftSource.MODEL, DraftSource.NGRAM}
    assert set(given.stats.by_source) == both
    assert all(accepted for _, accepted in given.stats.by_source.values())
    assert {rows for rows, _ in given.batches} >= {7}


@pytest.mark.parametrize("seed", range(3))
def test_a_target_accepts_everything_from_itself(target: Context, twin: TimedDraft, seed: int):
    """After a prompt so short that it reads all of it."""
    prompt = random_prompt(target.model, seed)[:20]
    given = answer(target, twin, prompt, LENGTH, mode=Mode.MODEL)
    assert given.stats.draft_n > LENGTH // 2
    assert given.stats.acceptance == 1.0


def test_the_policy_drafts_as_far_as_it_may_when_everything_is_accepted(target: Context, twin: TimedDraft):
    prompt = random_prompt(target.model, 0)[:20]
    given = answer(target, twin, prompt, 120, mode=Mode.MODEL, policy=Policy)
    assert given.stats.acceptance == 1.0
    assert given.stats.mean_accepted_len is not None
    assert given.stats.mean_accepted_len > 3


@pytest.mark.parametrize("mode", [Mode.MODEL, Mode.AUTO])
@pytest.mark.parametrize("text", TEXTS)
def test_a_draft_with_another_tokenizer_changes_nothing(
    target: Context, foreign_draft: TimedDraft, text: str, mode: Mode
):
    prompt = target.model.tokenize(text)
    plain = plain_answer(target, prompt, LENGTH)
    target.clear()
    drafted = answer(target, foreign_draft, prompt, LENGTH, mode=mode)
    assert drafted.ids == plain.ids
    assert drafted.text == plain.text
    assert drafted.stats.draft_n > 0


def test_an_answer_to_the_end_of_the_context_is_that_of_plain_decoding(
    target: Context, draft: TimedDraft, foreign_draft: TimedDraft
):
    """The draft's own context is as long, and its tokens may be more."""
    prompt = target.model.tokenize(TEXTS[0])
    plain = plain_answer(target, prompt, 1000)
    assert len(plain.ids) == target.n_ctx - len(prompt)
    for drafter in (draft, foreign_draft):
        target.clear()
        assert answer(target, drafter, prompt, 1000).ids == plain.ids


def test_verifying_in_padded_batches_changes_nothing(target: Context, draft: TimedDraft):
    prompt = target.model.tokenize(TEXTS[0])
    plain = plain_answer(target, prompt, LENGTH)
    target.clear()
    padded = answer(target, draft, prompt, LENGTH, verify=STAIRCASE)
    assert sum(batch > rows for rows, batch in padded.batches) > 3
    assert padded.ids == plain.ids


def test_padding_leaves_cache_and_logits_as_they_would_be(target_model: Model):
    tokens = random_prompt(target_model, 4)[:10]
    with open_context(target_model) as padded, open_context(target_model) as exact:
        for context, pad_to in ((padded, 8), (exact, 0)):
            context.decode(tokens)
            context.decode([5, 6, 7], outputs=3, pad_to=pad_to)
        np.testing.assert_allclose(padded.logits(3), exact.logits(3), atol=1e-4)
        assert padded.tokens == exact.tokens == [*tokens, 5, 6, 7]
        for context in (padded, exact):
            context.decode([8, 9], outputs=2)
        np.testing.assert_allclose(padded.logits(2), exact.logits(2), atol=1e-4)


# Answers after answers


@pytest.mark.parametrize(
    "follow",
    [
        pytest.param(lambda prompt, said: [*prompt, *said, 40, 41], id="the conversation goes on"),
        pytest.param(lambda prompt, said: prompt, id="the same prompt"),
        pytest.param(lambda prompt, said: prompt[:7], id="its beginning"),
        pytest.param(lambda prompt, said: [*prompt[:5], 77, 78, *prompt[5:]], id="an insertion"),
        pytest.param(lambda prompt, said: [99, *prompt[1:]], id="another beginning"),
    ],
)
def test_an_answer_that_reuses_the_cache_is_that_of_an_empty_one(
    target: Context,
    draft: TimedDraft,
    follow: Callable[[Sequence[int], Sequence[int]], list[int]],
):
    prompt = target.model.tokenize(TEXTS[0])
    first = answer(target, draft, prompt, 20)
    held = list(target.tokens)
    prompt = follow(prompt, first.ids)
    again = answer(target, draft, prompt, LENGTH)
    shared = next((i for i, pair in enumerate(zip(held, prompt, strict=False)) if pair[0] != pair[1]), None)
    shared = min(len(held), len(prompt)) if shared is None else shared
    assert again.stats.prompt_evaluated_n == len(prompt) - min(shared, len(prompt) - 1)
    assert again.ids == plain_answer(target, prompt, LENGTH).ids


# Sampling


SAMPLINGS = [
    pytest.param(Sampling(temperature=0.8), id="defaults"),
    pytest.param(Sampling(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0), id="nothing cut"),
    pytest.param(Sampling(temperature=3.0, top_k=0, top_p=1.0, min_p=0.0), id="hot"),
    pytest.param(Sampling(temperature=1.0, top_p=0.7), id="top-p"),
    pytest.param(Sampling(temperature=1.0, repeat_penalty=1.3), id="repeat penalty"),
    pytest.param(
        Sampling(temperature=1.0, presence_penalty=0.5, frequency_penalty=0.7), id="other penalties"
    ),
    pytest.param(Sampling(repeat_penalty=1.5), id="greedy with a penalty"),
    pytest.param(Sampling(repeat_penalty=1.2, repeat_last_n=5), id="greedy with a short penalty"),
]


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("seed", [1, 2])
def test_sampled_text_is_that_of_plain_decoding_with_the_same_seed(
    target: Context, draft: TimedDraft, sampling: Sampling, seed: int
):
    seeded = replace(sampling, seed=seed)
    prompt = target.model.tokenize(TEXTS[0])
    plain = plain_answer(target, prompt, LENGTH, sampling=seeded)
    target.clear()
    drafted = answer(target, draft, prompt, LENGTH, sampling=seeded)
    assert drafted.ids == plain.ids
    assert drafted.stats.draft_n > 0


@pytest.mark.parametrize("policy", POLICIES)
def test_tokens_that_are_not_the_most_likely_are_borne(
    target: Context, draft: TimedDraft, policy: Callable[[PairCosts], DraftingPolicy]
):
    """A sampled token may lie far below the best."""
    sampling = Sampling(temperature=10.0, top_k=0, top_p=1.0, min_p=0.0, seed=3)
    prompt = target.model.tokenize(TEXTS[0])
    plain = plain_answer(target, prompt, 150, sampling=sampling)
    target.clear()
    assert answer(target, draft, prompt, 150, sampling=sampling, policy=policy).ids == plain.ids


def test_another_seed_gives_another_text_and_the_same_seed_the_same(target: Context, draft: TimedDraft):
    prompt = target.model.tokenize(TEXTS[0])
    texts = [
        answer(target, draft, prompt, 30, sampling=Sampling(temperature=1.5, seed=seed)).text
        for seed in (1, 2, 1)
    ]
    assert texts[0] == texts[2] != texts[1]


def test_penalties_count_the_prompt(target: Context):
    """What would be said first is put into the prompt, and then not said."""
    prompt = target.model.tokenize(TEXTS[0])
    first = plain_answer(target, prompt, 1).ids[0]
    prompt = [*prompt[:4], first, *prompt[4:]]
    favourite = plain_answer(target, prompt, 1).ids[0]
    prompt = [*prompt[:4], favourite, *prompt[4:]]
    assert plain_answer(target, prompt, 1).ids == [favourite]
    penalty = Sampling(repeat_penalty=100.0)
    assert plain_answer(target, prompt, 1, sampling=penalty).ids != [favourite]


def test_every_answer_of_a_generator_starts_from_its_seed(target: Context):
    prompt = target.model.tokenize(TEXTS[0])
    sampling = Sampling(temperature=1.5, repeat_penalty=1.2, seed=5)
    generator = Generator(LlamaTarget(target, sampling), [], Policy(PairCosts(CostCurve(FLAT))))
    answers = [[token.id for token in generator.generate(prompt, 20)] for _ in range(2)]
    generator.close()
    assert answers[0] == answers[1]


# The distribution of what is sampled

ANSWERS = 400
SIGNIFICANCE_Z = 4.0
"""Of a normal variable: chance of a false alarm about 3 in 100,000; and the seeds are fixed."""


def sample_bigrams(
    target: Context, draft: TimedDraft | None, temperature: float, first_seed: int
) -> Counter[tuple[int, int]]:
    """How often each pair of tokens begins an answer, over many seeds."""
    prompt = target.model.tokenize("the")
    counts: Counter[tuple[int, int]] = Counter()
    for seed in range(first_seed, first_seed + ANSWERS):
        sampling = Sampling(temperature=temperature, top_k=4, top_p=1.0, min_p=0.0, seed=seed)
        mode = Mode.MODEL if draft else Mode.OFF
        ids = answer(target, draft, prompt, 3, mode=mode, sampling=sampling).ids
        counts[ids[1], ids[2]] += 1
    return counts


def deviation(left: Counter[tuple[int, int]], right: Counter[tuple[int, int]]) -> float:
    """Chi-square of two samples of equal size against one distribution, as a standard normal (Wilson, Hilferty)."""
    both = left + right
    rare = {pair for pair, count in both.items() if count < 10}
    cells = [(left[pair], right[pair]) for pair in both if pair not in rare]
    cells.append((sum(left[pair] for pair in rare), sum(right[pair] for pair in rare)))
    chi_square = sum((a - b) ** 2 / (a + b) for a, b in cells if a + b)
    freedom = sum(a + b > 0 for a, b in cells) - 1
    return float(((chi_square / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / (2 / (9 * freedom)) ** 0.5)


def test_sampled_tokens_have_the_distribution_of_plain_sampling(target: Context, draft: TimedDraft):
    """Other seeds, so that the texts differ and only their distribution can agree."""
    plain = sample_bigrams(target, None, 1.5, first_seed=0)
    drafted = sample_bigrams(target, draft, 1.5, first_seed=10_000)
    assert len(plain) >= 8
    assert deviation(plain, drafted) < SIGNIFICANCE_Z


def test_the_comparison_of_distributions_would_notice_another_one(target: Context):
    plain = sample_bigrams(target, None, 1.5, first_seed=0)
    cooler = sample_bigrams(target, None, 0.7, first_seed=10_000)
    assert deviation(plain, cooler) > SIGNIFICANCE_Z
