"""The models that other tests stand on: they load, keep text, and are the same for the same arguments."""

import hashlib
from pathlib import Path

import gguf
import pytest

from edgespec.llama.library import load_library
from tests.tiny import CHAT_TEMPLATE, make_tiny_model

TEXT = "the cat and the hat sat on \u65e5\u672c \n\t it's 42! \U0001f600"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("fixture", ["tiny_model", "tiny_draft", "tiny_bpe"])
def test_text_survives_tokenizing_and_back_in_llama_cpp(fixture: str, request: pytest.FixtureRequest):
    lib = load_library()
    parameters = lib.llama_model_default_params()
    parameters.vocab_only = True
    model = lib.llama_model_load_from_file(str(request.getfixturevalue(fixture)).encode(), parameters)
    assert model
    vocabulary = lib.llama_model_get_vocab(model)
    raw = TEXT.encode()
    tokens = (lib.llama_token * 256)()
    count = lib.llama_tokenize(vocabulary, raw, len(raw), tokens, 256, False, False)
    buffer = bytes(1024)
    length = lib.llama_detokenize(vocabulary, tokens, count, buffer, 1024, False, False)
    lib.llama_model_free(model)
    assert buffer[:length] == raw
    assert 0 < count < len(raw)


def test_the_same_arguments_make_the_same_file_and_another_seed_another(tmp_path: Path):
    first = digest(make_tiny_model(tmp_path / "a.gguf", seed=3))
    assert digest(make_tiny_model(tmp_path / "b.gguf", seed=3)) == first
    assert digest(make_tiny_model(tmp_path / "c.gguf", seed=4)) != first
    assert digest(make_tiny_model(tmp_path / "d.gguf", seed=3, noise=0.1)) != first


def test_the_sizes_asked_for_are_in_the_file(tmp_path: Path):
    path = make_tiny_model(
        tmp_path / "m.gguf", vocab_size=320, blocks=3, embedding=32, chat_template=CHAT_TEMPLATE
    )
    reader = gguf.GGUFReader(path)
    assert reader.fields["llama.block_count"].contents() == 3
    assert reader.fields["llama.embedding_length"].contents() == 32
    assert len(reader.fields["tokenizer.ggml.tokens"].contents()) == 320
    assert reader.fields["tokenizer.chat_template"].contents() == CHAT_TEMPLATE


def test_a_vocabulary_too_small_for_every_byte_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="vocab_size 100 is below"):
        make_tiny_model(tmp_path / "m.gguf", vocab_size=100)
