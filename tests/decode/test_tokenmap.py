"""Two vocabularies joined by text: partners where there are any, pieces of the text elsewhere."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgespec.decode.tokenmap import SameVocabulary, TextMap
from edgespec.llama.model import Model
from tests.decode.real import text_map


def test_partners_are_taken_and_others_are_read_as_pieces():
    translator = TextMap([7, -1, 9], [-1] * 7 + [0, -1, 2], lambda token: [token * 10, token * 10 + 1])
    assert translator.to_draft([7, 9, 3]) == [0, 2, 30, 31]
    assert [translator.to_target(token) for token in (0, 1, 2)] == [7, None, 9]


def test_a_token_without_text_disappears():
    translator = TextMap([0], [0, -1], lambda token: [])
    assert translator.to_draft([0, 1, 0]) == [0, 0]


def test_one_vocabulary_passes_tokens_through():
    translator = SameVocabulary(100, 100)
    assert list(translator.to_draft([0, 99])) == [0, 99]
    assert translator.to_target(99) == 99


@given(text=st.text(max_size=40))
@settings(derandomize=True)
def test_any_text_is_the_same_bytes_in_the_drafts_tokens(target_model: Model, bpe_model: Model, text: str):
    """Characters of several byte tokens too, or the draft would read another text."""
    for target, draft in ((target_model, bpe_model), (bpe_model, target_model)):
        tokens = target.tokenize(text, add_special=False, parse_special=False)
        read = text_map(target, draft).to_draft(tokens)
        assert text_of(draft, read) == text_of(target, tokens)


def text_of(model: Model, tokens: Sequence[int]) -> bytes:
    return b"".join(model.token_bytes(token) for token in tokens)


def test_a_partner_has_the_same_bytes_both_ways(target_model: Model, bpe_model: Model):
    translator = text_map(target_model, bpe_model)
    partners = 0
    for token in range(bpe_model.n_vocab):
        partner = translator.to_target(token)
        if partner is not None:
            partners += 1
            assert target_model.token_bytes(partner) == bpe_model.token_bytes(token)
    assert partners > 100


@pytest.mark.parametrize("text", ["the cat", " and in the", "日本"])
def test_the_draft_can_say_every_word_that_both_know(target_model: Model, bpe_model: Model, text: str):
    """There and back again gives the text, token by token where both have one."""
    translator = text_map(target_model, bpe_model)
    tokens = target_model.tokenize(text, add_special=False)
    back = [translator.to_target(token) for token in translator.to_draft(tokens)]
    assert None not in back
    assert text_of(target_model, [token or 0 for token in back]) == text_of(target_model, tokens)
