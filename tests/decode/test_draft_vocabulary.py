"""A draft with other tokens than its target's: histories, chains and guesses as text, and what has no word."""

import pytest

from edgespec.decode.drafters.llama_draft import HEADROOM, LlamaDraft
from edgespec.decode.tokenmap import SameVocabulary, TextMap
from edgespec.llama.context import Context
from edgespec.llama.model import Model
from edgespec.llama.shortlist import Shortlist
from tests.decode.real import begin, open_context, random_tokens, same_vocabulary, say, text_map

HISTORY = [40, 50, 60, 70, 80, 90, 100, 110]


def test_a_guess_that_the_target_has_no_word_for_is_none(draft_context: Context):
    draft = LlamaDraft(draft_context, TextMap([-1] * 1000, list(range(1000)), lambda token: []))
    begin(draft, HISTORY)
    assert draft.guess() is None


def test_a_history_without_a_single_word_of_the_draft_gives_no_guess(draft_context: Context):
    """Control tokens have no text, so nothing is read and nothing follows; what was in the cache is gone."""
    draft = LlamaDraft(draft_context, TextMap(list(range(1000)), [-1, *range(1, 1000)], lambda token: []))
    begin(draft, HISTORY)
    assert begin(draft, [0]) == 0
    assert draft.guess() is None
    assert draft.missing([0, 5]) is None
    assert draft.read([0, 5], ()) == 1
    assert draft.guess() is not None


def test_a_history_of_other_tokens_is_read_as_the_drafts_own_pieces_of_its_text(
    target_model: Model, bpe_model: Model
):
    translator = text_map(target_model, bpe_model)
    history = target_model.tokenize("the cat and the hat: 日本!")
    with open_context(bpe_model, n_outputs_max=1) as context:
        draft = LlamaDraft(context, translator)
        assert begin(draft, history) == draft.n_read == len(translator.to_draft(history))
        read = b"".join(bpe_model.token_bytes(token) for token in context.tokens)
    assert read == b"".join(target_model.token_bytes(token) for token in history)


def test_a_chain_of_other_tokens_is_read_as_its_text_too(target_model: Model, bpe_model: Model):
    translator = text_map(target_model, bpe_model)
    history, chain = target_model.tokenize("the cat"), target_model.tokenize("and 日本")
    with open_context(bpe_model, n_outputs_max=1) as context:
        draft = LlamaDraft(context, translator)
        draft.begin(history)
        draft.read(history, chain)
        read = b"".join(bpe_model.token_bytes(token) for token in context.tokens)
    assert read == b"".join(target_model.token_bytes(token) for token in [*history, *chain])


def test_a_guess_in_a_chain_is_the_drafts_own_token_whatever_the_way_back(draft_context: Context):
    """Two tokens of the draft have one text: what it said is what it reads."""
    to_target = list(range(1000))
    draft = LlamaDraft(draft_context, TextMap(to_target, list(range(1000)), lambda token: []))
    begin(draft, HISTORY)
    own, _ = draft_context.best_guess()
    to_target[own] = 999
    (said,) = say(draft, HISTORY, 1)
    assert said == 999
    draft.read(HISTORY, [said])
    assert draft_context.tokens == [*HISTORY, own]


def test_a_chain_in_too_many_pieces_for_the_context_is_not_read_and_gives_no_guess(draft_context: Context):
    """Twelve tokens of the target that are eight pieces each, at the end of the draft's context."""
    pieces = TextMap(
        list(range(1000)), [token if token < 500 else -1 for token in range(1000)], lambda token: [9] * 8
    )
    draft = LlamaDraft(draft_context, pieces)
    history = random_tokens(11, draft_context.n_ctx - HEADROOM)
    begin(draft, history)
    held = list(draft_context.tokens)
    assert draft.read(history, [600] * 12) == 0
    assert draft.guess() is None
    assert draft_context.tokens == held
    assert draft.missing(history) == draft.read(history, ()) == 1
    assert draft.guess() is not None


@pytest.mark.parametrize("n_draft", [200, 300, 400])
def test_padding_at_the_end_of_one_vocabulary_does_no_harm(n_draft: int):
    """Sizes of one vocabulary differ by unused tokens at the end."""
    translator = SameVocabulary(300, n_draft)
    read = translator.to_draft([5, 250, 299])
    assert len(read) == 3
    assert max(read) < n_draft
    assert [token for token in read if token] == [token for token in (5, 250, 299) if token < n_draft]
    assert translator.to_target(299) == 299
    assert translator.to_target(300) is None


def test_a_shortlist_holds_the_text_of_this_answer_and_no_other(draft_model: Model):
    shortlist = Shortlist(draft_model.n_vocab, 8)
    with open_context(draft_model, shortlist=shortlist) as context:
        draft = LlamaDraft(context, same_vocabulary(draft_model, draft_model))
        begin(draft, HISTORY, window=4)
        assert set(HISTORY) <= set(shortlist.ids.tolist()), "the whole history, not just what is read of it"
        begin(draft, [200, 201])
        assert shortlist.ids.tolist() == [*range(8), *range(200, 208)]
