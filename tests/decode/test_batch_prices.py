"""What drafts cost beside other answers, and what of all of them is verified."""

from pathlib import Path

import pytest

from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.policy import Policy
from edgespec.session.shared.asked import Ask
from tests.session.shared import answer, figures, shared, user

COPIED = "the cat sat on the mat. the cat sat on the mat. the cat sat on the mat. the cat sat on"


def test_a_row_is_priced_by_what_it_adds_at_least():
    costs = PairCosts(CostCurve({1: 15.0, 2: 20.0, 3: 28.0, 4: 30.0}))
    assert costs.share_s(2) == 10.0
    assert costs.row_price(2, 4) == pytest.approx(0.5)
    assert costs.row_price(2, 3) == pytest.approx(0.8)
    assert costs.row_price(4, 4) == pytest.approx(4.0)


def test_the_last_round_of_several_answers_leaves_no_price_to_one_alone():
    policy = Policy(PairCosts(CostCurve({1: 10.0, 2: 11.0, 4: 13.0})))
    alone = list(policy._passes)
    policy.join(4, 3.0)
    assert policy._passes[:4] == [0.0, 1.0, 4.0, 7.0]
    policy.join(1, 0.0)
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
