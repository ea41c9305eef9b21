"""A pair for many callers: everybody gets the text of plain decoding, whoever asks beside them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from edgespec.llama.sampler import Sampling
from edgespec.llama.slots import Part, Slots
from edgespec.session import DraftType
from edgespec.session.shared.asked import Ask, Cancel, EndReason
from tests.session.eager import draft_eagerly
from tests.session.shared import EXACT, Ear, alone, answer, figures, finish, shared, user

PROMPTS = (
    "the cat and the hat",
    "the cat sat on the mat. the cat sat on the mat. the cat sat on",
    "1 2 3 4 5 6 7 8",
    "a long story: " + "once upon a time there was a cat, and " * 6,
    "the cat and the dog",
)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    draft_eagerly(monkeypatch)


def asks(count: int = 40, sampling: Sampling | None = None) -> list[Ask]:
    return [
        Ask(number, user(prompt), max_tokens=count, sampling=sampling or Sampling())
        for number, prompt in enumerate(PROMPTS)
    ]


@pytest.mark.parametrize("draft", ["none", "ngram", "tiny-draft", "tiny-bpe"])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.8, seed=5, repeat_penalty=1.1)])
def test_everybody_gets_the_text_of_plain_decoding(
    eager: None, tiny_model: Path, tiny_draft: Path, tiny_bpe: Path, draft: str, sampling: Sampling
):
    files = {"tiny-draft": tiny_draft, "tiny-bpe": tiny_bpe}
    wanted = asks(sampling=sampling)
    plain = [alone(tiny_model, ask) for ask in wanted]
    with shared(tiny_model, files.get(draft, draft)) as session:
        ear = answer(session, *wanted)
        assert [ear.written[ask.id, 0].tokens for ask in wanted] == plain
        drafted = sum(counts[0] for counts in figures(session).by_source.values())
    assert (drafted > 10) == (draft in files)


def test_an_answer_is_told_as_it_comes_and_ends_with_its_figures(tiny_model: Path):
    with shared(tiny_model, "none") as session:
        ear = answer(session, Ask(7, user("the cat"), max_tokens=12))
    written = ear.written[7, 0]
    assert written.ended
    assert written.ended.reason is EndReason.LENGTH
    stats = written.ended.stats
    assert (stats.predicted_n, stats.prompt_n, ear.began[7].cached_n) == (12, ear.began[7].prompt_n, 0)
    assert len(written.tokens) == 12
    assert stats.why == "speculation off: as asked"


def test_what_is_submitted_is_computed_with_the_next_step_only(tiny_model: Path):
    with shared(tiny_model, "none") as session:
        assert session.is_idle
        session.submit(Ask(1, user("the cat"), max_tokens=3))
        assert not session.is_idle
        assert session.engine.target.context.cells.used_n == 0


def test_a_cancelled_answer_is_told_no_more_and_gives_its_place_to_the_next(tiny_model: Path):
    with shared(tiny_model, "none", n_parallel=1) as session:
        session.submit(Ask(1, user("the cat"), max_tokens=100))
        session.submit(Ask(2, user("the dog"), max_tokens=5))
        ear = Ear()
        for _ in range(10):
            ear.hear(session.step())
        assert (1, 0) in ear.written
        assert 2 not in ear.began
        before = len(ear.written[1, 0].tokens)
        session.submit(Cancel(1))
        ear.hear(session.step())
        assert 2 in ear.began
        finish(session, ear)
        assert len(ear.written[1, 0].tokens) == before
        assert ear.written[1, 0].ended is None
        assert len(ear.written[2, 0].tokens) == 5


def test_a_question_that_is_cancelled_before_it_is_taken_in_is_never_answered(tiny_model: Path):
    with shared(tiny_model, "none") as session:
        session.submit(Ask(1, user("the cat"), max_tokens=5))
        session.submit(Cancel(1))
        session.submit(Ask(2, user("the cat"), max_tokens=5))
        session.submit(Cancel(3))
        session.submit(Ask(3, user("the cat"), max_tokens=5))
        ear = finish(session)
    assert set(ear.began) == {2, 3}


@pytest.mark.parametrize("draft", ["ngram", "tiny-draft"])
def test_random_comings_and_goings_change_no_text(
    eager: None, tiny_model: Path, tiny_draft: Path, draft: str
):
    random = Random(3)
    plain: dict[str, list[int]] = {}
    with shared(tiny_model, tiny_draft if draft == "tiny-draft" else draft, n_parallel=3) as session:
        ear, live, sent = Ear(), dict[int, str](), dict[int, str]()
        cancelled = set[int]()
        for number in range(60):
            prompt = random.choice(PROMPTS)
            sent[number] = live[number] = prompt
            session.submit(Ask(number, user(prompt), max_tokens=random.randrange(1, 30)))
            for _ in range(random.randrange(8)):
                ear.hear(session.step())
            if random.random() < 0.2:
                gone = random.choice(list(live))
                cancelled.add(gone)
                session.submit(Cancel(gone))
        finish(session, ear)
        found = figures(session)
        assert (found.answering_n, found.waiting_n) == (0, 0)
    for number, prompt in sent.items():
        if prompt not in plain:
            plain[prompt] = alone(tiny_model, Ask(0, user(prompt), max_tokens=30))
        written = ear.written.get((number, 0))
        if number not in cancelled:
            assert written and written.ended and written.ended.reason is EndReason.LENGTH
        if written:
            assert written.tokens == plain[prompt][: len(written.tokens)]


def test_a_conversation_reads_only_what_is_new_and_another_one_does_not_disturb_it(tiny_model: Path):
    with shared(tiny_model, "none", n_parallel=1) as session:
        context = session.engine.target.context
        talks = {1: user("tell me of cats"), 2: user("tell me of cats and dogs")}
        for turn in range(4):
            for talk, messages in talks.items():
                ask = Ask(10 * turn + talk, messages, max_tokens=8)
                ear = answer(session, ask)
                began, written = ear.began[ask.id], ear.written[ask.id, 0]
                if turn:
                    # The answer's own text may be cut into other tokens when it is read back.
                    assert began.prompt_n - began.cached_n <= 40
                talks[talk] = (
                    *messages,
                    replace(messages[0], role="assistant", content=written.text),
                    replace(messages[0], content="more"),
                )
        assert figures(session).cells_used_n <= context.cells.count


def test_several_choices_read_their_prompt_once_and_draw_with_seeds_of_their_own(tiny_model: Path):
    sampling = Sampling(temperature=1.0, seed=40)
    with shared(tiny_model, "none") as session:
        ear = answer(session, Ask(1, user(PROMPTS[3]), max_tokens=10, n_choices=6, sampling=sampling))
        found = figures(session)
        prompt_n = ear.began[1].prompt_n
        assert found.prompt_n == 6 * prompt_n
        assert found.cached_n == 5 * (prompt_n - 1)
        texts = [tuple(ear.written[1, number].tokens) for number in range(6)]
        assert len(set(texts)) == 6
        for number in (0, 3):
            one = Ask(9, user(PROMPTS[3]), max_tokens=10, sampling=replace(sampling, seed=40 + number))
            assert list(texts[number]) == alone(tiny_model, one)


def test_guesses_for_several_answers_come_from_the_same_passes_of_the_draft(
    eager: None, tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    passes: list[int] = []
    decode = Slots.decode

    def watched(context: Slots, parts: Sequence[Part], pad_to: int = 0) -> int:
        if context.model.path == tiny_draft:
            passes.append(len(parts))
        return decode(context, parts, pad_to)

    monkeypatch.setattr(Slots, "decode", watched)
    settings = replace(EXACT, draft_type=DraftType.AS_IS)
    with shared(tiny_model, tiny_draft, settings=settings, n_parallel=3) as session:
        ear = answer(session, *asks()[:3])
    tested = [ear.written[number, 0].ended.stats.draft_n for number in range(3)]  # type: ignore[union-attr]
    assert min(tested) > 20
    assert passes.count(3) > max(passes.count(1), passes.count(2))
