"""Who is measured in the end, on what, and what is loaded for it."""

from pathlib import Path

import pytest

from edgespec.catalog.metadata import read_metadata
from edgespec.decode.policy import Mode
from edgespec.errors import ModelMissingError
from edgespec.paths import derived_models_dir
from edgespec.session.fast_draft import SHORTLIST_KEY
from edgespec.session.memory_needs import TARGET_ROWS
from edgespec.tune.finalists import choose_finalists, choose_prompts, confirm_s, loaded_finalists
from edgespec.tune.outcome import Candidate
from edgespec.tune.predictions import CandidatePrediction
from edgespec.tune.questions import SPARED_CATEGORIES
from edgespec.tune.recordings import ANSWER_TOKENS
from edgespec.tune.timing import TimedDraft, TimedTarget
from edgespec.tune.variants import PUBLISHED, DraftVariant, ShortlistSettings, TargetVariant
from tests.tune.made_up import asked, timed_draft, timed_target

STEP_S = {1: 0.1, 16: 1.6}
ENDLESS_S = 1e9
PROMPTS = asked(30, 40, 20, 900, categories=("chat", "extract", "edit", "long-context"))


def _prediction(
    draft: str, speedup: float, target: str = PUBLISHED, *, is_untuned: bool = False
) -> CandidatePrediction:
    mode = {"none": Mode.OFF, "ngram": Mode.NGRAM}.get(draft, Mode.AUTO)
    candidate = Candidate(target, draft, None, None, 10.0 * speedup, speedup, is_untuned=is_untuned)
    small = timed_draft(STEP_S, draft) if mode is Mode.AUTO else None
    return CandidatePrediction(candidate, timed_target(STEP_S, target), small, mode)


FAST = [_prediction(f"fast {number}", 2.0 - number / 10, "Q4_0") for number in range(5)]
PLAIN_Q4 = _prediction("none", 1.4, "Q4_0")
UNTUNED = _prediction("usual", 1.3, is_untuned=True)
PLAIN = _prediction("none", 1.0)
SLOW = _prediction("slow", 0.9)
ALL = [*FAST, PLAIN_Q4, UNTUNED, PLAIN, SLOW]


def test_those_that_promise_most_meet_plain_decoding_and_what_auto_does():
    assert choose_finalists(ALL, 3, ENDLESS_S, PROMPTS) == [PLAIN, UNTUNED, *FAST[:3]]


def test_plain_decoding_of_a_rewritten_target_is_not_a_finalist():
    chosen = choose_finalists(ALL, 20, ENDLESS_S, PROMPTS)
    assert PLAIN_Q4 not in chosen
    assert chosen == [PLAIN, UNTUNED, *FAST, SLOW]


def test_what_auto_does_is_there_once_even_if_it_promises_most():
    best = _prediction("best", 3.0, is_untuned=True)
    assert choose_finalists([best, *FAST, PLAIN], 2, ENDLESS_S, PROMPTS) == [PLAIN, best, *FAST[:2]]


def test_a_proof_costs_the_reading_and_answering_of_all_of_its_prompts_and_the_loading():
    # By hand: 30 and 50 prompt tokens at 1.6 s for 16 rows, twice 96 tokens at 10 tok/s; 6 s to load.
    two = asked(30, 50)
    assert confirm_s([PLAIN], two) == pytest.approx(80 * 0.1 + 2 * 9.6 + 6.0)
    # A draft for the same target, twice as fast at answering: the target reads once for both.
    twice = _prediction("twice", 2.0)
    assert confirm_s([PLAIN, twice], two) == pytest.approx(80 * 0.1 + 2 * (9.6 + 4.8) + 12.0)
    # One for another target, which reads for itself.
    assert confirm_s([PLAIN, FAST[0]], two) == pytest.approx(2 * 80 * 0.1 + 2 * (9.6 + 4.8) + 12.0)


def test_with_little_time_those_that_promise_least_are_left_out():
    four = confirm_s([PLAIN, UNTUNED, *FAST[:2]], PROMPTS)
    chosen = choose_finalists(ALL, 3, four / 0.9 + 1.0, PROMPTS)
    assert chosen == [PLAIN, UNTUNED, *FAST[:2]]


