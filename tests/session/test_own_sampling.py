"""The model's own sampling: taken where nobody says, the same text whatever drafts, and no business of a benchmark."""

from pathlib import Path

import pytest

from edgespec.bench.speculative import BenchSettings
from edgespec.llama.sampler import Sampling
from edgespec.llama.sampling_wish import SamplingWish, settle_sampling
from edgespec.session import open_pair
from edgespec.session.shared.asked import Ask
from tests.session.eager import draft_eagerly
from tests.session.shared import EXACT, answer, shared, user
from tests.tiny import CHAT_TEMPLATE, make_tiny_model

OWN = {"temp": 0.75, "top_k": 30, "penalty_repeat": 1.5}
WANTED = Sampling(temperature=0.75, top_k=30, repeat_penalty=1.5)
TEXT = "the cat sat on the mat. the cat sat on the mat. the cat sat on"


@pytest.fixture(scope="module")
def own_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "own.gguf"
    return make_tiny_model(path, chat_template=CHAT_TEMPLATE, sampling=OWN)


def text_of(path: Path, draft: str | Path, sampling: Sampling | SamplingWish | None) -> tuple[str, int]:
    with open_pair(path, draft) as session:
        stream = session.stream(TEXT, max_tokens=60, sampling=sampling)
        return "".join(token.text for token in stream), session.stats.draft_n


@pytest.mark.parametrize(
    ("asked", "settled"),
    [
        (None, WANTED),
        (SamplingWish(), WANTED),
        (SamplingWish(temperature=0.0, seed=3), Sampling(top_k=30, repeat_penalty=1.5, seed=3)),
        (Sampling(), Sampling()),
    ],
)
def test_what_is_not_asked_for_is_the_models_own(
    asked: Sampling | SamplingWish | None, settled: Sampling, own_model: Path
) -> None:
    assert settle_sampling(asked, WANTED) == settled
    assert text_of(own_model, "none", asked) == text_of(own_model, "none", settled)


def test_the_text_is_the_same_whatever_drafts(own_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, _ = text_of(own_model, "none", None)
    draft_eagerly(monkeypatch)
    drafted, draft_n = text_of(own_model, own_model, None)
    assert (drafted, draft_n > 10) == (plain, True)
    assert plain != text_of(own_model, "none", Sampling())[0]


def test_callers_of_a_shared_pair_have_it_too(own_model: Path) -> None:
    with shared(own_model, "none", settings=EXACT) as session:
        assert session.own_sampling == WANTED
        asks = [
            Ask(number, user(TEXT), max_tokens=40, sampling=sampling)
            for number, sampling in enumerate(
                (SamplingWish(seed=4), Sampling(0.75, 30, repeat_penalty=1.5, seed=4))
            )
        ]
        ears = [answer(session, ask).written[ask.id, 0].text for ask in asks]
    assert ears[0] == ears[1]


def test_a_model_that_says_nothing_is_greedy(tiny_model: Path) -> None:
    with open_pair(tiny_model, "none") as session:
        assert session.own_sampling == Sampling()


def test_a_benchmark_measures_what_it_measured() -> None:
    assert BenchSettings().sampling == Sampling()


def test_wishes_are_laid_over_each_other() -> None:
    below, above = SamplingWish(temperature=0.5, seed=1), SamplingWish(temperature=0.0)
    assert below.under(above) == SamplingWish(temperature=0.0, seed=1)
    assert above.given == {"temperature": 0.0}
