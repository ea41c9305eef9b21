"""The sentence that says whether speculation was on, and why."""

import pytest

from edgespec.decode.policy import Mode
from edgespec.decode.token import DraftSource, GenerationStats
from edgespec.session.explain import explain, receipt


def stats(**by_source: tuple[int, int]) -> GenerationStats:
    return GenerationStats(by_source={DraftSource(name): counts for name, counts in by_source.items()})


@pytest.mark.parametrize(
    ("mode", "draft", "counts", "sentence"),
    [
        (Mode.OFF, "small", {}, "speculation off: as asked"),
        (Mode.AUTO, "small", {"model": (9, 7)}, "speculation on: 7 of 9 tokens from small accepted"),
        (
            Mode.AUTO,
            "small",
            {"model": (9, 7), "ngram": (4, 4)},
            "speculation on: 7 of 9 tokens from small accepted, 4 of 4 tokens from the text itself accepted",
        ),
        (
            Mode.NGRAM,
            None,
            {"ngram": (4, 0)},
            "speculation on: 0 of 4 tokens from the text itself accepted",
        ),
        (
            Mode.NGRAM,
            None,
            {},
            "speculation off: nothing in the text repeated itself enough to pay",
        ),
        (
            Mode.AUTO,
            None,
            {},
            "speculation off: no draft model on disk, and the text did not repeat itself enough to pay",
        ),
        (
            Mode.AUTO,
            "small",
            {},
            "speculation off: at this text's acceptance small would cost more than it brings",
        ),
    ],
)
def test_the_sentence_follows_from_what_was_tested(
    mode: Mode, draft: str | None, counts: dict[str, tuple[int, int]], sentence: str
):
    assert explain(mode, draft, stats(**counts)) == sentence


def test_a_memory_that_makes_wrong_drafts_dear_is_part_of_the_reason():
    for mode, draft in ((Mode.NGRAM, None), (Mode.AUTO, None), (Mode.AUTO, "little")):
        plain, dear = (explain(mode, draft, stats(), replays=replays) for replays in (False, True))
        assert dear == (
            f"{plain} (this model's memory goes back only to where a draft began, and what was right in a wrong one "
            "is read again)"
        )


@pytest.mark.parametrize(
    ("deviation", "said"),
    [
        (0.06, " 1.50x plain (estimated) "),
        (0.3, " ~1.5x plain (roughly: other programs are busy, passes vary by 30%) "),
    ],
)
def test_a_factor_from_a_busy_machine_says_so(deviation: float, said: str):
    answer = GenerationStats(
        predicted_n=31, decode_s=2.0, draft_n=20, draft_n_accepted=12, target_passes=18, plain_step_s=0.1
    )
    answer.pass_deviation = deviation
    assert said in receipt(answer)
