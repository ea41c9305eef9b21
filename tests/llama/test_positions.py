"""Models that learnt every position for itself: behind the last one there is nothing to compute with."""

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from edgespec.errors import ContextOverflowError
from edgespec.llama.context import Context
from edgespec.llama.model import Model
from edgespec.llama.sequences import SequencesContext
from tests.llama.engines import settings
from tests.tiny import write_tensors
from tests.tiny_vocabulary import tokens_of, write_vocabulary

POSITIONS, WIDTH, FEED_FORWARD = 40, 32, 64


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    path = tmp_path_factory.mktemp("positions") / "gpt2.gguf"
    vocabulary = tokens_of("bpe")
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_context_length(POSITIONS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(2)
    writer.add_layer_norm_eps(1e-5)
    write_vocabulary(writer, vocabulary)
    write_tensors(writer, weights(len(vocabulary.tokens)))
    with Model(path) as model:
        yield model


def weights(count: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    rng = np.random.default_rng(0)
    sizes = {"attn_qkv": (3 * WIDTH, WIDTH), "attn_output": (WIDTH, WIDTH)}
    sizes |= {"ffn_up": (FEED_FORWARD, WIDTH), "ffn_down": (WIDTH, FEED_FORWARD)}
    yield "token_embd.weight", rng.standard_normal((count, WIDTH), dtype=np.float32)
    yield "position_embd.weight", rng.standard_normal((POSITIONS, WIDTH), dtype=np.float32)
    for name, (rows, columns) in sizes.items():
        yield f"blk.0.{name}.weight", rng.standard_normal((rows, columns), dtype=np.float32) / 6
        yield f"blk.0.{name}.bias", np.zeros(rows, np.float32)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        yield f"{name}.weight", np.ones(WIDTH, np.float32)
        yield f"{name}.bias", np.zeros(WIDTH, np.float32)


def test_a_context_ends_where_the_positions_do(gpt2: Model) -> None:
    with Context(gpt2, settings(n_ctx=256)) as context:
        assert context.n_ctx == POSITIONS
        context.prefill([1] * (POSITIONS - 1))
        context.decode([2], pad_to=4)
        assert context.free_tokens == 0


def test_so_does_every_sequence_of_several(gpt2: Model) -> None:
    with SequencesContext(gpt2, settings(n_ctx=512, n_sequences=2, kv_unified=True)) as context:
        assert context.n_ctx == POSITIONS


def test_a_sequence_that_is_longer_than_the_context_is_an_error(tiny_model: Path) -> None:
    of = settings(n_ctx=256, n_sequences=2, kv_unified=True)
    with Model(tiny_model) as model, SequencesContext(model, of) as context:
        rows = np.full(256, 1, np.int32)
        context.decode(rows, np.zeros(256, np.int32), np.arange(256) == 255)
        one = np.zeros(1, np.int32)
        with pytest.raises(ContextOverflowError, match="257 tokens do not fit a context of 256"):
            context.decode(one, one, np.ones(1, np.bool_))


def test_other_models_compute_any_position(tiny_model: Path) -> None:
    with Model(tiny_model) as model:
        assert model.n_positions is None
