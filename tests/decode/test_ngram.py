"""Drafting from the text: the longest match, then the most recent one, against a slow and obvious search."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgespec.decode.acceptance import Acceptance
from edgespec.decode.drafters.ngram_index import (
    MAX_CANDIDATES,
    MAX_MATCH,
    MIN_MATCH,
    NgramIndex,
    NgramMatch,
)
from edgespec.decode.drafters.ngrams import NgramDrafter

texts = st.lists(st.integers(0, 3), max_size=60)


def index_of(tokens: list[int]) -> NgramIndex:
    index = NgramIndex()
    index.reset(tokens)
    return index


def search_slowly(tokens: list[int], history_n: int | None = None) -> NgramMatch | None:
    """The documented meaning of a match, by looking at every place of the text, or of its first `history_n` tokens."""
    places = []
    for place in range(MIN_MATCH, len(tokens) if history_n is None else history_n):
        length = 0
        while length < MAX_MATCH and place - length > 0 and tokens[place - 1 - length] == tokens[-1 - length]:
            length += 1
        if length >= MIN_MATCH:
            places.append((length, place))
    places = places[-MAX_CANDIDATES:]
    if not places:
        return None
    length, start = max(places)
    rivals = {tokens[place] for other, place in places if 2 * other >= length}
    return NgramMatch(start, length, len(rivals) == 1)


@given(texts)
def test_a_match_is_the_longest_and_then_the_most_recent(tokens: list[int]):
    assert index_of(tokens).find() == search_slowly(tokens)


@given(st.integers(0, 25), st.lists(st.integers(0, 1), min_size=1, max_size=25))
def test_a_very_repetitive_text_is_searched_the_same_way(repeats: int, pattern: list[int]):
    tokens = pattern * repeats
    assert index_of(tokens).find() == search_slowly(tokens)


@given(texts, st.lists(texts, max_size=4))
def test_growing_piece_by_piece_gives_the_index_of_the_whole(start: list[int], pieces: list[list[int]]):
    grown = index_of(start)
    for piece in pieces:
        grown.extend(piece)
    whole = index_of([*start, *(token for piece in pieces for token in piece)])
    assert grown.history == whole.history
    assert grown.find() == whole.find()


@given(texts, st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_behind_a_chain_the_end_of_history_and_chain_is_looked_for_in_the_history(
    history: list[int], chain: list[int]
):
    assert index_of(history).find(chain) == search_slowly([*history, *chain], len(history))


@given(texts, st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(1, 20))
def test_a_proposal_behind_a_chain_reads_on_into_chain_and_proposal(
    history: list[int], chain: list[int], count: int
):
    index = index_of(history)
    match = index.find(chain)
    if match is None:
        return
    copy = [*history, *chain]
    for offset in range(count):
        copy.append(copy[match.start + offset])
    assert index.propose(match, count, chain) == copy[len(history) + len(chain) :]
    assert index.history == history, "a guess is not the text"


@given(texts, st.integers(1, 40))
def test_a_proposal_is_what_a_copy_token_by_token_would_write(tokens: list[int], count: int):
    index = index_of(tokens)
    match = index.find()
    if match is None:
        return
    copy = list(tokens)
    for offset in range(count):
        copy.append(copy[match.start + offset])
    assert index.propose(match, count) == copy[len(tokens) :]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([7, 7, 7], [7, 7, 7, 7, 7]),
        ([1, 2, 1, 2, 1, 2], [1, 2, 1, 2, 1]),
        ([1, 2, 3, 1, 2, 3, 1], [2, 3, 1, 2, 3]),
    ],
    ids=["period 1", "period 2", "period 3"],
)
def test_a_repeated_pattern_is_followed_beyond_the_end_of_the_text(tokens: list[int], expected: list[int]):
    index = index_of(tokens)
    match = index.find()
    assert match is not None
    assert index.propose(match, 5) == expected


def test_a_longer_match_wins_over_a_more_recent_one():
    index = index_of([9, 1, 2, 50, 8, 1, 2, 60, 9, 1, 2])
    match = index.find()
    assert match == NgramMatch(start=3, length=3, agreed=False)
    assert index.propose(match, 1) == [50]


def test_matches_that_were_followed_by_one_and_the_same_token_agree():
    assert index_of([1, 2, 50, 4, 1, 2, 50, 5, 1, 2]).find() == NgramMatch(6, 2, True)
    assert index_of([1, 2, 50, 4, 1, 2, 60, 5, 1, 2]).find() == NgramMatch(6, 2, False)


def test_a_rival_less_than_half_as_long_does_not_spoil_agreement():
    """Five tokens match in one place and two in another: the short one says little."""
    match = index_of([8, 1, 2, 60, 3, 4, 5, 1, 2, 50, 0, 3, 4, 5, 1, 2]).find()
    assert match == NgramMatch(9, 5, True)


@pytest.mark.parametrize("tokens", [[], [1], [1, 1], [1, 2, 3, 4]])
def test_nothing_is_found_where_nothing_repeats(tokens: list[int]):
    assert index_of(tokens).find() is None


def test_a_new_answer_forgets_the_old_text():
    index = index_of([1, 2, 3, 1, 2])
    index.reset([1, 2])
    assert index.find() is None
    assert index.history == [1, 2]


def test_only_the_most_recent_places_are_looked_at_however_long_the_text():
    """The better match is the oldest of one place too many."""
    rare = [5, 6, 7, 1, 2, 50]
    common = [0, 1, 2, 60] * MAX_CANDIDATES
    assert index_of([*rare, *common[4:], 5, 6, 7, 1, 2]).find() == NgramMatch(5, 5, True)
    match = index_of([*rare, *common, 5, 6, 7, 1, 2]).find()
    assert match is not None
    assert match.length == MIN_MATCH


def test_a_match_is_measured_no_further_than_says_something():
    match = index_of(list(range(100)) * 2).find()
    assert match == NgramMatch(100, MAX_MATCH, True)


# As a drafter

SURE_TEXT = [*range(10, 40), *range(10, 20)]
"""Its end has stood once before: 20 follows."""


def drafter_of(history: Sequence[int], acceptance: Acceptance | None = None) -> NgramDrafter:
    drafter = NgramDrafter(acceptance or Acceptance())
    drafter.begin(history)
    return drafter


def chances(drafter: NgramDrafter, count: int, chain: Sequence[int] = ()) -> list[float]:
    quote = drafter.quote(chain, count)
    return list(quote.chances) if quote else []


def test_what_followed_is_drafted_at_the_chances_that_were_quoted():
    drafter = drafter_of(SURE_TEXT)
    quoted = chances(drafter, 5)
    guesses = drafter.draft((), 5)
    assert [guess.token for guess in guesses] == [20, 21, 22, 23, 24]
    assert [guess.chance for guess in guesses] == quoted
    assert len(quoted) == 5


def test_the_text_is_free_and_needs_no_reading():
    drafter = drafter_of(SURE_TEXT)
    quote = drafter.quote((), 5)
    assert quote is not None
    assert (quote.first_s, quote.next_s, drafter.step_s) == (0.0, 0.0, 0.0)
    assert drafter.readings() == ()


def test_where_nothing_repeats_it_has_no_word():
    drafter = drafter_of(range(20))
    assert drafter.quote((), 5) is None
    assert drafter.draft((), 5) == []


def test_a_match_grows_as_it_is_followed():
    """The last of the drafted tokens stands behind a match that is longer by those before it."""
    quoted = chances(drafter_of([5, 6, *range(30, 60), 5, 6]), 15)
    assert quoted == sorted(quoted)
    assert quoted[-1] > quoted[0]


def test_behind_a_chain_it_goes_on_where_that_ends():
    """The chain leads from one copied passage into another."""
    drafter = drafter_of([*range(10, 40), 7, 8])
    assert drafter.quote((), 3) is None
    assert [guess.token for guess in drafter.draft((10, 11), 3)] == [12, 13, 14]
    assert len(chances(drafter, 3, (10, 11))) == 3


@pytest.mark.parametrize("said", [[20, 21, 22], [20, 99], [99, 20]], ids=["right", "half right", "wrong"])
def test_every_match_is_learnt_from_whether_it_was_drafted_or_not(said: list[int]):
    drafted, silent = Acceptance(), Acceptance()
    for acceptance in (drafted, silent):
        drafter = drafter_of(SURE_TEXT, acceptance)
        if acceptance is drafted:
            drafter.draft((), 3)
        drafter.extend(said)
    assert drafted == silent != Acceptance()


def test_a_match_that_fails_is_believed_less_in_this_answer_and_a_little_in_the_next():
    acceptance = Acceptance()
    drafter = drafter_of(SURE_TEXT, acceptance)
    before = chances(drafter, 1)[0]
    for token in range(900, 908):
        drafter.extend([10, 11, 12, token])
    drafter.extend(range(10, 20))
    here = chances(drafter, 1)[0]
    drafter.begin(SURE_TEXT)
    assert here < chances(drafter, 1)[0] < before


def test_guesses_at_the_end_of_the_history_are_learnt_from_there_and_only_there():
    """Behind a chain nobody but the round knows what became of them."""
    drafter = drafter_of([*range(10, 40), 10, 11])
    assert [guess.beliefs for guess in drafter.draft((), 2)] == [(), ()]
    behind = drafter.draft((12, 13), 2)
    assert [len(guess.beliefs) for guess in behind] == [1, 1]
