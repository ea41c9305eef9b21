"""Drafting from the text: the longest match, then the most recent one, against a slow and obvious search."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgespec.decode.ngram import MAX_CANDIDATES, MAX_MATCH, MIN_MATCH, NgramIndex, NgramMatch

texts = st.lists(st.integers(0, 3), max_size=60)


def index_of(tokens: list[int]) -> NgramIndex:
    index = NgramIndex()
    index.reset(tokens)
    return index


def search_slowly(tokens: list[int]) -> NgramMatch | None:
    """The documented meaning of a match, by looking at every place of the text."""
    places = []
    for place in range(MIN_MATCH, len(tokens)):
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
