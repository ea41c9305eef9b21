"""What the policy decides in single situations: costs, chances and the length of what is left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgespec.decode.chain import Chain
from edgespec.decode.costs import CostCurve, PairCosts, row_share
from edgespec.decode.draft_length import best_token_s
from edgespec.decode.drafters.contract import Guess, Quote
from edgespec.decode.fixed_policy import FixedPolicy
from edgespec.decode.policy import (
    BUDGET_SHARE,
    BUDGET_STEPS,
    MAX_DRAFT,
    TOKEN_TRUST,
    Mode,
    Policy,
)
from edgespec.decode.token import DraftSource
from tests.decode.policies import policy_of, readable, step_plainly
from tests.decode.scripted import (
    CHEAP_DRAFT,
    FLAT,
    LINEAR,
    STAIRCASE,
    Machine,
    fresh_tokens,
    script_of,
)
from tests.decode.scripted_drafter import reading_of

CURVES = {"linear": LINEAR, "flat": FLAT, "staircase": STAIRCASE}
curves = st.sampled_from(list(CURVES.values()))
chances = st.lists(st.floats(0.01, 0.99), min_size=1, max_size=MAX_DRAFT)


def chain_of(*guessed: float) -> Chain:
    """Guesses that hold with these chances."""
    chain = Chain()
    chain.extend([Guess(number, DraftSource.MODEL, chance, ()) for number, chance in enumerate(guessed)])
    return chain


def lose(policy: Policy, steps: float) -> None:
    """A round that cost so many plain steps more than it brought."""
    policy.observe_round(1, 1, steps * policy.costs.step_s, was_read=True)


# How far


def best_by_hand(verify: dict[int, float], quote: Quote, done: Chain) -> tuple[int, float]:
    """The count and the gain over the best stop so far by trying all of them, in an answer of plain steps so far."""
    costs = PairCosts(CostCurve(verify))
    worth = TOKEN_TRUST
    stop = max(worth * gained - costs.verify_s(kept + 1) for kept, gained in enumerate(done.gained))
    reach, gained, values = done.reach, done.gained[-1], []
    for count, chance in enumerate(quote.chances, 1):
        reach *= chance
        gained += reach
        cost = costs.verify_s(len(done.guesses) + count + 1) + quote.first_s + (count - 1) * quote.next_s
        values.append((worth * gained - cost - stop, count))
    best, count = max(values, key=lambda pair: (pair[0], -pair[1]))
    return count, best


@given(curves, chances, st.lists(st.floats(0.3, 0.99), max_size=4), st.floats(0.0, 0.3))
def test_what_is_promised_is_what_trying_every_length_gives(
    verify: dict[int, float], quoted: list[float], before: list[float], step_s: float
):
    chain, quote = chain_of(*before), Quote(quoted[: MAX_DRAFT - len(before)], step_s, step_s)
    found = policy_of(verify).weigh(chain, quote)
    count, gain = best_by_hand(verify, quote, chain)
    # Behind a chance of 0.05 nothing is looked at: that many tokens can be missed.
    assert gain - 0.05 * MAX_DRAFT <= found.gain <= gain + 1e-9
    assert found.count <= len(list(quote.chances))
    if min(quoted) > 0.9:
        assert (found.count, found.gain) == (count, pytest.approx(gain))


def test_a_sure_quote_is_followed_far_where_rows_are_cheap_and_not_at_all_where_they_are_not():
    quote = Quote((0.95,) * MAX_DRAFT, 0.0, 0.0)
    assert policy_of(FLAT).weigh(Chain(), quote).count == MAX_DRAFT
    assert policy_of(LINEAR).weigh(Chain(), quote).gain < 0.0


def test_a_doubtful_quote_is_followed_less_far_than_a_sure_one():
    policy = policy_of(FLAT)
    counts = [
        policy.weigh(Chain(), Quote((chance,) * MAX_DRAFT, 0.05, 0.05)).count for chance in (0.3, 0.6, 0.95)
    ]
    assert counts == sorted(set(counts))


@pytest.mark.parametrize("step_s", [0.0, 0.1], ids=["text", "model"])
def test_a_stair_is_looked_past(step_s: float):
    """One guess and two lose against none; where the second row is paid for, the others are nearly free."""
    policy = policy_of({1: 1.0, 2: 2.6, 16: 2.8})
    for most in (1, 2):
        assert policy.weigh(Chain(), Quote((0.85,) * most, step_s, step_s)).gain < 0.0
    found = policy.weigh(Chain(), Quote((0.85,) * MAX_DRAFT, step_s, step_s))
    assert found.gain > 0.0
    assert found.count > 6


def test_a_chain_goes_on_over_a_stair_only_where_what_is_behind_it_pays():
    """After four rows the fifth costs 1.5 steps: only a sure continuation is worth that."""
    policy, chain = policy_of(STAIRCASE), chain_of(0.95, 0.95, 0.95)
    assert policy.weigh(chain, Quote((0.6,) * 12, 0.0, 0.0)).gain < 0.0
    assert policy.weigh(chain, Quote((0.99,) * 12, 0.0, 0.0)).gain > 0.0


def test_what_is_drafted_already_is_not_paid_for_twice():
    """The gain is that over the best place to stop, which may lie before the chain's end."""
    policy = policy_of(STAIRCASE)
    doubtful = chain_of(0.9, 0.9, 0.9, 0.1)
    assert policy.count_worth_verifying(doubtful) == 3
    assert policy.weigh(doubtful, Quote((0.9,), 0.0, 0.0)).gain < 0.0


