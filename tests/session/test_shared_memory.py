"""What a shared cache holds: room for those who write, conversations for later, and nothing that nobody owns."""

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from edgespec.chat.messages import ChatMessage
from edgespec.decode.shared.reading import ReadingSpeed
from edgespec.errors import EngineError
from edgespec.llama.kv_types import KvType
from edgespec.llama.slots import Part, Slots
from edgespec.session.shared.asked import Ask, Cancel
from edgespec.session.shared.opening import open_shared
from edgespec.session.shared.session import SharedSession
from tests.session.eager import draft_eagerly
from tests.session.shared import EXACT, Ear, alone, answer, figures, finish, shared, user
from tests.tiny import CHAT_TEMPLATE
from tests.tiny_memories import MemoryKind, make_tiny_memory

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "saw",
    "one",
    "dog",
    "who",
    "ate",
    "all",
    "the",
    "fish",
]
SMALL = replace(EXACT, n_ctx=256)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    draft_eagerly(monkeypatch)


def held_cells(session: SharedSession) -> int:
    """Of all sequences together, as their tokens say."""
    return len({cell for slot in session.engine.target.context.slots for cell in slot.cells})


def check_cells(session: SharedSession) -> None:
    for slot in session.engine.target.context.slots:
        assert len(slot.cells) == len(slot.tokens)
    assert held_cells(session) == session.engine.target.context.cells.used_n


def random_words(random: Random, most: int) -> str:
    return " ".join(random.choice(WORDS) for _ in range(random.randrange(1, most)))


def test_a_thousand_questions_leave_nothing_behind_but_what_is_held(eager: None, tiny_model: Path):
    random = Random(8)
    with shared(tiny_model, "ngram", settings=SMALL) as session:
        ear, number = Ear(), 0
        while number < 1000:
            for _ in range(random.randrange(1, 6)):
                ask = Ask(
                    number,
                    user(random_words(random, 50)),
                    max_tokens=random.randrange(1, 12),
                    n_choices=random.choice([1, 1, 1, 2]),
                )
                session.submit(ask)
                number += 1
            for _ in range(random.randrange(6)):
                ear.hear(session.step())
            if random.random() < 0.5:
                session.submit(Cancel(random.randrange(number)))
        finish(session, ear)
        check_cells(session)
        assert figures(session).held_n > 5
        pool = session._batch.pool
        assert pool.held_n + len(pool._free) == len(session.engine.target.context.slots)
        pool.make_room(session.engine.target.context.cells.count)
        assert session.engine.target.context.cells.used_n == 0
        assert pool.available_n == session.engine.target.context.cells.count