def test_three_are_measured_even_when_there_is_no_time_left():
    assert choose_finalists(ALL, 3, -5.0, PROMPTS) == [PLAIN, UNTUNED, FAST[0]]


@pytest.mark.parametrize("n_spared", [0, 1, 2, 3])
def test_with_less_time_long_texts_are_spared_first_and_then_what_copies_its_prompt(n_spared: int):
    chosen = [PLAIN, UNTUNED, FAST[0]]
    kept = PROMPTS[: len(PROMPTS) - n_spared]
    left_s = confirm_s(chosen, kept) / 0.9 + 1.0
    assert choose_prompts(chosen, left_s, PROMPTS) == kept


def test_other_kinds_are_answered_even_when_there_is_no_time_left():
    prompts = asked(30, 40, 20, categories=("chat", "code", "edit"))
    assert choose_prompts([PLAIN], -5.0, prompts) == prompts[:2]
    assert not {"chat", "code"} & set(SPARED_CATEGORIES)


# Loading, on tiny models


def _loadable(target: TimedTarget, draft: TimedDraft | None, mode: Mode) -> CandidatePrediction:
    label = draft.variant.label if draft else str(mode)
    return CandidatePrediction(
        Candidate(target.variant.label, label, None, None, 10.0, 1.0), target, draft, mode
    )


@pytest.fixture
def pairs(tiny_model: Path, tiny_draft: Path) -> list[CandidatePrediction]:
    """Plain decoding, and two variants of a draft for one target."""
    target = TimedTarget(TargetVariant(PUBLISHED, tiny_model), timed_target(STEP_S).curve, pads=False)
    whole = DraftVariant("whole", "small", tiny_draft, "published")
    listed = DraftVariant("listed", "small", tiny_draft, "shortlist", shortlist=ShortlistSettings(64))
    curve = timed_draft(STEP_S).curve
    return [
        _loadable(target, None, Mode.OFF),
        *(_loadable(target, TimedDraft(one, curve, pads=False), Mode.AUTO) for one in (whole, listed)),
    ]


def _files() -> list[Path]:
    return sorted(derived_models_dir().rglob("*finalist*"))


def test_finalists_of_one_target_share_its_engine_and_drafts_are_loaded_as_they_would_be_saved(
    pairs: list[CandidatePrediction],
):
    with loaded_finalists(pairs, PROMPTS, 1) as (plain, whole, listed):
        assert plain.engine is whole.engine is listed.engine
        assert (plain.mode, plain.draft) == (Mode.OFF, None)
        assert (whole.mode, whole.draft, listed.draft) == (Mode.AUTO, "whole", "listed")
        assert whole.state.costs.draft is not None
        assert plain.state.costs.draft is None
        longest = max(len(one.tokens) for one in PROMPTS)
        assert plain.engine.target.context.n_ctx >= longest + ANSWER_TOKENS + TARGET_ROWS
        assert [SHORTLIST_KEY in read_metadata(path).fields for path in _files()] == [False, True]
    assert _files() == []


def test_two_searches_at_once_have_files_of_their_own(pairs: list[CandidatePrediction]):
    with loaded_finalists(pairs, PROMPTS, 1), loaded_finalists(pairs, PROMPTS, 1):
        assert len(_files()) == 4
    assert _files() == []


def test_the_files_of_finalists_are_gone_when_something_fails(pairs: list[CandidatePrediction]):
    with pytest.raises(KeyboardInterrupt), loaded_finalists(pairs, PROMPTS, 1):
        assert len(_files()) == 2
        raise KeyboardInterrupt
    assert _files() == []


def test_the_files_of_finalists_are_gone_when_the_next_one_cannot_be_loaded(
    pairs: list[CandidatePrediction], tmp_path: Path
):
    missing = DraftVariant("missing", "small", tmp_path / "missing.gguf", "published")
    broken = _loadable(pairs[0].target, TimedDraft(missing, timed_draft(STEP_S).curve, pads=False), Mode.AUTO)
    with (
        pytest.raises(ModelMissingError, match=r"missing\.gguf"),
        loaded_finalists([*pairs, broken], PROMPTS, 1),
    ):
        pass
    assert _files() == []