@pytest.mark.parametrize(
    ("guessed", "count"),
    [((), 0), ((0.1,), 0), ((0.9, 0.9, 0.9), 3), ((0.9, 0.9, 0.9, 0.1, 0.1), 3), ((0.9,), 1)],
    ids=["nothing", "one that is doubtful", "all", "a sure beginning", "one that is sure"],
)
def test_of_what_was_drafted_goes_to_the_target_what_is_worth_its_rows(
    guessed: tuple[float, ...], count: int
):
    """On a staircase: a single row beside the first is padded to four, which cost 1.5 steps."""
    assert policy_of(STAIRCASE).count_worth_verifying(chain_of(*guessed)) == count


@given(curves, st.lists(st.floats(0.01, 0.99), max_size=MAX_DRAFT))
def test_what_goes_to_the_target_is_a_beginning_worth_at_least_a_plain_step(
    verify: dict[int, float], guessed: list[float]
):
    policy, chain = policy_of(verify), chain_of(*guessed)
    count = policy.count_worth_verifying(chain)
    assert 0 <= count <= len(guessed)
    worth = [
        TOKEN_TRUST * gained - policy.costs.verify_s(kept + 1) for kept, gained in enumerate(chain.gained)
    ]
    assert worth[count] == pytest.approx(max(worth))
    assert worth[count] >= worth[0]


def test_where_tokens_have_become_cheap_less_is_worth_a_guess():
    """Once drafts bring four tokens a step, a token is worth a quarter of one."""
    policy = policy_of({1: 1.0, 16: 2.0}, CHEAP_DRAFT)
    quotes = [Quote((chance,) * MAX_DRAFT, 0.05, 0.05) for chance in (0.5, 0.97)]
    doubtful, sure = (policy.weigh(Chain(), quote) for quote in quotes)
    for _ in range(50):
        policy.observe_round(8, 4, 0.2, was_read=False)
    doubtful_later, sure_later = (policy.weigh(Chain(), quote) for quote in quotes)
    assert doubtful.gain > 0.0 > doubtful_later.gain
    assert sure.count > sure_later.count > 1


# What may be lost


def test_the_first_token_of_an_answer_may_draft():
    policy = policy_of(FLAT)
    assert policy.most(100) == MAX_DRAFT
    assert policy.weigh(Chain(), Quote((0.9,) * MAX_DRAFT, 0.25, 0.25)).gain > 0.0
    assert readable(policy, reading_of(0.3, 1.0), done=1)


def test_where_a_plain_step_is_not_known_one_is_taken_first():
    """What drafts bring is counted in plain steps: a measurement in a bad moment would look like a gain for ever."""
    policy = policy_of()
    policy.costs.doubt()
    assert policy.most(100) == 0
    policy.costs.observe_verify(1, 1.0)
    assert policy.most(100) == MAX_DRAFT


@pytest.mark.parametrize(("remaining", "most"), [(0, -1), (1, 0), (2, 1), (16, 15), (1000, MAX_DRAFT)])
def test_no_more_is_drafted_than_the_answer_has_room_for(remaining: int, most: int):
    assert policy_of().most(remaining) == most


def test_after_a_loss_of_three_steps_nothing_is_drafted_until_a_hundredth_of_the_time_has_made_up_for_it():
    policy = policy_of(FLAT)
    lose(policy, BUDGET_STEPS + 0.5)
    rests = []
    for _ in range(200):
        rests.append(policy.most(1000) == 0)
        step_plainly(policy, 1)
    assert sum(rests) == pytest.approx(0.5 / BUDGET_SHARE, abs=5)
    assert rests == sorted(rests, reverse=True)


def test_a_loss_below_the_budget_stops_nothing():
    policy = policy_of(FLAT)
    lose(policy, BUDGET_STEPS - 0.2)
    assert policy.most(1000) == MAX_DRAFT


def test_what_was_won_may_be_lost_again_but_not_all_of_it_when_it_was_much():
    winner = policy_of(FLAT)
    for _ in range(100):
        winner.observe_round(8, 8, 0.5, was_read=True)
    budget = winner.budget
    assert 2 * BUDGET_STEPS < budget < 2 * BUDGET_STEPS + 0.05 * 800
    lose(winner, budget + 0.1)
    assert winner.most(1000) == 0


