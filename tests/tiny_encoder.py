"""A tiny encoder of BERT's architecture with random weights, which llama.cpp loads: a real file for tests of embeddings."""

import string
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from tests.tiny import write_tensors
from tests.tiny_vocabulary import Vocabulary

WIDTH, BLOCKS, HEADS, FEED_FORWARD = 32, 2, 4, 64
CONTEXT = 64
"""Tokens of a text, the two around it included."""


def make_tiny_encoder(
    path: Path,
    *,
    pooling: gguf.PoolingType | None = gguf.PoolingType.MEAN,
    template: str | None = None,
    has_head: bool = True,
    seed: int = 0,
) -> Path:
    """Writes a model and returns its path.

    Args:
        path: Where the file goes.
        pooling: How it makes one vector of those of all tokens; None leaves that out. A reranker has a head that makes a number of it.
        template: Of a reranker, for a question and a text.
        has_head: Whether a reranker has it.
        seed: Of the weights.
    """
    vocabulary = _words()
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("tiny encoder")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    if pooling is not None:
        writer.add_pooling_type(pooling)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_type_count(2)
    writer.add_pad_token_id(vocabulary.specials["pad"])
    writer.add_unk_token_id(vocabulary.specials["unk"])
    # The tokens around a text, under llama.cpp's names for them.
    writer.add_bos_token_id(vocabulary.specials["cls"])
    writer.add_sep_token_id(vocabulary.specials["sep"])
    writer.add_mask_token_id(vocabulary.specials["mask"])
    if template is not None:
        writer.add_chat_template([{"name": "rerank", "template": template}])
    ranks = pooling is gguf.PoolingType.RANK and has_head
    write_tensors(writer, _weights(len(vocabulary.tokens), np.random.default_rng(seed), ranks=ranks))
    return path


def _words() -> Vocabulary:
    """Single characters, at the beginning of a word and inside one, and some words."""
    vocabulary = Vocabulary("bert")
    for name in ("pad", "unk", "cls", "sep", "mask"):
        vocabulary.specials[name] = vocabulary.add(f"[{name.upper()}]", gguf.TokenType.CONTROL)
    characters = string.ascii_lowercase + string.digits + string.punctuation
    for piece in (*characters, "the", "cat", "hat", "sea", "sand"):
        vocabulary.add(f"\u2581{piece}", gguf.TokenType.NORMAL)
    for piece in characters:
        vocabulary.add(piece, gguf.TokenType.NORMAL)
    return vocabulary


def _weights(
    count: int, rng: np.random.Generator, *, ranks: bool
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    def matrix(rows: int, columns: int) -> NDArray[np.float32]:
        return rng.standard_normal((rows, columns), dtype=np.float32) / np.float32(np.sqrt(columns))

    def vector(size: int) -> NDArray[np.float32]:
        return rng.standard_normal(size, dtype=np.float32) * np.float32(0.1)

    def norm(name: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
        yield f"{name}.weight", 1 + vector(WIDTH)
        yield f"{name}.bias", vector(WIDTH)

    yield "token_embd.weight", matrix(count, WIDTH)
    yield "token_types.weight", matrix(2, WIDTH)
    yield "position_embd.weight", matrix(CONTEXT, WIDTH)
    yield from norm("token_embd_norm")
    for block in range(BLOCKS):
        prefix = f"blk.{block}"
        for name, rows, columns in (
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", WIDTH, WIDTH),
            ("attn_v", WIDTH, WIDTH),
            ("attn_output", WIDTH, WIDTH),
            ("ffn_up", FEED_FORWARD, WIDTH),
            ("ffn_down", WIDTH, FEED_FORWARD),
        ):
            yield f"{prefix}.{name}.weight", matrix(rows, columns)
            yield f"{prefix}.{name}.bias", vector(rows)
        yield from norm(f"{prefix}.attn_output_norm")
        yield from norm(f"{prefix}.layer_output_norm")
    if ranks:
        yield "cls.weight", matrix(WIDTH, WIDTH)
        yield "cls.bias", vector(WIDTH)
        yield "cls.output.weight", matrix(1, WIDTH)
        yield "cls.output.bias", vector(1)
