"""Tiny random-weight GGUF models that llama.cpp loads: real files for tests, made in milliseconds.

Two tokenizers: `spm` (SentencePiece, as LLaMA 2: 256 byte tokens, so any text has tokens) and `bpe` (byte-level, as
GPT-2 and Qwen). Text goes through both unchanged. Control tokens can never be the best next token, so an answer runs
to its limit. The figures of the weights are drawn from a seed: the same arguments make the same file.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import gguf
import numpy as np
from numpy.typing import NDArray

from tests.tiny_vocabulary import NEVER_WRITTEN, Tokenizer, Vocabulary, tokens_of, write_vocabulary

Architecture = Literal["llama", "qwen2"]

CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""A chat template that needs no special tokens."""
FIM_TOKENS = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>")
"""As Qwen2.5-Coder has them."""


@dataclass(frozen=True, slots=True)
class TinyShape:
    """The sizes of a tiny model; `embedding` is a multiple of `heads`, `heads` of `kv_heads`."""

    blocks: int = 2
    embedding: int = 64
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 128
    context: int = 512


def make_tiny_model(
    path: Path,
    *,
    seed: int = 0,
    vocab_size: int | None = None,
    blocks: int = 2,
    embedding: int = 64,
    shape: TinyShape | None = None,
    architecture: Architecture = "llama",
    tokenizer: Tokenizer = "spm",
    chat_template: str | None = None,
    noise: float = 0.0,
    noise_seed: int = 1,
    causal: bool = True,
    alignment: int | None = None,
    fim: Iterable[str] = (),
    pooling: gguf.PoolingType | None = None,
    sampling: Mapping[str, float] = MappingProxyType({}),
) -> Path:
    """Writes a model and returns its path.

    Args:
        path: Where the file goes; its folder is made.
        seed: Of the weights.
        vocab_size: Padded with unused tokens up to this number; None takes what the tokenizer needs (about 300).
        blocks: Transformer blocks, unless `shape` is given.
        embedding: Width, unless `shape` is given.
        shape: All sizes at once.
        architecture: `llama` or `qwen2` (which has biases in attention).
        tokenizer: `spm` or `bpe`.
        chat_template: Jinja text for the metadata, such as CHAT_TEMPLATE; None writes none.
        noise: Standard deviation, relative to each weight's own, of what is added to the weights: with the same seed,
            a little noise makes a draft that often but not always agrees with its target.
        noise_seed: Of that noise.
        causal: False says that it reads in both directions, as encoders do.
        fim: Names of control tokens for filling in, such as those of FIM_TOKENS, which are added to the vocabulary.
        pooling: Says that it gives vectors of texts, and how those of the tokens become one.
        sampling: What it says of its sampling, by keys of llama.cpp (`temp`, `top_k`, `penalty_repeat` ...); whole numbers as such.
        alignment: Bytes, a power of two, that tensors begin at a multiple of; None is 32 and leaves the key out.
    """
    shape = shape or TinyShape(blocks=blocks, embedding=embedding)
    vocabulary = tokens_of(tokenizer, vocab_size)
    for name in fim:
        vocabulary.add(name, gguf.TokenType.CONTROL)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture)
    _write_shape(writer, shape, len(vocabulary.tokens))
    write_vocabulary(writer, vocabulary)
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    if pooling is not None:
        writer.add_pooling_type(pooling)
    if not causal:
        writer.add_causal_attention(False)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    for key, value in sampling.items():
        add = writer.add_int32 if isinstance(value, int) else writer.add_float32
        add(f"general.sampling.{key}", value)
    tensors = _weights(shape, vocabulary, architecture, np.random.default_rng(seed))
    write_tensors(writer, tensors, noise, noise_seed)
    return path


def write_tensors(
    writer: gguf.GGUFWriter,
    tensors: Iterable[tuple[str, NDArray[np.float32]]],
    noise: float = 0.0,
    noise_seed: int = 1,
) -> None:
    """Writes names and weights, with noise as in `make_tiny_model`, and closes the file."""
    disturbance = np.random.default_rng(noise_seed)
    for name, weight in tensors:
        if noise:
            weight = weight + noise * weight.std() * disturbance.standard_normal(
                weight.shape, dtype=np.float32
            )
        writer.add_tensor(name, np.ascontiguousarray(weight, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _weights(
    shape: TinyShape, vocabulary: Vocabulary, architecture: Architecture, rng: np.random.Generator
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Names and weights in GGUF's order of dimensions: rows are outputs. Gains keep the best logit well apart."""

    def matrix(rows: int, columns: int, gain: float = 1.0) -> NDArray[np.float32]:
        scale = np.float32(gain / np.sqrt(columns))
        return rng.standard_normal((rows, columns), dtype=np.float32) * scale

    width, kv_width = shape.embedding, shape.embedding // shape.heads * shape.kv_heads
    count = len(vocabulary.tokens)
    yield "token_embd.weight", matrix(count, width, gain=float(np.sqrt(width)))
    for block in range(shape.blocks):
        prefix = f"blk.{block}"
        yield f"{prefix}.attn_norm.weight", np.ones(width, np.float32)
        for name, rows in (("q", width), ("k", kv_width), ("v", kv_width)):
            yield f"{prefix}.attn_{name}.weight", matrix(rows, width, gain=1.5)
            if architecture == "qwen2":
                yield (
                    f"{prefix}.attn_{name}.bias",
                    rng.standard_normal(rows, dtype=np.float32) * np.float32(0.1),
                )
        yield f"{prefix}.attn_output.weight", matrix(width, width)
        yield f"{prefix}.ffn_norm.weight", np.ones(width, np.float32)
        yield f"{prefix}.ffn_gate.weight", matrix(shape.feed_forward, width)
        yield f"{prefix}.ffn_up.weight", matrix(shape.feed_forward, width)
        yield f"{prefix}.ffn_down.weight", matrix(width, shape.feed_forward)
    yield "output_norm.weight", np.ones(width, np.float32)
    output = matrix(count, width, gain=3.0)
    # A zero row gives logit 0, which some other token always beats: no answer ends or shows a control token.
    output[[i for i, kind in enumerate(vocabulary.types) if kind in NEVER_WRITTEN]] = 0
    yield "output.weight", output


def _write_shape(writer: gguf.GGUFWriter, shape: TinyShape, vocab_size: int) -> None:
    writer.add_name("tiny")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.embedding)
    writer.add_block_count(shape.blocks)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.embedding // shape.heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(vocab_size)