@pytest.mark.parametrize(
    ("tokens", "rows", "drafts_s", "won", "elapsed"),
    [(1, 1, 0.0, 0.0, 1.0), (3, 4, 0.0, 1.9, 1.1), (1, 2, 0.0, -0.05, 1.05), (2, 2, 1.5, -0.55, 2.55)],
    ids=["a plain step", "three of four", "none of one", "after a reading"],
)
def test_a_round_is_booked_at_what_it_should_have_cost(
    tokens: int, rows: int, drafts_s: float, won: float, elapsed: float
):
    policy = policy_of(FLAT)
    policy.observe_round(tokens, rows, drafts_s, was_read=False)
    assert (policy.tokens, policy.won, policy.elapsed) == (tokens, pytest.approx(won), pytest.approx(elapsed))


def test_a_new_answer_begins_without_the_last_ones_record():
    policy = policy_of(FLAT)
    lose(policy, 50.0)
    for _ in range(40):
        policy.observe_round(4, 8, 0.0, was_read=False)
    policy.begin()
    assert (policy.won, policy.elapsed, policy.tokens) == (0.0, 0.0, 0.0)
    assert policy.budget == BUDGET_STEPS
    assert readable(policy, reading_of(0.5, 1.5))


# Costs


@given(curves, st.integers(-10, 10), chances)
def test_the_speed_of_the_machine_makes_no_difference(
    verify: dict[int, float], doublings: int, quoted: list[float]
):
    """A second is worth what is done in it: with everything twice as fast the choice is the same."""
    found = []
    for scale in (1.0, 2.0**doublings):
        policy = policy_of({rows: scale * cost for rows, cost in verify.items()})
        extension = policy.weigh(Chain(), Quote(quoted, 0.25 * scale, 0.125 * scale))
        found.append((extension.count, extension.gain))
    assert found[0] == found[1]


def test_costs_that_moved_are_let_in_within_eight_rounds():
    policy = policy_of(FLAT)
    quote = Quote((0.7,) * MAX_DRAFT, 0.0, 0.0)
    before = policy.weigh(Chain(), quote)
    for _ in range(30):
        policy.costs.observe_verify(1, 1.0)
        for rows in (2, 4, 8, 16):
            policy.costs.observe_verify(rows, FLAT[rows] * 2.0 ** row_share(rows))
    step_plainly(policy, 7)
    assert policy.weigh(Chain(), quote) == before
    step_plainly(policy, 1)
    after = policy.weigh(Chain(), quote)
    assert 0.0 < after.gain < before.gain - 0.5
    assert after.count < before.count


def test_a_staircase_makes_it_verify_in_batches_of_four():
    """Two, three and four rows all cost what four do; one draft is as long as the step is wide."""
    done = Machine({1: 1.0, 2: 1.7, 3: 2.2, 4: 1.5, 5: 4.0, 16: 16.0}, CHEAP_DRAFT).play(
        script_of(fresh_tokens(80), lead=2.5)
    )
    assert {batch for _, batch in done.target.passes} <= {1, 4}
    assert sum(len(tokens) == 4 for tokens, _ in done.target.passes) > 10


def test_a_draft_shorter_than_the_stair_is_padded_to_it():
    """The text ends before a whole draft would."""
    done = Machine(STAIRCASE, CHEAP_DRAFT, Mode.MODEL).play(script_of(fresh_tokens(4)))
    rows, batch = len(done.target.passes[0][0]), done.target.passes[0][1]
    assert (rows, batch) == (3, 4)


# The best fixed length


@given(curves, st.sampled_from([0.01, 0.1, 0.3, 1.0]), st.floats(0.0, 1.0))
def test_a_token_costs_with_the_best_fixed_length_what_the_best_of_all_gives(
    verify: dict[int, float], step_s: float, acceptance: float
):
    costs = PairCosts(CostCurve(verify))
    tried = [
        (length * step_s + costs.verify_s(length + 1)) / sum(acceptance**place for place in range(length + 1))
        for length in range(1, MAX_DRAFT + 1)
    ]
    assert best_token_s(costs, step_s, acceptance, MAX_DRAFT) == pytest.approx(min(tried), rel=0.06)


@given(curves, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_more_acceptance_never_promises_less(verify: dict[int, float], one: float, other: float):
    costs = PairCosts(CostCurve(verify))
    low, high = sorted((one, other))
    assert best_token_s(costs, 0.2, high, MAX_DRAFT) <= best_token_s(costs, 0.2, low, MAX_DRAFT) * (1 + 1e-9)


def test_a_fixed_length_is_drafted_whole_and_verified_whole():
    policy = FixedPolicy(PairCosts(CostCurve(LINEAR)), 4)
    assert [policy.most(remaining) for remaining in (100, 5, 3, 1)] == [4, 4, 2, 0]
    assert policy.weigh(chain_of(0.01), Quote((0.01,), 9.0, 9.0)).gain > 0.0
    assert policy.count_worth_verifying(chain_of(0.01, 0.01)) == 2
