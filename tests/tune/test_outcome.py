"""What a search comes to: the order, the winner, the verdict, and the file."""

import json
from dataclasses import replace

import pytest

from edgespec.errors import ConfigError, UsageError
from edgespec.paths import tunes_dir
from edgespec.tune.outcome import (
    SCHEMA,
    Candidate,
    TuneOutcome,
    conclude,
    find_winner,
    is_worth_saving,
    load_outcome,
    ranked,
    save_outcome,
    verdict_of,
)

PLAIN = Candidate("as published", "none", None, None, 20.0, 1.0, 20.0, 1.0, 0.0, 1.0)
UNTUNED = Candidate("as published", "small", 0.7, 0.2, 26.0, 1.3, 25.0, 1.25, 0.01, 1.0, is_untuned=True)
TUNED = Candidate("Q4_0", "small, 32k words", 0.7, 0.3, 33.0, 1.65, 32.0, 1.6, 0.02, 1.1, kl=0.06)
GUESSED = Candidate("Q4_0", "other", 0.7, 0.3, 60.0, 3.0)


def _outcome(*candidates: Candidate) -> TuneOutcome:
    return TuneOutcome("big", "", candidates, 0, "so", 100.0, 1200.0)


def test_measured_candidates_come_before_promises():
    assert ranked([GUESSED, PLAIN, TUNED, UNTUNED]) == [TUNED, UNTUNED, PLAIN, GUESSED]


def test_the_winner_is_the_first_that_loses_in_no_category():
    losing = replace(TUNED, lowest_category=0.9)
    hardly_losing = replace(TUNED, lowest_category=0.99)
    assert find_winner([losing, UNTUNED, PLAIN]) is UNTUNED
    assert find_winner([hardly_losing, UNTUNED, PLAIN]) is hardly_losing


def test_where_everything_loses_somewhere_plain_decoding_wins():
    losing = [replace(one, lowest_category=0.5) for one in (TUNED, UNTUNED)]
    assert find_winner([*losing, PLAIN, GUESSED]) is PLAIN


def test_what_was_not_measured_does_not_win():
    assert find_winner([GUESSED, PLAIN]) is PLAIN


def test_the_outcome_has_all_candidates_in_order_and_the_place_of_the_winner():
    losing = replace(TUNED, lowest_category=0.9)
    outcome = conclude("big", [GUESSED, PLAIN, losing, UNTUNED], 100.0, 1200.0, ["chat-3", "code-3"])
    assert outcome.candidates == (losing, UNTUNED, PLAIN, GUESSED)
    assert (outcome.winner, outcome.best) == (1, UNTUNED)
    assert (outcome.target, outcome.pair, outcome.seconds, outcome.budget_s) == ("big", "", 100.0, 1200.0)
    assert outcome.verdict == verdict_of(UNTUNED, outcome.candidates)
    assert outcome.proof == ("chat-3", "code-3")
    assert outcome.proof_note == "proved on 2 prompts that the search never saw"


@pytest.mark.parametrize(
    ("best", "others", "verdict"),
    [
        (PLAIN, [GUESSED], "nothing beats plain decoding of the published file here"),
        (
            UNTUNED,
            [PLAIN],
            "target as published, draft small: 1.25x plain decoding of the published file; "
            "that is what auto does without tuning",
        ),
        (
            TUNED,
            [UNTUNED, PLAIN],
            "target Q4_0, draft small, 32k words: 1.60x plain decoding of the published file, "
            "1.28x what auto does without tuning; its text is that of Q4_0, KL 0.060 from the published file",
        ),
        (
            replace(TUNED, draft="ngram", target="as published", kl=None),
            [PLAIN],
            "target as published, n-gram drafts: 1.60x plain decoding of the published file",
        ),
    ],
)
def test_the_verdict_says_what_the_winner_is_worth(best: Candidate, others: list[Candidate], verdict: str):
    assert verdict_of(best, [best, *others]) == verdict


def test_only_what_beats_the_untuned_pair_is_saved():
    assert is_worth_saving(_outcome(TUNED, UNTUNED, PLAIN))
    assert not is_worth_saving(_outcome(UNTUNED, PLAIN))
    assert not is_worth_saving(_outcome(PLAIN, GUESSED))
    hardly = replace(TUNED, measured_speedup=1.26)
    assert not is_worth_saving(_outcome(hardly, UNTUNED, PLAIN))


def test_an_untuned_pair_that_is_slower_than_plain_decoding_makes_nothing_worth_saving():
    slow, hardly = replace(UNTUNED, measured_speedup=0.9), replace(TUNED, measured_speedup=1.01)
    assert not is_worth_saving(_outcome(hardly, PLAIN, slow))


def test_an_outcome_comes_back_by_the_name_of_target_and_pair():
    outcome = replace(_outcome(TUNED, UNTUNED), pair="big-tuned", proof=("chat-3", "code-3"))
    save_outcome(outcome)
    assert load_outcome("big") == outcome
    assert load_outcome("big-tuned") == outcome
    with pytest.raises(UsageError, match="bigg"):
        load_outcome("bigg")
    (tunes_dir() / "big.json").write_text("{}")
    with pytest.raises(ConfigError):
        load_outcome("big")


def test_an_outcome_of_before_proofs_were_recorded_says_nothing_of_one():
    save_outcome(_outcome(TUNED, UNTUNED))
    file = tunes_dir() / "big.json"
    document = json.loads(file.read_text())
    del document["proof"]
    file.write_text(json.dumps(document))
    assert load_outcome("big").proof_note == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"schema": "edgespec.tune/99"}',
        f'{{"schema": "{SCHEMA}"}}',
        f'{{"schema": "{SCHEMA}", "target": 3, "candidates": "none"}}',
    ],
)
def test_a_file_that_holds_no_outcome_is_named(text: str):
    tunes_dir().mkdir(parents=True)
    file = tunes_dir() / "m.json"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_outcome("m")
    assert str(file) in caught.value.message


def test_an_outcome_of_a_later_version_is_named_and_stays():
    file = save_outcome(_outcome(TUNED, UNTUNED))
    later = file.read_text().replace(SCHEMA, "edgespec.tune/99")
    file.write_text(later)
    with pytest.raises(ConfigError, match=r"edgespec\.tune/99") as caught:
        load_outcome("big")
    assert str(file) in caught.value.message
    assert file.read_text() == later
