"""The draft's cache: kept from round to round, read only where it lacks something, never stale."""

from collections.abc import Iterator
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgespec.decode.draft import LlamaDraft
from edgespec.decode.tokenmap import SameVocabulary, TextMap
from edgespec.llama.context import Context
from edgespec.llama.model import Model
from edgespec.llama.shortlist import Shortlist
from tests.decode.real import open_context, same_vocabulary, text_map

HISTORY = [40, 50, 60, 70, 80, 90, 100, 110]


@pytest.fixture
def draft(draft_context: Context, draft_model: Model) -> LlamaDraft:
    return LlamaDraft(draft_context, same_vocabulary(draft_model, draft_model))


@pytest.fixture(scope="module")
def fresh_context(draft_model: Model) -> Iterator[Context]:
    """For comparison: emptied before each use."""
    with open_context(draft_model) as context:
        yield context


def fresh_guess(context: Context, tokens: list[int]) -> int:
    """The draft's next token after these, read from nothing."""
    context.clear()
    context.decode(tokens)
    return int(context.logits(1)[0].argmax())


def say(draft: LlamaDraft, count: int) -> list[int]:
    """The next tokens that it drafts; the last one it has not read itself."""
    said = []
    while (guess := draft.guess()) is not None:
        said.append(guess[0])
        if len(said) == count:
            break
        draft.advance()
    return said


def test_a_new_history_is_read_whole_and_once(draft: LlamaDraft):
    assert draft.missing(HISTORY) == len(HISTORY)
    assert draft.catch_up(HISTORY) == len(HISTORY)
    assert draft.missing(HISTORY) == 1


def test_padded_steps_say_the_same(draft_context: Context, draft_model: Model):
    said = []
    for step_batch in (1, 2):
        draft_context.clear()
        draft = LlamaDraft(draft_context, same_vocabulary(draft_model, draft_model), step_batch=step_batch)
        draft.catch_up(HISTORY)
        said.append(say(draft, 6))
        # A padded row leaves nothing behind.
        assert draft_context.n_past == len(HISTORY) + 5
    assert said[0] == said[1]


def test_it_guesses_what_follows_with_the_lead_in_logits(draft: LlamaDraft, fresh_context: Context):
    draft.catch_up(HISTORY)
    guess = draft.guess()
    fresh_context.clear()
    fresh_context.decode(HISTORY)
    best = np.sort(fresh_context.logits(1)[0])[-2:]
    assert guess is not None
    assert guess[0] == fresh_guess(fresh_context, HISTORY)
    assert guess[1] == pytest.approx(float(best[1] - best[0]), abs=1e-4)


def test_after_a_rejected_draft_only_the_targets_own_token_is_read(draft: LlamaDraft, fresh_context: Context):
    """Of four drafted tokens the first is accepted; it is in the cache already."""
    draft.catch_up(HISTORY)
    said = say(draft, 4)
    history = [*HISTORY, said[0], 33]
    assert said[1] != 33
    assert draft.missing(history) == 1
    assert draft.catch_up(history) == 1
    assert say(draft, 1) == [fresh_guess(fresh_context, history)]


def test_after_a_fully_accepted_draft_its_last_token_and_the_targets_own_are_read(
    draft: LlamaDraft, fresh_context: Context
):
    draft.catch_up(HISTORY)
    history = [*HISTORY, *say(draft, 4), 33]
    assert draft.catch_up(history) == 2
    assert say(draft, 1) == [fresh_guess(fresh_context, history)]


def test_tokens_that_others_brought_are_read_before_the_next_guess(draft: LlamaDraft, fresh_context: Context):
    draft.catch_up(HISTORY)
    history = [*HISTORY, 31, 32, 33, 34, 35]
    assert draft.missing(history) == draft.catch_up(history) == 5
    assert say(draft, 1) == [fresh_guess(fresh_context, history)]


def test_the_last_token_is_read_again_when_nothing_is_new(draft: LlamaDraft, fresh_context: Context):
    """The logits wanted are those after it."""
    draft.catch_up(HISTORY)
    say(draft, 3)
    assert draft.missing(HISTORY) == draft.catch_up(HISTORY) == 1
    assert say(draft, 1) == [fresh_guess(fresh_context, HISTORY)]


def test_a_new_answer_keeps_what_it_shares_with_the_last_one(draft: LlamaDraft, fresh_context: Context):
    draft.catch_up(HISTORY)
    say(draft, 5)
    draft.begin()
    other = [*HISTORY[:6], 31, 32, 33]
    assert draft.missing(other) == draft.catch_up(other) == 3
    assert say(draft, 1) == [fresh_guess(fresh_context, other)]


def test_a_context_that_somebody_else_emptied_is_read_anew(draft: LlamaDraft, fresh_context: Context):
    draft.catch_up(HISTORY)
    draft.context.clear()
    history = [*HISTORY, 33]
    assert draft.missing(history) == draft.catch_up(history) == len(history)
    assert say(draft, 1) == [fresh_guess(fresh_context, history)]


def test_a_long_history_is_read_in_batches(draft_model: Model, fresh_context: Context):
    history = [Random(1).randrange(3, 250) for _ in range(100)]
    with open_context(draft_model, n_outputs_max=1, n_batch=16) as context:
        draft = LlamaDraft(context, same_vocabulary(draft_model, draft_model))
        assert draft.catch_up(history) == 100
        assert say(draft, 1) == [fresh_guess(fresh_context, history)]


# The window


