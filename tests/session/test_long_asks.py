"""Asks that take long to take in: what cannot fit is refused by its beginning, and others are answered in between."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgespec.chat import prompt_tokens
from edgespec.chat.infill import Infill, InfillFile, tokenize_infill
from edgespec.chat.messages import ChatMessage
from edgespec.chat.structure import Structure, StructureKind
from edgespec.errors import ContextOverflowError
from edgespec.llama.model import Model
from edgespec.session.shared import long_texts, vocabulary
from edgespec.session.shared import session as shared_session
from edgespec.session.shared.asked import Ask, Cancel, Detokenize, Tokenize, Tokenized
from tests.session.shared import Ear, answer, figures, finish, shared, user
from tests.tiny import FIM_TOKENS, make_tiny_model

LONG = "once upon a time there was a heron " * 30_000
N_CTX = 512


@pytest.fixture(scope="module")
def fim_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("fim") / "fim.gguf", fim=FIM_TOKENS)


@pytest.mark.parametrize("prompt", [LONG, (ChatMessage("user", LONG),)], ids=["text", "conversation"])
def test_of_a_prompt_that_cannot_fit_only_the_beginning_is_tokenized(
    tiny_model: Path, prompt: str | tuple[ChatMessage, ...]
):
    with shared(tiny_model, "none") as session:
        ear = answer(session, Ask(1, prompt, max_tokens=2), Ask(2, "once", max_tokens=2))
    refused = ear.refused[1]
    assert (refused.kind, refused.n_ctx) == ("context", N_CTX)
    assert f"{refused.prompt_n} tokens or more" in refused.message
    assert N_CTX < refused.prompt_n < len(LONG) // 10
    assert len(ear.written[2, 0].tokens) == 2


@pytest.mark.parametrize("characters_n", [20, 64, 500])
def test_a_long_prompt_that_fits_is_answered_wherever_it_is_cut(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, characters_n: int
):
    # Some 500 tokens.
    ask = Ask(1, "the cat sat on the mat. " * 38, max_tokens=4)
    with shared(tiny_model, "none") as session:
        whole = answer(session, ask).written[1, 0]
        monkeypatch.setattr(prompt_tokens, "_PIECE_CHARACTERS", characters_n)
        monkeypatch.setattr(prompt_tokens, "_USUAL_CHARACTERS", 0)
        cut = answer(session, ask).written[1, 0]
    assert whole.ended
    assert whole.ended.stats.prompt_n > N_CTX * 3 // 4
    assert cut.tokens == whole.tokens


def test_what_takes_long_to_take_in_waits_for_a_round_of_others(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shared_session, "_TAKING_IN_S", 0.0)
    asks = [Ask(number, user(f"number {number}"), max_tokens=8) for number in range(1, 5)]
    ear = Ear()
    with shared(tiny_model, "none") as session:
        for ask in asks:
            session.submit(ask)
        ear.hear(session.step())
        assert set(ear.began) <= {1}
        session.submit(Cancel(3))
        finish(session, ear)
        assert set(ear.began) == {1, 2, 4}
        for ask in asks:
            if ask.id != 3:
                alone = answer(session, ask).written[ask.id, 0]
                assert ear.written[ask.id, 0].text == alone.text


def test_more_than_can_be_looked_up_between_two_rounds_is_refused(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(vocabulary, "MOST_AT_ONCE", 100)
    with shared(tiny_model, "none") as session:
        most = answer(session, Tokenize(1, "a" * 100), Detokenize(2, (70,) * 100))  # type: ignore[arg-type]
        more = answer(session, Tokenize(3, "a" * 101), Detokenize(4, (70,) * 101))  # type: ignore[arg-type]
    assert [type(one) for one in most.others] == [Tokenized, Tokenized]
    assert {number: one.kind for number, one in more.refused.items()} == {3: "request", 4: "request"}
    assert "101 characters" in more.refused[3].message
    assert "101 tokens" in more.refused[4].message


@pytest.mark.parametrize(
    "structure",
    [
        Structure(StructureKind.GBNF, 'root ::= "a"\n' + "# a remark\n" * 50_000),
        Structure(StructureKind.SCHEMA, json.dumps({"description": "a remark " * 60_000})),
        Structure(StructureKind.SCHEMA, json.dumps({"enum": [f"{n} is a value" * 5000 for n in range(9)]})),
    ],
    ids=["grammar", "schema", "schema of a long grammar"],
)
def test_a_structure_that_takes_long_to_read_is_refused(tiny_model: Path, structure: Structure):
    with shared(tiny_model, "none") as session:
        ear = answer(session, Ask(1, "once", max_tokens=2, structure=structure), Ask(2, "once", max_tokens=2))
    assert ear.refused[1].kind == "request"
    assert "characters, and 524288 are read" in ear.refused[1].message
    assert len(ear.written[2, 0].tokens) == 2


def test_what_lies_far_from_a_gap_is_not_tokenized(fim_model: Path, monkeypatch: pytest.MonkeyPatch):
    characters: list[int] = []
    tokenize = Model.tokenize

    def counted(model: Model, text: str, **options: bool) -> list[int]:
        characters.append(len(text))
        return tokenize(model, text, **options)

    monkeypatch.setattr(Model, "tokenize", counted)
    far = 16 * N_CTX
    files = (InfillFile(LONG, "first"), InfillFile(LONG, "second"))
    near = (InfillFile(LONG[-far:], "second"),)
    with Model(fim_model) as model:
        whole = tokenize_infill(model, Infill(LONG, LONG, files), N_CTX)
        assert sum(characters) < 4 * far
        assert whole == tokenize_infill(model, Infill(LONG[-far:], LONG[:far], near), N_CTX)
        few = tokenize_infill(model, Infill("a", "b", files), N_CTX)
        assert N_CTX // 2 < len(few) < N_CTX
        with pytest.raises(ContextOverflowError, match="tokens or more and the context 512"):
            tokenize_infill(model, Infill("a", "b", begun=LONG), N_CTX)


LONG_HERE = "the cat sat on the mat. " * 30
"""Some 400 tokens."""


@pytest.fixture
def held_reading(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Long texts begin at some hundred characters, and none becomes tokens before the event is set."""
    monkeypatch.setattr(long_texts, "_LONG_CHARACTERS", 100)
    may_read, tokenize = threading.Event(), Model.tokenize

    def held(model: Model, text: str, **more: bool) -> list[int]:
        if LONG_HERE in text:
            may_read.wait(5)
        return tokenize(model, text, **more)

    monkeypatch.setattr(Model, "tokenize", held)
    yield may_read
    may_read.set()


