"""A conversation that fills the context: why the answer ended, and how to go on without its oldest turns."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from edgespec.chat.messages import ChatMessage, Role
from edgespec.errors import ContextOverflowError
from edgespec.session import EngineSettings, Session, open_pair
from edgespec.session.shorten import drop_oldest_turns
from tests.tiny import CHAT_TEMPLATE, make_tiny_model

ROLES: dict[str, Role] = {"s": "system", "u": "user", "a": "assistant"}


def talk(letters: str) -> tuple[ChatMessage, ...]:
    """A message of ten characters for each letter, by its role."""
    return tuple(ChatMessage(ROLES[letter], f"{number:010d}") for number, letter in enumerate(letters))


def length(messages: Sequence[ChatMessage]) -> int:
    return sum(len(message.content) for message in messages)


@pytest.mark.parametrize(
    ("letters", "most", "left"),
    [
        ("suauau", 60, "0 1 2 3 4 5"),
        ("suauau", 59, "0 3 4 5"),
        ("suauau", 39, "0 5"),
        # The last question stays, however long it is.
        ("suauau", 0, "0 5"),
        ("uaaua", 20, "3 4"),
        ("ssu", 0, "0 1 2"),
        # A conversation may begin with an answer.
        ("auau", 20, "3"),
        ("s", 0, "0"),
        ("", 0, ""),
    ],
)
def test_whole_turns_go_from_the_oldest_on(letters: str, most: int, left: str) -> None:
    kept = drop_oldest_turns(talk(letters), length, most)
    assert " ".join(str(int(message.content)) for message in kept) == left


def test_a_long_conversation_is_counted_a_few_times_only() -> None:
    counted = []

    def count_tokens(messages: Sequence[ChatMessage]) -> int:
        counted.append(len(messages))
        return length(messages)

    kept = drop_oldest_turns(talk("ua" * 500), count_tokens, 100)
    assert len(kept) == 10
    assert len(counted) < 12


@pytest.fixture
def session(tmp_path: Path) -> Session:
    path = make_tiny_model(tmp_path / "tiny.gguf", chat_template=CHAT_TEMPLATE)
    return open_pair(path, "none", settings=EngineSettings(n_ctx=512))


def answer(
    session: Session, messages: Sequence[ChatMessage], count: int, *, drop_oldest: bool = False
) -> str:
    stream = session.stream(messages, max_tokens=count, drop_oldest=drop_oldest)
    return "".join(token.text for token in stream)


def test_an_answer_that_fills_the_context_says_so(session: Session) -> None:
    with session:
        prompt_n = len(session.tokenize(talk("u")))
        answer(session, talk("u"), 10_000)
        assert session.stats.stopped == "context"
        assert session.stats.predicted_n == 512 - prompt_n
        answer(session, talk("u"), 512 - prompt_n)
        assert session.stats.stopped == "length"


def test_a_conversation_that_is_too_long_goes_on_without_its_oldest_turns(session: Session) -> None:
    long = (ChatMessage("system", "be brief"), *talk("ua" * 30), ChatMessage("user", "and now?"))
    with session:
        with pytest.raises(ContextOverflowError):
            answer(session, long, 20)
        text = answer(session, long, 20, drop_oldest=True)
        dropped_n = session.stats.dropped_n
        assert dropped_n > 0
        kept = session.shorten(long, 20)
        assert kept == (long[0], *long[1 + dropped_n :])
        assert kept[1].role == "user"
        assert 512 // 4 < len(session.tokenize(kept)) <= 512 // 2
        assert text == answer(session, kept, 20)
        # What is left has room for the next questions: nothing more goes.
        assert session.stats.dropped_n == 0
        assert session.shorten(kept, 20) == kept


def test_a_question_that_is_too_long_alone_is_refused(session: Session) -> None:
    with session, pytest.raises(ContextOverflowError, match="the prompt has"):
        answer(session, [*talk("ua"), ChatMessage("user", "x" * 1000)], 20, drop_oldest=True)
