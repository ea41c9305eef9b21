import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgespec.bench.summary import (
    arm_in_category,
    has_figures,
    paired_ratio,
    summarize_arm,
    unsteady_samples,
)
from edgespec.errors import EdgespecError
from tests.bench.runs import DRAFTED, answers, arm, plain_arm, sample

rate_tables = st.dictionaries(
    st.sampled_from(["chat-1", "chat-2", "code-1", "edit-1"]),
    st.lists(st.floats(0.1, 1e3), min_size=1, max_size=4),
    min_size=1,
)


def test_the_rate_is_the_geometric_mean_over_prompts_of_the_median_over_repeats() -> None:
    rates = {"chat-1": (1.0, 4.0, 99.0), "code-1": (16.0, 16.0, 2.0)}
    plain = answers(rates)
    assert summarize_arm("plain", None, plain, plain).tok_per_s == pytest.approx(8.0)


def test_the_speedup_pairs_answers_of_the_same_prompt_and_repeat() -> None:
    # The machine halves its speed in the second repeat; the ratio within each repeat stays 1.5.
    plain = answers({"chat-1": (10.0, 5.0), "code-1": (20.0, 10.0)})
    fast = answers({"chat-1": (15.0, 7.5), "code-1": (30.0, 15.0)})
    found = summarize_arm("auto", None, fast, plain)
    assert found.speedup == pytest.approx(1.5)
    assert found.speedup_sd == pytest.approx(0.0, abs=1e-12)
    assert found.tok_per_s_sd > 1.0


def test_plain_decoding_is_one_without_error_even_in_a_single_answer() -> None:
    plain = [sample(7.0)]
    found = summarize_arm("plain", None, plain, plain)
    assert (found.speedup, found.speedup_sd) == (1.0, 0.0)
    assert found.by_category["chat"].speedup == 1.0
    assert math.isnan(found.tok_per_s_sd)


def test_acceptance_and_length_are_sums_over_all_answers_and_not_means_of_ratios() -> None:
    one = sample(10.0, draft_n=10, draft_n_accepted=9, predicted_n=11, target_passes=5)
    two = sample(10.0, repeat=1, draft_n=90, draft_n_accepted=41, predicted_n=101, target_passes=95)
    found = summarize_arm("ngram", None, [one, two], [])
    assert found.acceptance == pytest.approx(50 / 100)
    assert found.mean_accepted_len == pytest.approx((10 + 100) / 100)


def test_an_arm_that_never_drafted_has_no_acceptance_and_one_token_a_pass() -> None:
    assert plain_arm().acceptance is None
    assert plain_arm().mean_accepted_len == 1.0
    assert plain_arm().accept_rate_per_position == ()


def test_acceptance_by_position_adds_up_answers_of_different_depth() -> None:
    shallow = sample(10.0, accepted_per_position=((1, 2),))
    deep = sample(10.0, repeat=1, accepted_per_position=((2, 2), (1, 4), (0, 0)))
    found = summarize_arm("ngram", None, [shallow, deep], [])
    assert found.accept_rate_per_position == pytest.approx((3 / 4, 1 / 4))


def test_shares_of_time_are_of_decoding_time() -> None:
    found = summarize_arm("auto", None, [sample(10.0, **DRAFTED)], [])  # 10 s of decoding
    assert found.draft_time_share == pytest.approx(0.10)
    assert found.verify_time_share == pytest.approx(0.40)
    assert found.policy_time_share == pytest.approx(0.05)


def test_categories_hold_their_own_prompts_alone() -> None:
    found = arm("ngram", {"chat-1": 1.0, "edit-1": 2.0})
    assert list(found.by_category) == ["chat", "edit"]
    assert found.by_category["edit"].speedup == pytest.approx(2.0, rel=0.02)
    assert found.by_category["chat"].tok_per_s == pytest.approx(10.0, rel=0.02)


def test_a_category_has_the_interval_of_its_own_prompts() -> None:
    plain = answers({"chat-1": (10.0, 10.0, 10.0), "edit-1": (10.0, 10.0, 10.0)})
    slow = answers({"chat-1": (9.3, 9.4, 9.5), "edit-1": (8.0, 9.5, 12.0)})
    found = summarize_arm("auto", None, slow, plain)
    chat, edit = found.by_category["chat"], found.by_category["edit"]
    assert (chat.speedup, edit.speedup) == (pytest.approx(0.94), pytest.approx(0.95))
    assert chat.speedup_low < chat.speedup < chat.speedup_high < 1.0 < edit.speedup_high
    assert (chat.is_slower, edit.is_slower) == (True, False)
    assert found.speedup_low < found.speedup < found.speedup_high