@pytest.mark.parametrize("prompt", [LONG_HERE, user(LONG_HERE)], ids=["text", "conversation"])
def test_answers_go_on_while_a_long_text_becomes_tokens(
    tiny_model: Path, held_reading: threading.Event, prompt: str | tuple[ChatMessage, ...]
):
    asks = Ask(1, "once", max_tokens=24), Ask(2, prompt, max_tokens=4)
    with shared(tiny_model, "none") as session:
        held_reading.set()
        alone = [answer(session, ask).written[ask.id, 0].text for ask in asks]
        held_reading.clear()
        session.submit(asks[0])
        ear = Ear()
        ear.hear(session.step())
        session.submit(asks[1])
        session.submit(Tokenize(3, LONG_HERE))
        while not ear.written[1, 0].ended:
            ear.hear(session.step())
        assert 2 not in ear.began
        assert not ear.others
        assert figures(session).waiting_n == 2
        held_reading.set()
        finish(session, ear)
        (told,) = (one for one in ear.others if isinstance(one, Tokenized))
        assert list(told.tokens) == session.engine.target.model.tokenize(LONG_HERE, add_special=False)
    assert [ear.written[number, 0].text for number in (1, 2)] == alone


def test_a_long_text_that_nobody_waits_for_is_dropped(tiny_model: Path, held_reading: threading.Event):
    ear = Ear()
    with shared(tiny_model, "none") as session:
        session.submit(Ask(1, "once", max_tokens=24))
        ear.hear(session.step())
        session.submit(Ask(2, LONG_HERE, max_tokens=4))
        session.submit(Ask(3, LONG_HERE, max_tokens=4))
        ear.hear(session.step())
        session.submit(Cancel(2))
        session.submit(Cancel(3))
        finish(session, ear)
        assert set(ear.began) == {1}
        held_reading.set()
        assert answer(session, Ask(4, LONG_HERE, max_tokens=4)).written[4, 0].ended
        session.submit(Ask(5, "once", max_tokens=24))
        ear.hear(session.step())
        # What is being read when the session ends keeps nothing back.
        session.submit(Ask(6, LONG_HERE, max_tokens=4))
        ear.hear(session.step())
    assert set(ear.began) == {1, 5}
