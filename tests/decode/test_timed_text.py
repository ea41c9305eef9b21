"""What decodes are timed on: a text, read on and on."""

from pathlib import Path

from edgespec.decode.timed_text import PRIMER_TOKENS, TimedText, timed_tokens
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.plan.zero_model import ZeroModel
from tests.decode.real import open_context


def test_every_decode_reads_what_comes_next(target_model: Model) -> None:
    text = timed_tokens(target_model)
    with open_context(target_model) as context:
        timed = TimedText(context, 16)
        read = [timed.next(rows) for rows in (1, 4, 2, 16)]
    assert [len(part) for part in read] == [1, 4, 2, 16]
    assert [token for part in read for token in part] == text[PRIMER_TOKENS : PRIMER_TOKENS + 23]


def test_the_text_is_one_that_people_write(target_model: Model) -> None:
    text = timed_tokens(target_model)
    assert b"harbour" in b"".join(map(target_model.token_bytes, text))
    assert len(set(text)) > 40


def test_a_full_context_begins_anew_where_the_text_goes_on(target_model: Model) -> None:
    text = timed_tokens(target_model)
    with open_context(target_model, n_ctx=256) as context:
        timed = TimedText(context, 100)
        for start in (PRIMER_TOKENS, PRIMER_TOKENS + 100):
            part = timed.next(100)
            assert part == text[start : start + 100]
            context.decode(part)
        part = timed.next(100)
        assert context.tokens == text[PRIMER_TOKENS + 200 : PRIMER_TOKENS + 200 + PRIMER_TOKENS]
        assert part == text[2 * PRIMER_TOKENS + 200 : 2 * PRIMER_TOKENS + 300]


def test_behind_the_end_of_the_text_comes_its_beginning(target_model: Model) -> None:
    text = timed_tokens(target_model)
    with open_context(target_model) as context:
        timed = TimedText(context, 4)
        read = [token for _ in range(len(text)) for token in timed.next(4)]
    assert read == (text * 5)[PRIMER_TOKENS : PRIMER_TOKENS + 4 * len(text)]


def test_a_model_without_a_vocabulary_is_timed_on_arbitrary_tokens(tmp_path: Path) -> None:
    path = tmp_path / "zero.gguf"
    ZeroModel("F16", blocks=1, width=256, hidden=256).write(path)
    with Model(path) as model, Context(model, ContextSettings(256, 1)) as context:
        tokens = TimedText(context, 200).next(200)
        assert len(set(tokens)) == 200
        assert max(tokens) < model.n_vocab
