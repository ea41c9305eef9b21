"""What the policy decides in single situations: costs, acceptance and the length of what is left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgespec.decode import policy as policy_module
from edgespec.decode.acceptance import Acceptance
from edgespec.decode.costs import PairCosts, curve_from
from edgespec.decode.ngram import NgramMatch
from edgespec.decode.policy import (
    MAX_DRAFT,
    MAX_MODEL_DRAFT,
    SMALL_CATCH_UP,
    WARM_UP_TOKENS,
    Kind,
    Mode,
    Policy,
)
from tests.decode.scripted import (
    CHEAP_DRAFT,
    FLAT,
    LINEAR,
    STAIRCASE,
    USUAL_DRAFT,
    Machine,
    fresh_tokens,
    script_of,
)

GOOD_MATCH = NgramMatch(start=5, length=20, agreed=True)
POOR_MATCH = NgramMatch(start=5, length=2, agreed=False)
SURE, UNSURE = 9.0, 0.1
MOST_WON_S = 5.0


def policy_of(
    verify: dict[int, float],
    draft: dict[int, float] | None = None,
    mode: Mode = Mode.AUTO,
    *,
    elapsed_tokens: int = 20,
    lead: float = SURE,
) -> Policy:
    """A policy in the middle of an answer of plain steps, where the target was as certain as `lead` says."""
    costs = PairCosts(curve_from(verify), curve_from(draft) if draft else None)
    policy = Policy(costs, Acceptance(), mode)
    policy.begin()
    for _ in range(elapsed_tokens):
        policy.certainty.add(lead)
        policy.observe_time(verify[1])
    return policy


@pytest.mark.parametrize("match", [None, POOR_MATCH, GOOD_MATCH])
@pytest.mark.parametrize("missing", [None, 1])
def test_nothing_is_drafted_where_every_row_costs_a_step(match: NgramMatch | None, missing: int | None):
    plan = policy_of(LINEAR, USUAL_DRAFT).choose(match, missing, 20, 100)
    assert (plan.kind, plan.count) == (Kind.PLAIN, 0)


def test_a_good_match_is_followed_far_where_rows_are_cheap():
    plan = policy_of(FLAT).choose(GOOD_MATCH, None, 20, 100)
    assert plan.kind is Kind.NGRAM
    assert plan.count >= 8


def test_a_poor_match_is_followed_less_far_than_a_good_one():
    good, poor = (policy_of(STAIRCASE).choose(match, None, 20, 100) for match in (GOOD_MATCH, POOR_MATCH))
    assert poor.count < good.count
    assert poor.rate < good.rate


def test_the_first_tokens_of_an_answer_follow_only_a_match_that_is_likely_to_hold():
    short_match = NgramMatch(start=5, length=2, agreed=True)
    policy = policy_of(STAIRCASE)
    kinds = {
        (match.length, done): policy.choose(match, None, done, 100).kind
        for match in (short_match, GOOD_MATCH)
        for done in (WARM_UP_TOKENS - 1, WARM_UP_TOKENS)
    }
    assert kinds[2, WARM_UP_TOKENS - 1] is Kind.PLAIN
    assert kinds[2, WARM_UP_TOKENS] is Kind.NGRAM
    assert kinds[20, WARM_UP_TOKENS - 1] is Kind.NGRAM


def test_once_a_match_has_won_the_first_tokens_follow_any():
    policy = policy_of(STAIRCASE)
    policy.observe_round(Kind.NGRAM, tokens=4, rows=4)
    assert policy.choose(NgramMatch(5, 2, True), None, WARM_UP_TOKENS - 1, 100).kind is Kind.NGRAM


def test_a_cheap_draft_that_agrees_is_used():
    assert policy_of(FLAT, CHEAP_DRAFT).choose(None, 1, 20, 100).kind is Kind.MODEL


def test_a_draft_is_not_asked_where_the_target_is_unsure_and_drafting_dear():
    dear = {1: 0.6, 8: 3.0}
    assert policy_of(STAIRCASE, dear, lead=UNSURE).choose(None, 1, 20, 100).kind is Kind.PLAIN


def test_the_better_of_match_and_draft_is_taken():
    policy = policy_of(FLAT, USUAL_DRAFT)
    assert policy.choose(GOOD_MATCH, 1, 20, 100).kind is Kind.NGRAM
    assert policy.choose(POOR_MATCH, 1, 20, 100).kind is Kind.MODEL


@pytest.mark.parametrize(
    ("mode", "kinds"),
    [
        (Mode.OFF, {Kind.PLAIN}),
        (Mode.NGRAM, {Kind.PLAIN, Kind.NGRAM}),
        (Mode.MODEL, {Kind.PLAIN, Kind.MODEL}),
        (Mode.AUTO, {Kind.NGRAM, Kind.MODEL}),
    ],
)
def test_a_mode_uses_only_what_it_names(mode: Mode, kinds: set[Kind]):
    policy = policy_of(FLAT, CHEAP_DRAFT, mode)
    plans = [policy.choose(match, missing, 20, 100) for match, missing in ((GOOD_MATCH, None), (None, 1))]
    assert {plan.kind for plan in plans} == kinds
    assert policy.drafts == (mode is not Mode.OFF)


@given(
    st.sampled_from([LINEAR, FLAT, STAIRCASE]),
    st.sampled_from([None, 1, 5, 100, 384]),
    st.sampled_from([None, GOOD_MATCH, POOR_MATCH]),
    st.integers(0, 40),
)
def test_a_plan_never_promises_less_than_plain_steps_nor_more_tokens_than_are_left(
    verify: dict[int, float], missing: int | None, match: NgramMatch | None, remaining: int
):
    plan = policy_of(verify, CHEAP_DRAFT).choose(match, missing, 20, remaining)
    assert plan.rate >= 1.0 / verify[1]
    assert plan.count <= min(max(remaining - 1, 0), MAX_DRAFT)
    if remaining < 2:
        assert plan.kind is Kind.PLAIN


def test_a_long_catch_up_is_paid_for_a_long_rest_and_refused_for_a_short_one():
    policy = policy_of(FLAT, USUAL_DRAFT, elapsed_tokens=75)
    kinds = {remaining: policy.choose(None, 30, 75, remaining).kind for remaining in (3, 5, 120)}
    assert kinds == {3: Kind.PLAIN, 5: Kind.PLAIN, 120: Kind.MODEL}


def test_after_a_loss_a_draft_of_that_kind_needs_a_better_promise():
    match = NgramMatch(start=5, length=6, agreed=False)
    kinds = {}
    for lost in (Kind.MODEL, Kind.NGRAM):
        policy = policy_of({1: 1.0, 2: 1.4, 16: 16.0}, elapsed_tokens=40)
        policy.ledger.book(lost, -0.3, MOST_WON_S)
        assert policy.ledger.stake_s(policy.costs.step_s) > 0.4, "it could be afforded"
        kinds[lost] = policy.choose(match, None, 20, 100).kind
        assert policy.choose(GOOD_MATCH, None, 20, 100).kind is Kind.NGRAM
    assert kinds == {Kind.MODEL: Kind.NGRAM, Kind.NGRAM: Kind.PLAIN}


def test_a_long_catch_up_waits_for_an_answer_that_can_bear_its_loss():
    """It costs 3.2 steps here: an answer that ends right after it may have lost 4.5 %."""
    kinds = {
        done: policy_of(FLAT, USUAL_DRAFT, elapsed_tokens=done).choose(None, 30, done, 200).kind
        for done in (20, 65, 75)
    }
    assert kinds == {20: Kind.PLAIN, 65: Kind.PLAIN, 75: Kind.MODEL}


def test_a_long_catch_up_that_promises_little_waits_longer(monkeypatch: pytest.MonkeyPatch):
    """This draft promises a tenth more speed, where SURE_GAIN asks for half as much again."""
    draft = {1: 0.5, 2: 0.5, 8: 0.6, 32: 1.2}

    def first_done() -> int:
        return next(
            done
            for done in range(WARM_UP_TOKENS, 1000)
            if policy_of(FLAT, draft, elapsed_tokens=done, lead=3.0).choose(None, 30, done, 1000).kind
            is Kind.MODEL
        )

    careful = first_done()
    monkeypatch.setattr(policy_module, "SURE_GAIN", 0.05)
    assert first_done() < careful


@pytest.mark.parametrize(
    ("tokens", "rows", "draft_rows", "won_s", "advanced_s"),
    [
        (1, 1, [], 0.0, 0.0),
        (3, 4, [], 1.9, 0.0),
        (1, 2, [], -0.05, 0.0),
        (2, 2, [1, 1], 0.45, 0.0),
        (2, 2, [8, 1], -0.5, 0.0),
        (2, 2, [32, 1], 0.7, 3.7),
    ],
)
def test_a_round_is_booked_at_what_it_should_have_cost(
    tokens: int, rows: int, draft_rows: list[int], won_s: float, advanced_s: float
):
    policy = policy_of(FLAT, USUAL_DRAFT)
    policy.observe_round(Kind.MODEL, tokens, rows, draft_rows)
    assert policy.ledger.won_s == pytest.approx(won_s)
    assert policy.ledger.advanced_s == pytest.approx(advanced_s)


def test_catch_ups_add_up():
    policy = policy_of(FLAT, USUAL_DRAFT, elapsed_tokens=100)
    assert policy.choose(None, 30, 100, 200).kind is Kind.MODEL
    policy.observe_round(Kind.MODEL, 1, 1, draft_rows=[30])
    assert policy.choose(None, 30, 100, 200).kind is Kind.PLAIN
    policy.observe_time(50.0)
    assert policy.choose(None, 30, 150, 200).kind is Kind.MODEL


def test_a_long_catch_up_may_be_paid_from_what_drafts_have_won():
    policy = policy_of(FLAT, USUAL_DRAFT, elapsed_tokens=20)
    assert policy.choose(None, 30, 20, 200).kind is Kind.PLAIN
    policy.ledger.book(Kind.MODEL, 3.0, MOST_WON_S)
    assert policy.choose(None, 30, 20, 200).kind is Kind.MODEL


def test_a_longer_catch_up_needs_more_to_be_left():
    policy = policy_of(FLAT, USUAL_DRAFT)
    assert policy.choose(None, 10, 20, 40).kind is Kind.MODEL
    assert policy.choose(None, 384, 20, 40).kind is Kind.PLAIN


def test_a_few_missing_tokens_are_not_a_reason_to_stay_away():
    assert policy_of(FLAT, USUAL_DRAFT).choose(None, SMALL_CATCH_UP, 20, 6).kind is Kind.MODEL


def test_the_model_waits_until_the_answer_has_shown_its_kind_unless_it_is_all_there_is():
    for done, mode, kind in (
        (WARM_UP_TOKENS - 1, Mode.AUTO, Kind.PLAIN),
        (WARM_UP_TOKENS, Mode.AUTO, Kind.MODEL),
        (1, Mode.MODEL, Kind.MODEL),
    ):
        assert policy_of(FLAT, CHEAP_DRAFT, mode).choose(None, 1, done, 100).kind is kind


def test_a_model_that_lost_its_stake_rests_until_plain_steps_have_earned_another():
    policy = policy_of(FLAT, CHEAP_DRAFT)
    policy.ledger.book(Kind.MODEL, -10.0, MOST_WON_S)
    rest = 0
    while policy.choose(None, 1, 20, 1000).kind is Kind.PLAIN:
        policy.observe_time(1.0)
        rest += 1
    assert rest > 50


def test_the_more_was_lost_the_longer_the_model_rests():
    rests = []
    for lost_s in (4.0, 8.0, 16.0):
        policy = policy_of(FLAT, CHEAP_DRAFT)
        policy.ledger.book(Kind.MODEL, -lost_s, MOST_WON_S)
        rests.append(0)
        while policy.choose(None, 1, 20, 1000).kind is Kind.PLAIN:
            policy.observe_time(1.0)
            rests[-1] += 1
    assert 0 < rests[0] < rests[1] < rests[2]


def test_a_model_that_wins_goes_on():
    policy = policy_of(FLAT, CHEAP_DRAFT)
    for done in range(20, 400, 4):
        policy.ledger.book(Kind.MODEL, 2.5, MOST_WON_S)
        policy.observe_time(1.5)
        assert policy.choose(None, 1, done, 1000).kind is Kind.MODEL


def test_long_winnings_cannot_all_be_lost_again():
    policy = policy_of(FLAT, CHEAP_DRAFT)
    for _ in range(100):
        policy.ledger.book(Kind.MODEL, 6.5, MOST_WON_S)
    policy.ledger.book(Kind.MODEL, -14.0, MOST_WON_S)
    assert policy.choose(None, 1, 20, 1000).kind is Kind.PLAIN


def test_a_match_is_followed_no_further_than_may_be_lost():
    """Each row costs 0.3 steps: a first draft risks little, and wins pay for longer ones."""
    copy = NgramMatch(start=5, length=44, agreed=True)
    policy = policy_of({1: 1.0, 2: 1.3, 16: 5.5})
    first = policy.choose(copy, None, 20, 100).count
    policy.ledger.book(Kind.MODEL, 5.0, MOST_WON_S)
    after_a_win = policy.choose(copy, None, 20, 100).count
    policy.ledger.book(Kind.MODEL, -19.0, MOST_WON_S)
    assert 0 < first < after_a_win
    assert policy.choose(copy, None, 20, 100).kind is Kind.PLAIN


def test_a_new_answer_begins_without_the_last_ones_record():
    policy = policy_of(FLAT, CHEAP_DRAFT)
    policy.ledger.book(Kind.MODEL, -49.0, MOST_WON_S)
    policy.begin()
    assert (policy.ledger.won_s, policy.ledger.elapsed_s, policy.certainty.recent) == (0.0, 0.0, 0.5)
    assert policy.choose(GOOD_MATCH, None, 20, 100).kind is Kind.NGRAM


def test_what_an_answer_showed_about_acceptance_outlives_it_and_fades():
    policy = policy_of(FLAT, CHEAP_DRAFT)
    before = policy.acceptance.of_lead(SURE)
    for _ in range(30):
        policy.count_guess(SURE, False)
    policy.begin()
    after = policy.acceptance.of_lead(SURE)
    for _ in range(40):
        policy.begin()
    assert after < before - 0.3
    assert policy.acceptance.of_lead(SURE) > before - 0.01


@pytest.mark.parametrize("acceptance", [0.5, 0.7, 0.9])
def test_where_rows_are_free_a_draft_is_worth_at_least_its_best_fixed_length(acceptance: float):
    policy = policy_of(FLAT, CHEAP_DRAFT)
    costs = policy.costs
    fixed = max(
        sum(acceptance**place for place in range(count + 1))
        / (count * costs.draft_step_s + costs.verify_s(count + 1))
        for count in range(1, MAX_MODEL_DRAFT + 1)
    )
    assert policy.model_rate(acceptance) > 0.9 * fixed * (1 - 1e-9)


def test_drafting_goes_on_while_the_draft_is_sure_and_stops_when_it_is_not():
    policy = policy_of(STAIRCASE, CHEAP_DRAFT)
    rate = policy.choose(None, 1, 20, 100).rate
    assert policy.keeps_drafting([SURE], rate, 100)
    assert not policy.keeps_drafting([SURE, SURE, SURE, UNSURE, UNSURE], rate, 100)


@pytest.mark.parametrize(("remaining", "most"), [(100, MAX_MODEL_DRAFT), (4, 3), (2, 1)])
def test_no_more_is_drafted_than_fits(remaining: int, most: int):
    policy = policy_of(FLAT, CHEAP_DRAFT)
    leads = [SURE]
    while policy.keeps_drafting(leads, 1.5, remaining):
        leads.append(SURE)
    assert len(leads) == most


def test_drafted_tokens_that_became_doubtful_are_not_verified_where_rows_are_dear():
    policy = policy_of(STAIRCASE, CHEAP_DRAFT)
    assert policy.n_worth_verifying([SURE, SURE, SURE, UNSURE, UNSURE, UNSURE], 1.5) == 3
    assert policy.n_worth_verifying([UNSURE], 1.0) == 0
    assert policy.n_worth_verifying([], 1.0) == 0


@given(st.lists(st.floats(0.0, 12.0), max_size=8), st.floats(0.2, 5.0))
def test_a_cut_keeps_a_beginning_of_the_draft(leads: list[float], rate: float):
    assert 0 <= policy_of(STAIRCASE, CHEAP_DRAFT).n_worth_verifying(leads, rate) <= len(leads)


@given(st.sampled_from([LINEAR, FLAT, STAIRCASE]), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_more_acceptance_never_promises_less(verify: dict[int, float], one: float, other: float):
    policy = policy_of(verify, USUAL_DRAFT)
    low, high = sorted((one, other))
    assert policy.model_rate(low) <= policy.model_rate(high)


def test_a_staircase_makes_it_verify_in_batches_of_four():
    """Two, three and four rows all cost what four do; one draft is as long as the step is wide."""
    done = Machine({1: 1.0, 2: 1.7, 3: 2.2, 4: 1.5, 5: 4.0, 16: 16.0}, CHEAP_DRAFT).play(
        script_of(fresh_tokens(80), lead=2.5)
    )
    assert {batch for _, batch in done.target.passes} == {1, 4}
    assert sum(len(tokens) == 4 for tokens, _ in done.target.passes) > 10


def test_a_draft_shorter_than_the_stair_is_padded_to_it():
    """The text ends before a whole draft would."""
    done = Machine(STAIRCASE, CHEAP_DRAFT, Mode.MODEL).play(script_of(fresh_tokens(4)))
    rows, batch = len(done.target.passes[0][0]), done.target.passes[0][1]
    assert (rows, batch) == (3, 4)


def test_costs_observed_while_running_change_the_choice():
    policy = policy_of(FLAT)
    assert policy.choose(GOOD_MATCH, None, 20, 100).kind is Kind.NGRAM
    for _ in range(100):
        for rows in (2, 4, 8, 16):
            policy.costs.observe_verify(rows, float(rows))
        policy.costs.observe_verify(1, 1.0)
    assert policy.choose(GOOD_MATCH, None, 20, 100).kind is Kind.PLAIN
