from dataclasses import replace

import pytest

from edgespec.errors import ConfigError, UsageError
from edgespec.paths import tunes_dir
from edgespec.tune.outcome import Candidate, TuneOutcome, is_worth_keeping, load_outcome, ranked, save_outcome

PLAIN = Candidate("as published", "none", None, None, 20.0, 1.0, 20.0, 1.0, 0.0, 1.0)
UNTUNED = Candidate("as published", "small", 0.7, 0.2, 26.0, 1.3, 25.0, 1.25, 0.01, 1.0, is_untuned=True)
TUNED = Candidate("Q4_0", "small, 32k words", 0.7, 0.3, 33.0, 1.65, 32.0, 1.6, 0.02, 1.1, kl=0.06)
GUESSED = Candidate("Q4_0", "other", 0.7, 0.3, 60.0, 3.0)


def _outcome(*candidates: Candidate) -> TuneOutcome:
    return TuneOutcome("big", "", candidates, 0, "so", 100.0, 1200.0)


def test_measured_candidates_come_before_promises():
    assert ranked([GUESSED, PLAIN, TUNED, UNTUNED]) == [TUNED, UNTUNED, PLAIN, GUESSED]


def test_only_what_beats_the_untuned_pair_is_kept():
    assert is_worth_keeping(_outcome(TUNED, UNTUNED, PLAIN))
    assert not is_worth_keeping(_outcome(UNTUNED, PLAIN))
    assert not is_worth_keeping(_outcome(PLAIN, GUESSED))
    hardly = replace(TUNED, measured_speedup=1.26)
    assert not is_worth_keeping(_outcome(hardly, UNTUNED, PLAIN))


def test_an_outcome_comes_back_by_the_name_of_target_and_pair():
    outcome = replace(_outcome(TUNED, UNTUNED), pair="big-tuned")
    save_outcome(outcome)
    assert load_outcome("big") == outcome
    assert load_outcome("big-tuned") == outcome
    with pytest.raises(UsageError, match="bigg"):
        load_outcome("bigg")
    (tunes_dir() / "big.json").write_text("{}")
    with pytest.raises(ConfigError):
        load_outcome("big")
