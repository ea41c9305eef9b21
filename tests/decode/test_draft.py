"""The draft's cache: kept from round to round, read only where it lacks something, never stale."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgespec.decode.drafters.llama_draft import HEADROOM, LlamaDraft
from edgespec.llama.context import Context
from edgespec.llama.model import Model
from tests.decode.real import begin, open_context, random_tokens, same_vocabulary, say

HISTORY = [40, 50, 60, 70, 80, 90, 100, 110]


@pytest.fixture
def draft(draft_context: Context, draft_model: Model) -> LlamaDraft:
    return LlamaDraft(draft_context, same_vocabulary(draft_model, draft_model))


@pytest.fixture(scope="module")
def fresh_context(draft_model: Model) -> Iterator[Context]:
    """For comparison: emptied before each use."""
    with open_context(draft_model) as context:
        yield context


def fresh_guess(context: Context, tokens: Sequence[int]) -> int:
    """The draft's next token after these, read from nothing."""
    context.clear()
    context.decode(tokens)
    return int(context.logits(1)[0].argmax())


# Reading on


def test_a_new_history_can_only_be_begun_and_is_read_whole_and_once(draft: LlamaDraft):
    draft.begin(HISTORY)
    assert draft.missing(HISTORY) is None
    assert draft.n_read == 0
    assert draft.read(HISTORY, ()) == len(HISTORY)
    assert draft.missing(HISTORY) == 1
    assert draft.n_read == len(HISTORY)


def test_padded_steps_say_the_same(draft_context: Context, draft_model: Model):
    said = []
    for step_batch in (1, 2):
        draft_context.clear()
        draft = LlamaDraft(draft_context, same_vocabulary(draft_model, draft_model), step_batch=step_batch)
        begin(draft, HISTORY)
        said.append(say(draft, HISTORY, 6))
        # A padded row leaves nothing behind.
        assert draft_context.n_past == len(HISTORY) + 5
    assert said[0] == said[1]


def test_it_guesses_what_follows_with_the_lead_in_logits(draft: LlamaDraft, fresh_context: Context):
    begin(draft, HISTORY)
    guess = draft.guess()
    fresh_context.clear()
    fresh_context.decode(HISTORY)
    best = np.sort(fresh_context.logits(1)[0])[-2:]
    assert guess is not None
    assert guess[0] == fresh_guess(fresh_context, HISTORY)
    assert guess[1] == pytest.approx(float(best[1] - best[0]), abs=1e-4)


def test_a_guess_is_read_when_the_next_one_is_wanted_and_by_itself(draft: LlamaDraft):
    begin(draft, HISTORY)
    first = say(draft, HISTORY, 1)
    assert draft.context.n_past == len(HISTORY)
    assert draft.read(HISTORY, first) == 1
    assert draft.context.tokens == [*HISTORY, *first]
    assert draft.n_read == len(HISTORY), "a guess is not history"


def test_after_a_rejected_draft_only_the_targets_own_token_is_read(draft: LlamaDraft, fresh_context: Context):
    """Of four drafted tokens the first is accepted; it is in the cache already."""
    begin(draft, HISTORY)
    said = say(draft, HISTORY, 4)
    history = [*HISTORY, said[0], 33]
    assert said[1] != 33
    assert draft.missing(history) == 1
    assert draft.n_read == len(history) - 1
    assert draft.read(history, ()) == 1
    assert say(draft, history, 1) == [fresh_guess(fresh_context, history)]


def test_after_a_fully_accepted_draft_its_last_token_and_the_targets_own_are_read(
    draft: LlamaDraft, fresh_context: Context
):
    begin(draft, HISTORY)
    history = [*HISTORY, *say(draft, HISTORY, 4), 33]
    assert draft.missing(history) == draft.read(history, ()) == 2
    assert say(draft, history, 1) == [fresh_guess(fresh_context, history)]


def test_tokens_that_others_brought_are_read_before_the_next_guess(draft: LlamaDraft, fresh_context: Context):
    begin(draft, HISTORY)
    history = [*HISTORY, 31, 32, 33, 34, 35]
    assert draft.missing(history) == draft.read(history, ()) == 5
    assert say(draft, history, 1) == [fresh_guess(fresh_context, history)]


def test_the_last_token_is_read_again_when_nothing_is_new(draft: LlamaDraft, fresh_context: Context):
    """The logits wanted are those after it."""
    begin(draft, HISTORY)
    say(draft, HISTORY, 3)
    assert draft.missing(HISTORY) == draft.read(HISTORY, ()) == 1
    assert say(draft, HISTORY, 1) == [fresh_guess(fresh_context, HISTORY)]


def test_a_context_that_somebody_else_emptied_is_read_anew(draft: LlamaDraft, fresh_context: Context):
    begin(draft, HISTORY)
    draft.context.clear()
    history = [*HISTORY, 33]
    assert draft.missing(history) is None
    assert draft.read(history, ()) == len(history)
    assert say(draft, history, 1) == [fresh_guess(fresh_context, history)]