def test_of_a_history_longer_than_the_window_only_the_end_is_read(
    draft_context: Context, draft_model: Model, fresh_context: Context
):
    draft = LlamaDraft(draft_context, same_vocabulary(draft_model, draft_model), window=20)
    history = [Random(2).randrange(3, 250) for _ in range(50)]
    assert draft.missing(history) == draft.catch_up(history) == 20
    assert say(draft, 1) == [fresh_guess(fresh_context, history[-20:])]


def test_after_a_skip_the_cache_grows_on(draft_context: Context, draft_model: Model, fresh_context: Context):
    draft = LlamaDraft(draft_context, same_vocabulary(draft_model, draft_model), window=20)
    history = [Random(2).randrange(3, 250) for _ in range(50)]
    draft.catch_up(history)
    longer = [*history, *say(draft, 3), 33]
    assert draft.missing(longer) == draft.catch_up(longer) == 2
    assert say(draft, 1) == [fresh_guess(fresh_context, longer[30:])]


def test_a_gap_longer_than_the_window_is_skipped_once_more(
    draft_context: Context, draft_model: Model, fresh_context: Context
):
    draft = LlamaDraft(draft_context, same_vocabulary(draft_model, draft_model), window=20)
    draft.catch_up(HISTORY)
    history = [*HISTORY, *(Random(3).randrange(3, 250) for _ in range(30))]
    assert draft.missing(history) == draft.catch_up(history) == 20
    assert say(draft, 1) == [fresh_guess(fresh_context, history[-20:])]


def test_a_history_as_long_as_the_context_leaves_room_to_draft(draft: LlamaDraft):
    history = [Random(4).randrange(3, 250) for _ in range(draft.context.n_ctx - 1)]
    draft.catch_up(history[:100])
    for length in range(100, len(history), 7):
        draft.catch_up(history[:length])
        assert len(say(draft, 8)) == 8


def test_it_says_beforehand_that_a_full_cache_has_to_be_read_anew(draft: LlamaDraft):
    """One more token can cost a whole window."""
    history = [Random(5).randrange(3, 250) for _ in range(draft.context.n_ctx - 1)]
    draft.catch_up(history[:100])
    reads = []
    for length in range(101, len(history)):
        missing = draft.missing(history[:length])
        assert missing == draft.catch_up(history[:length])
        reads.append(missing)
    assert sorted(reads)[-2:] == [1, draft.context.n_ctx // 2]


histories = st.lists(
    st.tuples(
        st.sampled_from(["go on", "guess", "new answer"]),
        st.integers(0, 8),
        st.lists(st.integers(3, 250), min_size=1, max_size=90),
    ),
    min_size=1,
    max_size=12,
)


@given(histories)
@settings(max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_came_before_a_guess_is_that_of_a_fresh_draft(
    draft: LlamaDraft, fresh_context: Context, steps: list[tuple[str, int, list[int]]]
):
    """Also: it says beforehand how much it will read, and reads no more than its window."""
    draft.begin()
    history: list[int] = []
    said: list[int] = []
    for kind, kept, fresh in steps:
        if kind == "new answer":
            draft.begin()
            history = [*history[: len(history) // 2], *fresh]
        else:
            history = [*history, *said[:kept], *fresh]
        history = history[: draft.context.n_ctx - 10]
        missing = draft.missing(history)
        assert draft.catch_up(history) == missing <= draft.context.n_ctx // 2
        assert draft.context.tokens == history[len(history) - draft.context.n_past :]
        said = say(draft, 8 if kind == "guess" else 1)
        assert said[0] == fresh_guess(fresh_context, history[len(history) - _read(draft, said) :])


def _read(draft: LlamaDraft, said: list[int]) -> int:
    """How much of the history the cache holds, the tokens drafted since left out."""
    return draft.context.n_past - (len(said) - 1)


# Other vocabularies


def test_a_guess_that_the_target_has_no_word_for_ends_the_draft(draft_context: Context):
    nothing = TextMap([-1] * 1000, list(range(1000)), lambda token: [])
    draft = LlamaDraft(draft_context, nothing)
    draft.catch_up(HISTORY)
    assert draft.guess() is None


def test_a_history_without_a_single_word_of_the_draft_gives_no_guess(draft_context: Context):
    """Control tokens have no text, so nothing is read and nothing follows; what was in the cache is gone."""
    draft = LlamaDraft(draft_context, TextMap(list(range(1000)), [-1, *range(1, 1000)], lambda token: []))
    draft.catch_up(HISTORY)
    draft.begin()
    assert draft.missing([0]) == draft.catch_up([0]) == 0
    assert draft.guess() is None
    assert draft.missing([0, 5]) == draft.catch_up([0, 5]) == 1
    assert draft.guess() is not None


def test_a_history_of_other_tokens_is_read_as_the_drafts_own_pieces_of_its_text(
    target_model: Model, bpe_model: Model
):
    translator = text_map(target_model, bpe_model)
    history = target_model.tokenize("the cat and the hat: 日本!")
    with open_context(bpe_model, n_outputs_max=1) as context:
        draft = LlamaDraft(context, translator)
        assert draft.catch_up(history) == len(translator.to_draft(history))
        read = b"".join(bpe_model.token_bytes(token) for token in context.tokens)
    assert read == b"".join(target_model.token_bytes(token) for token in history)


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
        draft = LlamaDraft(context, same_vocabulary(draft_model, draft_model), window=4)
        draft.catch_up(HISTORY)
        assert set(HISTORY) <= set(shortlist.ids.tolist()), "the whole history, not just what is read of it"
        draft.begin()
        draft.catch_up([200, 201])
        assert shortlist.ids.tolist() == [*range(8), *range(200, 208)]
