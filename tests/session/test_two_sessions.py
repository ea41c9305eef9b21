"""Two sessions in two threads of one process: each writes what it writes alone, whatever the other does."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

import pytest

from edgespec.llama.quantizer import QuantizeSettings, quantize_file
from edgespec.llama.sampler import Sampling
from edgespec.session import Session, open_pair
from edgespec.tune.variants import DraftVariant, ShortlistSettings, write_draft
from tests.session.eager import draft_eagerly
from tests.threads import run_together
from tests.tiny import TinyShape, make_tiny_model

ANSWERS = int(os.environ.get("THREADS_ROUNDS", "200")) // 20
"""Of each session; each takes about 25 decodes of the target and 100 of the draft."""
TOKENS = 48
SHAPE = TinyShape(embedding=256, heads=4, kv_heads=2, feed_forward=256)
VOCABULARIES = (512, 2048)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    """Targets, and drafts in Q4_0 with lists of their own of the tokens that they may guess."""
    folder = tmp_path_factory.mktemp("sessions")
    found = []
    for seed, n_vocab in enumerate(VOCABULARIES):
        target = make_tiny_model(
            folder / f"target-{n_vocab}.gguf", shape=SHAPE, vocab_size=n_vocab, seed=seed
        )
        noisy = make_tiny_model(folder / "noisy.gguf", shape=SHAPE, vocab_size=n_vocab, seed=seed, noise=0.05)
        small, draft = folder / "small.gguf", folder / f"draft-{n_vocab}.gguf"
        quantize_file(noisy, small, QuantizeSettings("Q4_0", "Q4_0", "Q4_0", pure=True), n_threads=1)
        words = ShortlistSettings(n_vocab // 4, extra=(n_vocab - 1,))
        write_draft(DraftVariant("short", "tiny", small, "shortlist", shortlist=words), draft)
        found.append((target, draft))
    return found


@pytest.fixture
def sessions(
    pairs: list[tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Session, Session]]:
    draft_eagerly(monkeypatch)
    with open_pair(*pairs[0]) as one, open_pair(*pairs[1]) as other:
        assert one.engine.drafts["draft-512"].context.shortlist is not None
        yield one, other


def answers(session: Session, n_answers: int) -> list[str]:
    """Texts of a session, every third drawn at random; the prompts come from a seed."""
    random, texts = Random(session.engine.target.model.n_vocab), list[str]()
    for number in range(n_answers):
        prompt = " ".join(random.choices(("the", "cat", "and", "hat", "sat", "on", "mat", "7"), k=9))
        sampling = Sampling(temperature=0.8, seed=number) if number % 3 == 2 else Sampling()
        session.forget()
        tokens = session.stream(prompt, max_tokens=TOKENS, sampling=sampling)
        texts.append("".join(token.text for token in tokens))
        assert session.stats.draft_n > 10
    return texts


def test_two_sessions_in_two_threads_write_what_they_write_alone(sessions: tuple[Session, Session]):
    works = [partial(answers, session, ANSWERS) for session in sessions]
    alone = [work() for work in works]
    assert alone[0] != alone[1]
    assert run_together(works) == alone


def test_sessions_are_opened_and_closed_beside_one_that_answers(
    sessions: tuple[Session, Session], pairs: list[tuple[Path, Path]]
):
    alone = answers(sessions[0], ANSWERS)

    def open_and_close() -> list[str]:
        for _ in range(3):
            with open_pair(*pairs[1]) as session:
                list(session.stream("the cat", max_tokens=5))
        return []

    together, _ = run_together([partial(answers, sessions[0], ANSWERS), open_and_close])
    assert together == alone
