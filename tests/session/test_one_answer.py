"""One answer at a time: what comes between two tokens of an answer is refused or waits, in the same thread and across threads."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from edgespec.catalog.model_file import open_file
from edgespec.chat.messages import ChatMessage
from edgespec.errors import EngineError, UsageError
from edgespec.session import Session, open_pair
from tests.threads import run_together

PROMPT, OTHER = "the cat and the hat", "1 2 3 4 5 6 7 8"
BUSY = "this session is writing an answer already"


def ids(session: Session, prompt: str) -> list[int]:
    return [token.id for token in session.stream(prompt, max_tokens=30)]


def with_another_draft(session: Session, draft: Path) -> None:
    session.change_draft(open_file("another", draft))


@pytest.mark.parametrize(
    "between",
    [
        lambda session, _draft: ids(session, OTHER),
        lambda session, _draft: session.forget(),
        with_another_draft,
    ],
    ids=["another answer", "forgetting", "another draft"],
)
def test_nothing_comes_between_the_tokens_of_an_answer(
    between: Callable[[Session, Path], object], tiny_model: Path, tiny_draft: Path
):
    with open_pair(tiny_model, "none") as session:
        whole, other = ids(session, PROMPT), ids(session, OTHER)
        answer = session.stream(PROMPT, max_tokens=30)
        begun = [next(answer).id for _ in range(7)]
        with pytest.raises(UsageError) as refused:
            between(session, tiny_draft)
        assert refused.value.message == BUSY
        assert refused.value.hint.startswith("read that one to its end or close it first")
        assert begun + [token.id for token in answer] == whole
        assert ids(session, OTHER) == other
        between(session, tiny_draft)


@pytest.mark.parametrize("end", [lambda answer: answer.close(), lambda answer: list(answer)])
def test_an_answer_that_is_closed_or_read_makes_room_for_the_next(
    end: Callable[[object], object], tiny_model: Path
):
    with open_pair(tiny_model, "none") as session:
        other = ids(session, OTHER)
        answer = session.stream(PROMPT, max_tokens=30)
        next(answer)
        waiting = session.stream(OTHER, max_tokens=30)
        end(answer)
        assert [token.id for token in waiting] == other


def test_a_prompt_that_is_refused_leaves_the_session_free(tiny_model: Path):
    with open_pair(tiny_model, "none") as session:
        for _ in range(2):
            with pytest.raises(UsageError, match="`max_tokens` 0 is out of range"):
                list(session.stream(PROMPT, max_tokens=0))
        with pytest.raises(UsageError, match="`max_tokens` -1 is out of range"):
            session.shorten([ChatMessage("user", PROMPT)], -1)
        assert len(ids(session, PROMPT)) == 30


def test_of_answers_in_many_threads_each_is_whole_or_refused(tiny_model: Path):
    with open_pair(tiny_model, "none") as session:
        right = {prompt: ids(session, prompt) for prompt in (PROMPT, OTHER)}
        came: list[tuple[str, list[int]]] = []
        refused: list[str] = []

        def ask(prompt: str) -> None:
            for _ in range(40):
                try:
                    came.append((prompt, ids(session, prompt)))
                except UsageError as error:
                    refused.append(error.message)

        run_together([partial(ask, prompt) for prompt in (*right, *right)])
        assert came
        assert all(answer == right[prompt] for prompt, answer in came)
        assert set(refused) <= {BUSY}
        assert len(came) + len(refused) == 160


@pytest.mark.parametrize("n_tokens", [0, 1, 5])
def test_a_session_is_closed_under_an_answer_of_another_thread_without_a_crash(
    n_tokens: int, tiny_model: Path
):
    session = open_pair(tiny_model, "none")
    begun, ended = threading.Event(), list[EngineError]()

    def answer() -> None:
        if n_tokens == 0:
            begun.set()
        try:
            for number, _ in enumerate(session.stream(PROMPT, max_tokens=400), 1):
                if number == n_tokens:
                    begun.set()
        except EngineError as error:
            ended.append(error)

    thread = threading.Thread(target=answer)
    thread.start()
    begun.wait(60)
    session.close()
    thread.join(60)
    assert not thread.is_alive()
    assert all("is closed" in error.message for error in ended)