def test_answers_that_do_not_fit_together_wait_for_each_other_and_say_the_same(
    eager: None, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    """Four answers of 250 tokens in 512 cells: the youngest give way and read again what they had."""
    prompts = [user(f"{word} and the cat") for word in WORDS[:4]]
    plain = [alone(tiny_model, Ask(0, prompt, max_tokens=200)) for prompt in prompts]
    monkeypatch.setattr("edgespec.session.shared.size._CACHE_BYTES", 1)
    with shared(tiny_model, "ngram", settings=replace(EXACT, n_ctx=512)) as session:
        assert session.engine.target.context.cells.count == 512
        asks = [Ask(number, prompt, max_tokens=200) for number, prompt in enumerate(prompts)]
        ear = answer(session, *asks)
        check_cells(session)
    assert not ear.refused
    assert [ear.written[number, 0].tokens for number in range(4)] == plain


def test_a_decode_that_fails_refuses_its_answers_and_the_next_ones_are_right(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    ask = Ask(5, user("the cat"), max_tokens=10)
    with shared(tiny_model, "none") as session:
        plain = answer(session, ask).written[5, 0].tokens
        asks = [Ask(number, user(f"the cat {number}"), max_tokens=20) for number in range(3)]
        for one in asks:
            session.submit(one)
        ear = Ear()
        for _ in range(4):
            ear.hear(session.step())

        def fail(context: Slots, parts: list[Part], pad_to: int = 0) -> int:
            raise EngineError("llama_decode failed")

        with monkeypatch.context() as patch:
            patch.setattr(Slots, "decode", fail)
            ear.hear(session.step())
        assert {number: one.kind for number, one in ear.refused.items()} == dict.fromkeys(range(3), "engine")
        assert session.is_idle
        check_cells(session)
        assert answer(session, ask).written[5, 0].tokens == plain


def test_short_questions_do_not_wait_for_long_ones_and_long_ones_are_answered_too(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ReadingSpeed, "rows_in", lambda _speed, _seconds: 32)
    with shared(tiny_model, "none", settings=replace(EXACT, n_ctx=8192)) as session:
        session.submit(Ask(0, user("talk"), max_tokens=2000))
        ear = Ear()
        for _ in range(3):
            ear.hear(session.step())
        session.submit(Ask(1, user("a long story " * 200), max_tokens=3))
        ear.hear(session.step())
        for number in range(2, 6):
            session.submit(Ask(number, user("short"), max_tokens=2))
            for _ in range(12):
                before = len(ear.written[0, 0].tokens)
                ear.hear(session.step())
                # Whoever writes gets a token in every round.
                assert len(ear.written[0, 0].tokens) > before
            assert number in ear.began
        assert 1 not in ear.began
        while 1 not in ear.began:
            ear.hear(session.step())
            assert len(ear.written[0, 0].tokens) < 2000


@pytest.mark.parametrize("kind", ["window", "snapshots", "convolution", "recurrent", "hybrid"])
@pytest.mark.parametrize("draft", ["none", "ngram"])
def test_every_kind_of_memory_gives_the_text_of_one_alone(
    eager: None, tmp_path: Path, kind: MemoryKind, draft: str
):
    path = make_tiny_memory(tmp_path / f"{kind}.gguf", kind, chat_template=CHAT_TEMPLATE)
    random = Random(1)
    talks = {number: user(random_words(random, 40)) for number in range(3)}
    with shared(path, draft, settings=replace(EXACT, n_ctx=512)) as session:
        for turn in range(3):
            asks = {
                number: Ask(10 * turn + number, talk, max_tokens=16, n_choices=1 + number % 2)
                for number, talk in talks.items()
            }
            ear = answer(session, *asks.values())
            for number, ask in asks.items():
                plain = alone(path, ask)
                for choice in range(ask.n_choices):
                    assert ear.written[ask.id, choice].tokens == plain
                text = ear.written[ask.id, 0].text
                more = (ChatMessage("assistant", text), ChatMessage("user", random_words(random, 20)))
                talks[number] = (*talks[number], *more)


def long_talk(word: str) -> tuple[ChatMessage, ...]:
    return user(f"{word} is what I want to hear of, and of nothing else. " * 3)


@pytest.mark.parametrize("cache_bytes", [0, 1 << 24])
def test_a_conversation_that_left_the_cache_comes_back_with_its_text(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, cache_bytes: int
):
    monkeypatch.setattr("edgespec.session.shared.size._CACHE_BYTES", 1)
    talks = [long_talk(word) for word in WORDS[:6]]
    plain = [alone(tiny_model, Ask(0, talk, max_tokens=20)) for talk in talks]
    with open_shared(tiny_model, "none", settings=EXACT, n_parallel=2, cache_bytes=cache_bytes) as session:
        assert session.engine.target.context.cells.count == 512
        for round_number in range(2):
            for number, talk in enumerate(talks):
                ask = Ask(10 * round_number + number, talk, max_tokens=20)
                ear = answer(session, ask)
                assert ear.written[ask.id, 0].tokens == plain[number]
                began = ear.began[ask.id]
                if round_number and cache_bytes:
                    assert began.cached_n == began.prompt_n - 1
                elif round_number:
                    assert began.cached_n < began.prompt_n // 2
        found = figures(session)
        assert (found.held_bytes > 0) == (cache_bytes > 0)
        assert found.held_bytes <= cache_bytes
        check_cells(session)


def test_conversations_are_kept_between_runs_and_damaged_files_are_not_taken(
    tiny_model: Path, tmp_path: Path
):
    ask = Ask(1, long_talk("cat"), max_tokens=20)

    def run() -> tuple[int, list[int]]:
        with open_shared(tiny_model, "none", settings=EXACT, cache_dir=tmp_path / "kept") as session:
            ear = answer(session, ask)
            return ear.began[1].prompt_n - ear.began[1].cached_n, ear.written[1, 0].tokens

    first, second = run(), run()
    assert first[0] > 100
    assert second == (1, first[1])
    (path,) = (tmp_path / "kept").iterdir()
    content = path.read_bytes()
    for damaged in (content[:-1], content[:-9] + b"\x55" + content[-8:], b"{}\n" + content, b""):
        path.write_bytes(damaged)
        assert run() == first
        path.write_bytes(damaged)
    # Other types of cache are another model's.
    settings = replace(EXACT, kv_type_k=KvType.F16, kv_type_v=KvType.F16)
    path.write_bytes(content)
    with open_shared(tiny_model, "none", settings=settings, cache_dir=tmp_path / "kept") as session:
        assert answer(session, ask).began[1].cached_n == 0


def test_conversations_that_wait_take_few_cells_and_lose_nothing(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("edgespec.session.shared.size._LEAST_IDLE_CELLS", 200)
    monkeypatch.setattr("edgespec.session.shared.size._IDLE_SHARE", 0.0)
    talks = [long_talk(word) for word in WORDS[:6]]
    with shared(tiny_model, "none") as session:
        for turn in range(2):
            for number, talk in enumerate(talks):
                began = answer(session, Ask(10 * turn + number, talk, max_tokens=9)).began[10 * turn + number]
                assert session.engine.target.context.cells.used_n <= 200 + 150
                if turn:
                    assert began.cached_n == began.prompt_n - 1
        check_cells(session)


def test_there_is_room_for_the_next_prompt_before_it_comes(tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edgespec.session.shared.size._CACHE_BYTES", 1)
    talks = [long_talk(word) for word in WORDS[:6]]
    with shared(tiny_model, "none", settings=replace(EXACT, n_ctx=512)) as session:
        cells = session.engine.target.context.cells
        for number, talk in enumerate(talks):
            answer(session, Ask(number, talk, max_tokens=9))
        assert cells.free_n < 128
        session.rest()
        assert cells.free_n >= 128
        check_cells(session)
        held_n, free_n = figures(session).held_n, cells.free_n
        session.rest()
        assert (figures(session).held_n, cells.free_n) == (held_n, free_n)
        for number, talk in enumerate(talks, 10):
            began = answer(session, Ask(number, talk, max_tokens=9)).began[number]
            assert began.cached_n == began.prompt_n - 1


@pytest.mark.parametrize("words", [3, 120])
def test_an_answer_alone_lies_in_the_order_of_its_text_whatever_was_in_the_cache_before(
    words: int, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    """Else the sums of attention are made in another order than by `edgespec run`, and the last bits may choose another token."""
    monkeypatch.setattr("edgespec.session.shared.size._CACHE_BYTES", 1)
    random = Random(5)
    begins = [" ".join(random.choices(WORDS, k=words)) for _ in range(3)]
    texts: list[str] = []
    with shared(tiny_model, "ngram", settings=replace(EXACT, n_ctx=2048)) as session:
        for number in range(60):
            if texts and random.random() < 0.3:
                # The next turn of a conversation that may have left the cache.
                text = f"{random.choice(texts)} {random.choice(WORDS)}"
            else:
                text = f"{random.choice(begins)} {number} {random_words(random, 40)}"
            texts.append(text)
            session.submit(Ask(number, user(text), max_tokens=9))
            while not session.is_idle:
                session.step()
                for slot in session._batch.pool._used:
                    assert slot.cells == sorted(slot.cells)
        check_cells(session)
        assert figures(session).cached_n > 60 * words / 2
