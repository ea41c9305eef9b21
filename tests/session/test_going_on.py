"""A cut answer goes on as if it had not been cut, from what is in the cache."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from edgespec.chat.messages import ChatMessage
from edgespec.chat.thinking import Thinking
from edgespec.decode.token import Token
from edgespec.errors import UsageError
from edgespec.session import Session, open_pair
from tests.scripted_model import make_scripted_model
from tests.tiny import CHAT_TEMPLATE, make_tiny_model

QUESTION = ChatMessage("user", "the cat and the hat")
N = 24


def message(tokens: Iterable[Token]) -> ChatMessage:
    """What a front door keeps of them."""
    tokens = list(tokens)
    text, thought = "".join(one.text for one in tokens), "".join(one.thought for one in tokens)
    return ChatMessage("assistant", text.rstrip("\N{REPLACEMENT CHARACTER}"), thought)


def go_on(session: Session, told: ChatMessage, max_tokens: int = N) -> ChatMessage:
    """The whole of it, after it went on."""
    more = message(session.stream([QUESTION, told], max_tokens=max_tokens, continues=True))
    return replace(told, content=told.content + more.content, thought=told.thought + more.thought)


def whole(session: Session, max_tokens: int = N) -> ChatMessage:
    return message(session.stream([QUESTION], max_tokens=max_tokens))


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("chat") / "chat.gguf", chat_template=CHAT_TEMPLATE)


@pytest.mark.parametrize("draft", ["none", "ngram"])
@pytest.mark.parametrize("cut", [1, 5, 11, 17])
def test_an_answer_at_its_longest_length_goes_on_without_reading_anew(
    chat_model: Path, cut: int, draft: str
) -> None:
    with open_pair(chat_model, draft) as session:
        wanted = whole(session, 3 * N).content
        told = whole(session, cut)
        assert session.stats.stopped == "length"
        found = go_on(session, told).content
        assert len(found) > len(told.content)
        assert wanted.startswith(found)
        # All but the last token of what was there was in the cache; within a character a few are picked again.
        assert session.stats.prompt_evaluated_n == 1


def test_an_answer_that_was_stopped_within_a_round_goes_on_from_what_was_told(chat_model: Path) -> None:
    with open_pair(chat_model, "ngram") as session:
        wanted = whole(session, 3 * N).content
        for cut in range(3, 12):
            answer = session.stream([QUESTION], max_tokens=N)
            kept = list(islice(answer, cut))
            answer.close()
            # Of a round that was under way the last tokens may not have been told.
            told = message(kept[:-2])
            found = go_on(session, told).content
            assert wanted.startswith(found)
            assert len(found) > len(told.content)


def test_it_goes_on_as_often_as_it_is_cut(chat_model: Path) -> None:
    with open_pair(chat_model, "none") as session:
        wanted, told = whole(session, 3 * N).content, whole(session, 8)
        for _ in range(3):
            before, told = told, go_on(session, told, 8)
            assert len(told.content) > len(before.content)
            assert wanted.startswith(told.content)


SCRIPT = ("<think>", "Hm", ", so", " it", " is", "</think>", "\n\n", "Yes", " indeed", ".")


@pytest.mark.parametrize("cut", range(1, len(SCRIPT)))
def test_a_thought_goes_on_as_well_wherever_it_was_cut(cut: int, tmp_path: Path) -> None:
    with open_pair(make_scripted_model(tmp_path / "m.gguf", SCRIPT), "none") as session:
        told = whole(session, cut)
        found = go_on(session, told)
        assert (found.thought, found.content) == ("Hm, so it is", "Yes indeed.")


def test_an_answer_that_the_engine_does_not_have_goes_on_from_its_text(chat_model: Path) -> None:
    with open_pair(chat_model, "none") as session:
        told = whole(session, 8)
        list(session.stream("something else", max_tokens=3))
        before = go_on(session, told, 8)
        with open_pair(chat_model, "none") as another:
            assert go_on(another, told, 8) == before
        assert before.content.startswith(told.content)
        assert len(before.content) > len(told.content)


def test_only_an_answer_can_go_on(chat_model: Path) -> None:
    with open_pair(chat_model, "none") as session:
        for messages, said in (
            ([QUESTION], "no answer stands at the end"),
            ([QUESTION, ChatMessage("assistant", "", "Hm")], "has only been thought of"),
        ):
            with pytest.raises(UsageError, match=said):
                list(session.stream(messages, continues=True))
        with pytest.raises(UsageError, match="a text has no answer"):
            list(session.stream("text", continues=True))


def test_an_answer_with_a_budget_of_thought_goes_on_from_its_text(tmp_path: Path) -> None:
    with open_pair(make_scripted_model(tmp_path / "m.gguf", SCRIPT), "none") as session:
        told = message(session.stream([QUESTION], max_tokens=8, thinking=Thinking(budget=2)))
        assert told.content
        more = list(session.stream([QUESTION, told], max_tokens=4, continues=True))
        assert more
