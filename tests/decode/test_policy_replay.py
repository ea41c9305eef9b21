"""What a wrong draft costs where the target reads again what was right in it, and how that holds drafts back."""

from itertools import pairwise

import pytest

from edgespec.decode.chain import Chain
from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.drafters.contract import Guess
from edgespec.decode.policy import MAX_DRAFT, Policy
from edgespec.decode.token import DraftSource
from tests.decode.scripted import FLAT, LINEAR

ROWS_AT_A_TENTH = {rows: 1.0 + 0.1 * (rows - 1) for rows in range(1, 40)}


def policy_of(verify: dict[int, float], *, replays: bool, longest: int = MAX_DRAFT) -> Policy:
    return Policy(PairCosts(CostCurve(verify)), longest=longest, replays=replays)


def chain_of(*chances: float) -> Chain:
    chain = Chain()
    chain.extend([Guess(number, DraftSource.NGRAM, chance, ()) for number, chance in enumerate(chances)])
    return chain


def test_a_doubtful_draft_is_cut_shorter_where_what_was_right_is_read_again():
    doubtful = chain_of(*[0.6] * 12)
    free, dear = (policy_of(ROWS_AT_A_TENTH, replays=replays) for replays in (False, True))
    assert free.count_worth_verifying(doubtful) > dear.count_worth_verifying(doubtful) > 0


def test_a_sure_draft_is_as_long_as_ever():
    sure = chain_of(*[1.0] * 12)
    for replays in (False, True):
        assert policy_of(ROWS_AT_A_TENTH, replays=replays).count_worth_verifying(sure) == 12


def test_where_rows_cost_nothing_reading_again_does_not_either():
    doubtful = chain_of(*[0.5] * 12)
    counts = [policy_of(FLAT, replays=replays).count_worth_verifying(doubtful) for replays in (False, True)]
    assert counts[0] - counts[1] <= 1


def test_nothing_is_drafted_where_a_row_costs_what_a_pass_does():
    assert policy_of(LINEAR, replays=True).count_worth_verifying(chain_of(0.9, 0.9)) == 0


def test_the_next_pass_pays_for_the_rows_that_were_right_and_a_plain_one_settles_it():
    policy = policy_of(ROWS_AT_A_TENTH, replays=True)
    spent = []
    for tokens, rows in ((2, 5), (1, 4), (1, 1), (1, 1)):
        policy.observe_round(tokens, rows, 0.0, was_read=False)
        spent.append(policy.elapsed)
    passes = [spent[0], *(later - earlier for earlier, later in pairwise(spent))]
    # 5 rows; 4 and 2 that are read again; 1 and the 2 + 1 of both; 1 alone.
    assert passes == pytest.approx([1.4, 1.5, 1.3, 1.0])


def test_what_has_to_be_read_again_speaks_against_drafting_before_it_is_settled():
    chain = chain_of(*[0.55] * 6)
    policy = policy_of(ROWS_AT_A_TENTH, replays=True)
    before = policy.count_worth_verifying(chain)
    policy.observe_round(4, 6, 0.0, was_read=False)
    assert policy.count_worth_verifying(chain) < before


def test_no_draft_is_longer_than_what_can_be_taken_back():
    assert policy_of(FLAT, replays=False, longest=7).most(100) == 7
    assert policy_of(FLAT, replays=False, longest=7).most(4) == 3