def test_a_long_history_is_read_in_batches(draft_model: Model, fresh_context: Context):
    history = random_tokens(1, 100)
    with open_context(draft_model, n_outputs_max=1, n_batch=16) as context:
        draft = LlamaDraft(context, same_vocabulary(draft_model, draft_model))
        assert begin(draft, history) == 100
        assert say(draft, history, 1) == [fresh_guess(fresh_context, history)]


# Chains behind the history


def test_tokens_of_the_text_that_others_guessed_are_read_on_the_way(
    draft: LlamaDraft, fresh_context: Context
):
    begin(draft, HISTORY)
    chain = [21, 22, 23]
    assert draft.read(HISTORY, chain) == 3
    assert say(draft, HISTORY, 1) == [fresh_guess(fresh_context, [*HISTORY, *chain])]


def test_what_is_missing_and_a_chain_are_read_in_one_go(draft: LlamaDraft, fresh_context: Context):
    begin(draft, HISTORY)
    history, chain = [*HISTORY, 31, 32], [21, 22, 23]
    assert draft.read(history, chain) == 5
    assert draft.n_read == len(history)
    assert say(draft, history, 1) == [fresh_guess(fresh_context, [*history, *chain])]


def test_in_a_chain_both_can_take_turns(draft: LlamaDraft, fresh_context: Context):
    """Two tokens of the text, one of the model, one of the text: the model's next guess has read all four."""
    begin(draft, HISTORY)
    chain = [21, 22]
    draft.read(HISTORY, chain)
    chain += [*say(draft, HISTORY, 1), 23]
    assert draft.read(HISTORY, chain) == 2
    assert say(draft, HISTORY, 1) == [fresh_guess(fresh_context, [*HISTORY, *chain])]


def test_of_a_chain_that_was_rejected_only_what_held_stays(draft: LlamaDraft, fresh_context: Context):
    begin(draft, HISTORY)
    draft.read(HISTORY, [21, 22, 23, 24])
    history = [*HISTORY, 21, 22, 77]
    assert draft.missing(history) == 1
    assert draft.read(history, [23, 24]) == 3
    assert draft.context.tokens == [*history, 23, 24]
    assert say(draft, history, 1) == [fresh_guess(fresh_context, [*history, 23, 24])]


def test_a_guess_of_its_own_that_was_rejected_is_not_in_the_next_rounds_chain(
    draft: LlamaDraft, fresh_context: Context
):
    begin(draft, HISTORY)
    rejected = say(draft, HISTORY, 3)
    history = [*HISTORY, 250]
    chain = [rejected[0], 251]
    assert draft.read(history, chain) == 3
    assert draft.context.tokens == [*history, *chain]
    assert say(draft, history, 1) == [fresh_guess(fresh_context, [*history, *chain])]


def test_the_same_chain_again_reads_its_last_token(draft: LlamaDraft, fresh_context: Context):
    begin(draft, HISTORY)
    draft.read(HISTORY, [21, 22])
    assert draft.read(HISTORY, [21, 22]) == 1
    assert draft.read(HISTORY, [21]) == 1
    assert say(draft, HISTORY, 1) == [fresh_guess(fresh_context, [*HISTORY, 21])]


# Windows


def test_of_a_window_only_the_end_is_read(draft: LlamaDraft, fresh_context: Context):
    history = random_tokens(2, 50)
    assert begin(draft, history, window=20) == draft.n_read == 20
    assert say(draft, history, 1) == [fresh_guess(fresh_context, history[-20:])]


def test_after_a_window_the_cache_grows_on(draft: LlamaDraft, fresh_context: Context):
    history = random_tokens(2, 50)
    begin(draft, history, window=20)
    longer = [*history, *say(draft, history, 3), 33]
    assert draft.missing(longer) == draft.read(longer, ()) == 2
    assert draft.n_read == 24
    assert say(draft, longer, 1) == [fresh_guess(fresh_context, longer[30:])]


def test_a_window_forgets_what_was_there_and_a_chain_comes_behind_it(
    draft: LlamaDraft, fresh_context: Context
):
    begin(draft, HISTORY)
    history, chain = [*HISTORY, *random_tokens(3, 30)], [21, 22]
    assert draft.read(history, chain, window=16) == 18
    assert draft.n_read == 16
    assert say(draft, history, 1) == [fresh_guess(fresh_context, [*history[-16:], *chain])]


def test_a_window_longer_than_the_text_reads_all_of_it(draft: LlamaDraft):
    assert begin(draft, HISTORY, window=64) == draft.n_read == len(HISTORY)


def test_room_for_a_draft_stays_free_and_beyond_it_the_text_is_begun_anew(draft: LlamaDraft):
    n_ctx = draft.context.n_ctx
    history = random_tokens(4, n_ctx - 1)
    begin(draft, history[:100])
    for length in range(101, n_ctx - HEADROOM + 1):
        assert draft.missing(history[:length]) == draft.read(history[:length], ()) == 1
    assert len(say(draft, history[: n_ctx - HEADROOM], 15)) == 15
    longer = history[: n_ctx - HEADROOM + 1]
    assert draft.missing(longer) is None
    assert draft.read(longer, (), draft.most_read) == draft.most_read == n_ctx // 2
    assert draft.missing([*longer, 33]) == 1
    assert len(say(draft, longer, 15)) == 15