def test_a_single_answer_has_no_interval_and_is_never_slower_for_sure() -> None:
    found = summarize_arm("auto", None, [sample(5.0)], [sample(10.0)])
    assert math.isnan(found.by_category["chat"].speedup_high)
    assert not found.by_category["chat"].is_slower


def test_an_arm_within_a_category_agrees_with_the_figures_by_category() -> None:
    whole = arm("ngram", {"chat-1": 1.1, "edit-1": 1.9})
    part = arm_in_category(whole, "edit", plain_arm())
    assert part.speedup == pytest.approx(whole.by_category["edit"].speedup)
    assert part.tok_per_s == pytest.approx(whole.by_category["edit"].tok_per_s)
    assert (part.speedup_low, part.speedup_high) == (
        whole.by_category["edit"].speedup_low,
        whole.by_category["edit"].speedup_high,
    )
    assert {s.category for s in part.samples} == {"edit"}


def test_interrupted_and_one_token_answers_are_kept_and_count_nowhere() -> None:
    good = sample(10.0)
    cut = sample(99.0, prompt_id="chat-2", stopped="interrupted")
    short = sample(99.0, prompt_id="chat-3", predicted_n=1)
    found = summarize_arm("auto", None, [good, cut, short], [good, cut, short])
    assert found.tok_per_s == pytest.approx(10.0)
    assert found.speedup == pytest.approx(1.0)
    assert len(found.samples) == 3


def test_an_arm_without_a_single_rate_is_an_error_that_names_it() -> None:
    with pytest.raises(EdgespecError, match="'auto'") as caught:
        summarize_arm("auto", None, [sample(1.0, predicted_n=1)], [])
    assert "`max_tokens`" in caught.value.hint
    assert not has_figures([sample(1.0, predicted_n=1), sample(1.0, stopped="interrupted")])
    assert has_figures([sample(1.0, predicted_n=1), sample(1.0)])


def test_without_plain_answers_the_speedup_is_unknown() -> None:
    assert math.isnan(summarize_arm("auto", None, [sample(10.0)], []).speedup)


def test_an_answer_that_something_disturbed_is_found_among_the_repeats() -> None:
    rates = {f"chat-{i}": (10.0 + 0.1 * i, 10.1 + 0.1 * i, 10.05 + 0.1 * i) for i in range(6)}
    rates["chat-3"] = (10.3, 3.0, 10.35)
    assert [(s.prompt_id, s.repeat) for s in unsteady_samples(answers(rates))] == [("chat-3", 1)]


def test_prompts_of_different_speed_are_not_a_disturbance() -> None:
    rates = {"chat-1": (10.0, 10.1, 9.9), "code-1": (40.0, 40.4, 39.6), "edit-1": (90.0, 91.0, 89.0)}
    assert unsteady_samples(answers(rates)) == ()


@given(rate_tables)
def test_anything_against_itself_is_one(rates: dict[str, list[float]]) -> None:
    assert paired_ratio(answers(rates), answers(rates)).value == pytest.approx(1.0)


@given(rate_tables, st.floats(0.1, 10.0))
def test_a_constant_factor_is_found_whatever_the_rates(rates: dict[str, list[float]], factor: float) -> None:
    fast = answers({prompt: [x * factor for x in repeated] for prompt, repeated in rates.items()})
    found = summarize_arm("auto", None, fast, answers(rates))
    assert found.speedup == pytest.approx(factor)
    for figures in found.by_category.values():
        assert figures.speedup == pytest.approx(factor)


@given(rate_tables)
def test_the_order_of_answers_does_not_matter(rates: dict[str, list[float]]) -> None:
    forward, base = answers(rates), answers({prompt: [1.0] * 4 for prompt in rates})
    one, other = paired_ratio(forward, base), paired_ratio(forward[::-1], base)
    assert one.value == pytest.approx(other.value)
    assert one.sd == pytest.approx(other.sd, nan_ok=True)
