"""What a search refuses before it begins."""

from pathlib import Path

import pytest

from edgespec.errors import IncompatibleDraftError, UsageError
from tests.tiny import CHAT_TEMPLATE, make_tiny_model
from tests.tune.made_up import tune_request


def test_two_minutes_are_enough_and_a_second_less_is_not(tiny_model: Path):
    tune_request(tiny_model, budget_s=120.0).check()
    with pytest.raises(UsageError, match="a budget of 119 seconds is too small") as refused:
        tune_request(tiny_model, budget_s=119.0).check()
    assert refused.value.hint == "give at least `budget` 2m"


def test_a_draft_of_the_same_vocabulary_is_welcome(tiny_model: Path, tiny_draft: Path):
    tune_request(tiny_model, tiny_draft).check()


def test_a_draft_of_another_tokenizer_is_refused_with_the_reason(tiny_model: Path, tiny_bpe: Path):
    with pytest.raises(IncompatibleDraftError, match="tiny-bpe cannot be tuned for tiny: ") as refused:
        tune_request(tiny_model, tiny_bpe).check()
    assert "`draft`" in (refused.value.hint or "")


def test_every_draft_is_looked_at_and_not_only_the_first(tiny_model: Path, tiny_draft: Path, tiny_bpe: Path):
    with pytest.raises(IncompatibleDraftError, match="tiny-bpe cannot be tuned"):
        tune_request(tiny_model, tiny_draft, tiny_bpe).check()


def test_a_draft_that_run_would_map_token_by_token_is_refused_too(tmp_path: Path):
    target = make_tiny_model(tmp_path / "target.gguf", vocab_size=600, chat_template=CHAT_TEMPLATE)
    draft = make_tiny_model(tmp_path / "draft.gguf", vocab_size=400)
    with pytest.raises(IncompatibleDraftError, match="drafts of the target's own vocabulary only"):
        tune_request(target, draft).check()


def test_without_a_small_model_there_is_nothing_to_distill_into(tiny_model: Path, tiny_draft: Path):
    tune_request(tiny_model, tiny_draft, distills=True).check()
    with pytest.raises(UsageError, match="`distill` teaches a small model, and there is none for tiny"):
        tune_request(tiny_model, distills=True).check()


def test_auto_drafts_with_the_first_small_model_or_with_none(
    tiny_model: Path, tiny_draft: Path, tiny_bpe: Path
):
    assert tune_request(tiny_model, tiny_draft, tiny_bpe).auto_draft == "tiny-draft"
    assert tune_request(tiny_model).auto_draft is None
