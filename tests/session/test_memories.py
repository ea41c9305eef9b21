"""Pairs with every kind of memory: drafts at work, stops and turns, and the text of plain decoding."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgespec.catalog.compatibility import check_draft
from edgespec.catalog.metadata import read_metadata
from edgespec.chat.messages import ChatMessage
from edgespec.errors import EngineError
from edgespec.llama.library import load_library
from edgespec.session import EngineSettings, Session, open_pair
from tests.session.eager import draft_eagerly
from tests.tiny import CHAT_TEMPLATE
from tests.tiny_memories import ARCHITECTURES, MemoryKind, make_tiny_memory

COPYING = "the cat sat on the mat. the cat sat on the mat. the cat sat on"
# Without flash attention, which rounds to 16 bits: then how a text is cut into passes cannot change it.
SETTINGS = EngineSettings(n_ctx=1536, flash_attention="off")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def kind(request: pytest.FixtureRequest) -> MemoryKind:
    found: MemoryKind = request.param
    return found


@pytest.fixture(scope="module")
def target(kind: MemoryKind, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("targets")
    return make_tiny_memory(folder / f"{kind}.gguf", kind, chat_template=CHAT_TEMPLATE, context=1536)


@pytest.fixture(scope="module")
def draft(kind: MemoryKind, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_memory(tmp_path_factory.mktemp("drafts") / "little.gguf", kind, noise=0.03, context=1536)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    draft_eagerly(monkeypatch)
    yield


def text_of(session: Session, messages: list[ChatMessage], count: int = 50) -> str:
    return "".join(token.text for token in session.stream(messages, max_tokens=count))


def conversation(session: Session) -> list[str]:
    """Two turns, the second one regenerated, and the first one edited."""
    question = ChatMessage("user", COPYING)
    first = text_of(session, [question])
    turn = [question, ChatMessage("assistant", first), ChatMessage("user", "and the hat " * 30)]
    second, again = text_of(session, turn), text_of(session, turn)
    return [first, second, again, text_of(session, [ChatMessage("user", "of the sea")])]


def test_a_conversation_reads_the_same_whatever_drafts(eager: None, target: Path, draft: Path):
    texts, drafted = [], []
    for what in ("none", "ngram", draft):
        with open_pair(target, what, settings=SETTINGS) as session:
            texts.append(conversation(session))
            drafted.append(session.stats.draft_n)
    assert texts[1] == texts[0]
    assert texts[2] == texts[0]
    assert drafted[0] == 0
    assert drafted[2] > 0


def test_regenerating_an_answer_reads_a_few_tokens(target: Path):
    question = [ChatMessage("user", COPYING * 4)]
    with open_pair(target, "none", settings=SETTINGS) as session:
        text_of(session, question, 80)
        assert session.stats.prompt_evaluated_n == session.stats.prompt_n
        text_of(session, question, 80)
        assert session.stats.prompt_evaluated_n <= 8


def test_after_a_stop_inside_a_long_prompt_the_next_question_is_answered(
    kind: MemoryKind, target: Path, monkeypatch: pytest.MonkeyPatch
):
    long, short = [ChatMessage("user", "and the sea " * 300)], [ChatMessage("user", "the cat")]
    lib = load_library()
    decode, seen = lib.llama_decode, 0

    def stop_the_second(handle: Any, batch: Any) -> int:
        nonlocal seen
        seen += 1
        return 2 if decode(handle, batch) or seen == 2 else 0

    with open_pair(target, "ngram", settings=SETTINGS) as session:
        expected = text_of(session, short)
        session.forget()
        assert len(session.tokenize(long)) > 1000
        with monkeypatch.context() as patch, pytest.raises(EngineError, match="was stopped"):
            patch.setattr(lib, "llama_decode", stop_the_second)
            text_of(session, long)
        assert text_of(session, short) == expected


def test_every_kind_drafts_for_a_plain_target_and_is_drafted_for(draft: Path, tiny_model: Path):
    plain, other = read_metadata(tiny_model), read_metadata(draft)
    assert check_draft(plain, other).kind == "same-vocabulary"
    assert check_draft(other, plain).kind == "same-vocabulary"
