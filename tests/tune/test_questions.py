"""The questions of a search: what drafts are fitted, judged and proved by."""

from collections import Counter
from pathlib import Path

from edgespec.bench.prompts import builtin_prompts
from edgespec.chat.prompt_tokens import tokenize_chat
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.tune.questions import (
    SPARED_CATEGORIES,
    fit_questions,
    held_out_prompts,
    proof_prompts,
    read_proof_prompts,
)
from quant.text.calibration import calibration_prompts

CATEGORIES = {prompt.category for prompt in builtin_prompts()}


def test_candidates_are_judged_by_two_prompts_of_each_category():
    assert Counter(one.category for one in held_out_prompts()) == dict.fromkeys(CATEGORIES, 2)


def test_finalists_are_proved_by_another_prompt_of_each_category():
    assert len(CATEGORIES) == 10
    assert Counter(one.category for one in proof_prompts()) == dict.fromkeys(CATEGORIES, 1)


def test_nothing_that_is_fitted_or_judged_by_comes_again_in_the_proof():
    fitted = {message.content for question in fit_questions() for message in question}
    judged, proved = (
        {message.content for prompt in prompts for message in prompt.messages}
        for prompts in (held_out_prompts(), proof_prompts())
    )
    assert not judged & proved
    # quant repairs and measures with all of its questions, of which a search fits drafts by some.
    assert fitted <= set(calibration_prompts())
    assert not set(calibration_prompts()) & (judged | proved)


def test_what_a_proof_may_be_spared_comes_last_and_long_texts_first_of_all():
    categories = [one.category for one in proof_prompts()]
    assert categories[-3:] == list(SPARED_CATEGORIES)
    assert SPARED_CATEGORIES[-1] == "long-context"


def test_prompts_are_proved_in_the_tokens_of_the_target_whatever_their_length(tiny_model: Path):
    found = read_proof_prompts(tiny_model)
    assert [(one.id, one.category) for one in found] == [(one.id, one.category) for one in proof_prompts()]
    with Model(tiny_model) as model, Context(model, ContextSettings(8192, 1)) as context:
        tokens = [tuple(tokenize_chat(context, prompt.messages)) for prompt in proof_prompts()]
    assert [one.tokens for one in found] == tokens
    assert max(len(one) for one in tokens) > 2048