# Answers after answers


def test_a_new_answer_keeps_what_it_shares_with_the_last_one(draft: LlamaDraft, fresh_context: Context):
    begin(draft, HISTORY)
    say(draft, HISTORY, 5)
    other = [*HISTORY[:6], 31, 32, 33]
    draft.begin(other)
    assert draft.missing(other) == draft.read(other, ()) == 3
    assert say(draft, other, 1) == [fresh_guess(fresh_context, other)]


@pytest.mark.parametrize("maker", ["the same", "another"])
def test_a_cache_that_began_in_the_middle_is_found_again_in_the_next_history(
    draft: LlamaDraft, draft_model: Model, fresh_context: Context, maker: str
):
    """As a conversation goes on, for the same generator or a new one on the same context."""
    history = random_tokens(5, 60)
    begin(draft, history, window=24)
    history += say(draft, history, 1)
    if maker == "another":
        draft = LlamaDraft(draft.context, same_vocabulary(draft_model, draft_model))
    longer = [*history, *random_tokens(6, 10)]
    draft.begin(longer)
    assert draft.missing(longer) == draft.read(longer, ()) == 11
    assert draft.n_read == 24 + 11
    assert say(draft, longer, 1) == [fresh_guess(fresh_context, longer[36:])]


def test_of_a_cache_that_began_in_the_middle_what_both_histories_share_is_kept(
    draft: LlamaDraft, fresh_context: Context
):
    history = random_tokens(7, 60)
    begin(draft, history, window=24)
    other = [*history[:50], 31, 32]
    draft.begin(other)
    assert draft.missing(other) == draft.read(other, ()) == 2
    assert draft.n_read == 16
    assert say(draft, other, 1) == [fresh_guess(fresh_context, other[36:])]


def test_a_history_that_parts_before_the_cache_begins_is_begun_anew(
    draft: LlamaDraft, fresh_context: Context
):
    history = random_tokens(8, 60)
    begin(draft, history, window=24)
    other = [*history[:20], *random_tokens(9, 30)]
    draft.begin(other)
    assert draft.missing(other) is None
    assert draft.read(other, (), 24) == 24
    assert say(draft, other, 1) == [fresh_guess(fresh_context, other[-24:])]


def test_a_cache_whose_text_stands_twice_in_the_history_serves_either(
    draft: LlamaDraft, fresh_context: Context
):
    piece = random_tokens(10, 30)
    history = [7, *piece, 8, *piece]
    begin(draft, history, window=30)
    longer = [*history, 9]
    draft.begin(longer)
    missing = draft.missing(longer)
    assert missing is not None
    assert draft.read(longer, ()) == missing
    assert draft.context.tokens == longer[-draft.n_read :]
    assert say(draft, longer, 1) == [fresh_guess(fresh_context, longer[-draft.n_read :])]


histories = st.lists(
    st.tuples(
        st.sampled_from(["go on", "new answer", "turn away"]),
        st.integers(0, 8),
        st.lists(st.integers(3, 250), min_size=1, max_size=60),
        st.lists(st.integers(3, 250), max_size=4),
        st.sampled_from([None, None, 8, 24, 100]),
    ),
    min_size=1,
    max_size=12,
)


@given(histories)
@settings(max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_came_before_a_guess_is_that_of_a_fresh_draft(
    draft: LlamaDraft,
    fresh_context: Context,
    steps: list[tuple[str, int, list[int], list[int], int | None]],
):
    """Also: it says beforehand how much it will read, and holds nothing but the end of the text."""
    history: list[int] = []
    said: list[int] = []
    draft.begin(history)
    for kind, kept, fresh, chain, window in steps:
        if kind == "go on":
            history = [*history, *said[:kept], *fresh][: draft.context.n_ctx - 20]
        else:
            share = len(history) // 2 if kind == "new answer" else 0
            history = [*history[:share], *fresh]
            draft.begin(history)
        missing = draft.missing(history)
        if missing is None:
            window = min(window or len(history), draft.most_read)
        reads = min(window, len(history)) if window else missing
        assert reads is not None
        rows = draft.read(history, chain, window)
        assert rows <= reads + len(chain)
        assert chain or window or rows == reads
        assert draft.context.tokens == [*history[len(history) - draft.n_read :], *chain]
        said = say_behind(draft, history, chain, 5)
        read = [*history[len(history) - draft.n_read :], *chain]
        assert said == fresh_answer(fresh_context, read, len(said))


def say_behind(draft: LlamaDraft, history: Sequence[int], chain: Sequence[int], count: int) -> list[int]:
    """Its next tokens after a history and a chain that it has read."""
    said: list[int] = []
    for _ in range(count):
        if said:
            draft.read(history, [*chain, *said])
        guess = draft.guess()
        assert guess is not None
        said.append(guess[0])
    return said


def fresh_answer(context: Context, tokens: Sequence[int], count: int) -> list[int]:
    said: list[int] = []
    for _ in range(count):
        said.append(fresh_guess(context, [*tokens, *said]))
    return said
