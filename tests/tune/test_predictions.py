"""Predictions: against figures that can be computed by hand, and the table of all combinations on tiny models."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgespec.decode.policy import Mode
from edgespec.tune.draft_variants import published_variants
from edgespec.tune.predictions import CandidatePrediction, PredictionTable, predict
from edgespec.tune.request import TuneRequest
from edgespec.tune.timing import TimedDraft
from edgespec.tune.variants import PUBLISHED, DraftVariant, ShortlistSettings, TargetVariant
from tests.recorded_progress import RecordedProgress
from tests.tune.made_up import (
    guesses,
    recording,
    timed_draft,
    timed_target,
    tune_request,
)

pytestmark = pytest.mark.usefixtures("few_and_short_answers")

FLAT = {1: 1.0, 16: 1.0}
"""A target whose passes cost a second, whatever their rows."""
STEEP = {1: 1.0, 16: 16.0}
QUICK = {1: 0.01, 400: 0.01}
ANSWER = recording(range(100, 120))
"""20 tokens without repetition: nothing for n-grams."""


def test_plain_decoding_takes_a_step_for_every_token_but_the_first():
    found = predict(timed_target({1: 0.25, 16: 4.0}), None, [ANSWER], None, Mode.OFF, plain_step_s=0.25)
    assert found.predicted_tok_per_s == pytest.approx(4.0)
    assert found.predicted_speedup == pytest.approx(1.0)
    assert (found.target, found.draft) == (PUBLISHED, "none")
    assert (found.acceptance, found.draft_step_share, found.kl) == (None, None, None)


def test_a_target_of_twice_the_speed_is_worth_twice_the_published_one():
    found = predict(timed_target({1: 0.5, 16: 8.0}, "Q4_0", kl=0.06), None, [ANSWER], None, Mode.OFF, 1.0)
    assert found.predicted_speedup == pytest.approx(2.0)
    assert (found.target, found.kl, found.top1_agreement) == ("Q4_0", 0.06, 0.9)


def test_a_draft_that_is_always_right_brings_what_the_costs_say():
    # The first token comes with the prompt. Fifteen are drafted in as many passes of 0.01 s, and a pass of 1 s verifies them
    # and brings the next one; then there are three to come: two drafted ones, and one of the pass that verifies these.
    seconds = (15 + 2) * 0.01 + 2 * 1.0
    found = predict(timed_target(FLAT), timed_draft(QUICK), [ANSWER], [guesses(ANSWER)], Mode.AUTO, 1.0)
    assert found.predicted_tok_per_s == pytest.approx(19 / seconds)
    assert found.acceptance == 1.0
    assert found.draft_step_share == pytest.approx(0.01)
    assert found.draft == "small, Q4_0"


def test_the_costs_of_verifying_and_drafting_are_those_of_the_variants():
    # Sixteen rows cost 1.15 s, three 1.02 s, and a pass of the draft 0.03 s.
    target, draft = timed_target({1: 1.0, 3: 1.02, 16: 1.15}), timed_draft({1: 0.03, 400: 0.03})
    found = predict(target, draft, [ANSWER], [guesses(ANSWER)], Mode.AUTO, plain_step_s=3.0)
    assert found.predicted_speedup == pytest.approx(3.0 * 19 / (1.15 + 1.02 + 17 * 0.03))


def test_a_draft_that_is_never_right_costs_next_to_nothing():
    answer = recording(range(100, 300))
    wrong = guesses(answer, lambda _place: False)
    found = predict(timed_target(FLAT), timed_draft(QUICK), [answer] * 3, [wrong] * 3, Mode.AUTO, 1.0)
    assert found.acceptance == 0.0
    assert 0.95 < found.predicted_speedup <= 1.0


def test_where_every_row_costs_a_step_a_perfect_draft_gains_nothing():
    found = predict(timed_target(STEEP), timed_draft(QUICK), [ANSWER], [guesses(ANSWER)], Mode.AUTO, 1.0)
    assert found.predicted_speedup == pytest.approx(1.0, abs=0.02)


def test_acceptance_is_the_mean_over_answers_of_what_is_guessed_right():
    half, none = guesses(ANSWER, lambda place: place % 2 == 0), guesses(ANSWER, lambda _place: False)
    found = predict(timed_target(STEEP), timed_draft(QUICK), [ANSWER] * 2, [half, none], Mode.AUTO, 1.0)
    assert found.acceptance == pytest.approx(0.25)


def test_drafts_from_the_text_gain_where_it_repeats_itself_and_only_there():
    phrase = list(range(500, 520))
    target = timed_target(FLAT)
    copying = predict(target, None, [recording(phrase * 4, phrase)], None, Mode.NGRAM, 1.0)
    fresh = predict(target, None, [ANSWER], None, Mode.NGRAM, 1.0)
    assert (copying.draft, fresh.draft) == ("ngram", "ngram")
    assert copying.predicted_speedup > 3.0
    assert fresh.predicted_speedup == pytest.approx(1.0)


def test_the_speed_over_several_answers_is_the_geometric_mean():
    phrase = list(range(500, 520))
    target, both = timed_target(FLAT), [recording(phrase * 4, phrase), ANSWER]
    rates = [predict(target, None, [one], None, Mode.NGRAM, 1.0).predicted_tok_per_s for one in both]
    # The answers are far apart, so that what is learnt from one is nothing to the other.
    together = predict(target, None, both[::-1], None, Mode.NGRAM, 1.0).predicted_tok_per_s
    assert together == pytest.approx((rates[0] * rates[1]) ** 0.5, rel=0.02)


# The table, on tiny models


@pytest.fixture
def request_(tiny_model: Path, tiny_draft: Path) -> TuneRequest:
    return tune_request(tiny_model, tiny_draft)


def _by_draft(
    predictions: list[CandidatePrediction], target: str = PUBLISHED
) -> dict[str, CandidatePrediction]:
    return {one.candidate.draft: one for one in predictions if one.candidate.target == target}


def test_every_target_variant_meets_every_draft_variant_plain_decoding_and_the_text(
    request_: TuneRequest, tiny_draft: Path
):
    with PredictionTable(request_) as table:
        table.add_target(TargetVariant(PUBLISHED, request_.target.path))
        table.add_target(TargetVariant("other", tiny_draft))
        for variant in published_variants(request_.drafts[0], table.answers.fit):
            table.add_draft(variant)
        found = table.predict()
    drafts = {"none", "ngram", "tiny-draft, F32", "tiny-draft, Q4_0"}
    assert {(one.candidate.target, one.candidate.draft) for one in found} == {
        (target, draft) for target in (PUBLISHED, "other") for draft in drafts
    }
    speedups = [one.speedup for one in found]
    assert speedups == sorted(speedups, reverse=True)
    assert _by_draft(found)["none"].speedup == pytest.approx(1.0)
    assert [one.candidate.draft for one in found if one.candidate.is_untuned] == ["tiny-draft, Q4_0"]
    assert all(one.target.variant.is_published for one in found if one.candidate.is_untuned)


def test_without_small_models_drafts_from_the_text_are_what_auto_does(tiny_model: Path):
    request = tune_request(tiny_model)
    with PredictionTable(request) as table:
        table.add_target(TargetVariant(PUBLISHED, tiny_model))
        table.add_draft(DraftVariant("itself", "tiny", tiny_model, "pruned"))
        found = table.predict()
    assert [one.candidate.draft for one in found if one.candidate.is_untuned] == ["ngram"]
    # A draft that is the target is always right, up to ties.
    assert (_by_draft(found)["itself"].candidate.acceptance or 0.0) > 0.97


def test_all_shortlists_of_a_file_are_read_at_once_and_only_once(request_: TuneRequest):
    small = request_.drafts[0]
    progress = RecordedProgress()
    whole = DraftVariant("whole", small.name, small.path, "published")
    few = replace(whole, label="few", shortlist=ShortlistSettings(8))
    with PredictionTable(request_, progress) as table:
        table.add_target(TargetVariant(PUBLISHED, request_.target.path))
        table.add_draft(whole)
        table.add_draft(few)
        found = _by_draft(table.predict())
        table.predict()
    n_held_out = len(table.answers.held_out)
    assert [label for label in progress.labels if label.startswith("guessing")] == ["guessing with whole"]
    assert progress.find("guessing with whole") == [(n_held_out, n_held_out)]
    assert (found["few"].candidate.acceptance or 0.0) < (found["whole"].candidate.acceptance or 0.0)


def test_a_target_variant_is_judged_by_the_published_answers_until_it_has_its_own(
    request_: TuneRequest, tiny_draft: Path
):
    # A "rewritten target" that is the draft itself: on its own answers the draft is right everywhere.
    other = TargetVariant("other", tiny_draft)
    with PredictionTable(request_) as table:
        table.add_target(TargetVariant(PUBLISHED, request_.target.path))
        table.add_target(other)
        table.add_draft(DraftVariant("small", "tiny-draft", tiny_draft, "published"))
        before = table.predict()
        table.record_answers(other)
        after = table.predict()
    borrowed, own = (_by_draft(found, "other")["small"].candidate.acceptance for found in (before, after))
    assert borrowed == _by_draft(before)["small"].candidate.acceptance
    assert (own or 0.0) > 0.97 > (borrowed or 0.0)
    assert _by_draft(after)["small"].candidate.acceptance == borrowed


def test_a_cheaper_draft_promises_no_less(request_: TuneRequest, tiny_draft: Path):
    with PredictionTable(request_) as table:
        table.add_target(TargetVariant(PUBLISHED, request_.target.path))
        table.add_draft(DraftVariant("small", "tiny-draft", tiny_draft, "published"))
        found = _by_draft(table.predict())["small"]
        assert isinstance(found.draft, TimedDraft)
        as_it_is = table.speedup_at(1.0, found.draft)
        for_nothing = table.speedup_at(0.001, found.draft)
    assert as_it_is == pytest.approx(found.speedup)
    # Who decides by expectation may have bad luck with a single answer: a percent or two, whatever the draft costs.
    assert for_nothing > 0.98 * as_it_is
