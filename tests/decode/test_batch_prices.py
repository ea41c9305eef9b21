"""What drafts cost beside other answers, and what of all of them is verified."""

from pathlib import Path

import pytest

from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.policy import Policy
from edgespec.session.shared.asked import Ask
from tests.session.shared import answer, figures, shared, user

COPIED = "the cat sat on the mat. the cat sat on the mat. the cat sat on the mat. the cat sat on"


def test_rows_of_several_answers_cost_what_they_do_if_all_have_as_many():
    costs = PairCosts(CostCurve({1: 15.0, 2: 20.0, 4: 28.0, 6: 40.0}))
    assert costs.share_s(2) == 10.0
    assert costs.passes(2, 3) == pytest.approx([0.0, 1.0, 1.4, 2.0])
    assert costs.passes(1, 2) == pytest.approx([0.0, 1.0, 20 / 15])


def test_a_policy_prices_rounds_with_others_and_then_alone_again():
    policy = Policy(PairCosts(CostCurve({1: 10.0, 2: 11.0, 4: 13.0, 8: 26.0})))
    alone = list(policy._passes)
    policy.join(4)
    assert policy._passes[:3] == [0.0, 1.0, 2.0]
    policy.charge(0.25)
    policy.observe_round(2, 3, 0.0, was_read=False)
    assert policy.elapsed == 1.5
    policy.join(1)
    assert policy._passes == alone


@pytest.mark.parametrize(
    ("rows", "drafts"),
    [
        ({1: 0.01, 16: 0.0101, 64: 0.0104}, True),
        ({1: 0.01, 3: 0.03, 4: 10.0, 16: 40.0}, False),
    ],
)
def test_answers_draft_beside_each_other_where_rows_are_cheap_and_only_there(
    tiny_model: Path, rows: dict[int, float], drafts: bool, monkeypatch: pytest.MonkeyPatch
):
    # What rounds take here is not what they are said to cost.
    monkeypatch.setattr(PairCosts, "observe_verify", lambda _costs, _rows, _seconds: None)
    with shared(tiny_model, "ngram", n_parallel=3) as session:
        session.engine.state.costs.verify = CostCurve(rows)
        asks = [Ask(number, user(f"{number}. {COPIED}"), max_tokens=60) for number in range(3)]
        answer(session, *asks)
        tested = sum(counts[0] for counts in figures(session).by_source.values())
    assert (tested > 10) if drafts else (tested == 0)
