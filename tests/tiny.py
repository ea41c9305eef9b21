"""Tiny random-weight GGUF models that llama.cpp loads: real files for tests, made in milliseconds.

Two tokenizers: `spm` (SentencePiece, as LLaMA 2: 256 byte tokens, so any text has tokens) and `bpe` (byte-level, as
GPT-2 and Qwen). Text goes through both unchanged. Control tokens can never be the best next token, so an answer runs
to its limit. The figures of the weights are drawn from a seed: the same arguments make the same file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import gguf
import numpy as np
from numpy.typing import NDArray

Tokenizer = Literal["spm", "bpe"]
Architecture = Literal["llama", "qwen2"]

CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""A chat template that needs no special tokens."""

_COMMON = (
    "th",
    "he",
    "in",
    "er",
    "an",
    "re",
    "on",
    "at",
    "en",
    "nd",
    "ti",
    "es",
    "or",
    "te",
    "of",
    "ed",
    "is",
    "it",
)


@dataclass(frozen=True, slots=True)
class TinyShape:
    """The sizes of a tiny model; `embedding` is a multiple of `heads`, `heads` of `kv_heads`."""

    blocks: int = 2
    embedding: int = 64
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 128
    context: int = 512


@dataclass(slots=True)
class _Vocabulary:
    model: str
    tokens: list[bytes] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    specials: dict[str, int] = field(default_factory=dict)

    def add(self, token: str, kind: gguf.TokenType, score: float = 0.0) -> int:
        self.tokens.append(token.encode())
        self.types.append(int(kind))
        self.scores.append(score)
        return len(self.tokens) - 1


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
        alignment: Bytes, a power of two, that tensors begin at a multiple of; None is 32 and leaves the key out.
    """
    shape = shape or TinyShape(blocks=blocks, embedding=embedding)
    vocabulary = _spm_vocabulary() if tokenizer == "spm" else _bpe_vocabulary()
    _pad(vocabulary, vocab_size)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture)
    _write_shape(writer, shape, len(vocabulary.tokens))
    _write_vocabulary(writer, vocabulary)
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    if not causal:
        writer.add_causal_attention(False)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    disturbance = np.random.default_rng(noise_seed)
    for name, weight in _weights(shape, vocabulary, architecture, np.random.default_rng(seed)):
        if noise:
            weight = weight + noise * weight.std() * disturbance.standard_normal(
                weight.shape, dtype=np.float32
            )
        writer.add_tensor(name, np.ascontiguousarray(weight, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _weights(
    shape: TinyShape, vocabulary: _Vocabulary, architecture: Architecture, rng: np.random.Generator
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
    output[[i for i, kind in enumerate(vocabulary.types) if kind in _NEVER_WRITTEN]] = 0
    yield "output.weight", output


_NEVER_WRITTEN = {int(gguf.TokenType.CONTROL), int(gguf.TokenType.UNKNOWN), int(gguf.TokenType.UNUSED)}


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


def _write_vocabulary(writer: gguf.GGUFWriter, vocabulary: _Vocabulary) -> None:
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre("default" if vocabulary.model == "llama" else "gpt-2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.model == "llama":
        writer.add_token_scores(vocabulary.scores)
        writer.add_unk_token_id(vocabulary.specials["unk"])
        # Without it, no space is put before the text, so that text survives the round trip as it is.
        writer.add_add_space_prefix(False)
    else:
        writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(vocabulary.specials["bos"])
    writer.add_eos_token_id(vocabulary.specials["eos"])
    writer.add_add_bos_token(vocabulary.model == "llama")


def _pad(vocabulary: _Vocabulary, size: int | None) -> None:
    needed = len(vocabulary.tokens)
    if size is not None and size < needed:
        raise ValueError(f"vocab_size {size} is below the {needed} tokens that this tokenizer needs")
    for index in range((size or needed) - needed):
        vocabulary.add(f"<unused{index}>", gguf.TokenType.UNUSED)


def _pieces(space: str) -> list[tuple[str, str]]:
    """Pairs to merge, in order: every result has its halves earlier in the list or among the characters."""
    pairs = [(pair[0], pair[1]) for pair in _COMMON]
    pairs += [("th", "e"), ("an", "d"), ("in", "g"), ("i", "on"), ("en", "t")]
    pairs += [(space, letter) for letter in "atswi"]
    pairs += [(space, "the"), (space, "and"), (space, "of")]
    return pairs


def _spm_vocabulary() -> _Vocabulary:
    vocabulary = _Vocabulary("llama")
    vocabulary.specials["unk"] = vocabulary.add("<unk>", gguf.TokenType.UNKNOWN)
    vocabulary.specials["bos"] = vocabulary.add("<s>", gguf.TokenType.CONTROL)
    vocabulary.specials["eos"] = vocabulary.add("</s>", gguf.TokenType.CONTROL)
    for byte in range(256):
        vocabulary.add(f"<0x{byte:02X}>", gguf.TokenType.BYTE)
    space = "\u2581"  # how SentencePiece writes a space
    vocabulary.add(space, gguf.TokenType.NORMAL, score=-1000.0)
    for rank, pair in enumerate(_pieces(space)):
        vocabulary.add("".join(pair), gguf.TokenType.NORMAL, score=-float(rank))
    return vocabulary


def _bpe_vocabulary() -> _Vocabulary:
    vocabulary = _Vocabulary("gpt2")
    for character in byte_characters():
        vocabulary.add(character, gguf.TokenType.NORMAL)
    for left, right in _pieces(byte_characters()[ord(" ")]):
        vocabulary.add(left + right, gguf.TokenType.NORMAL)
        vocabulary.merges.append(f"{left} {right}")
    end = vocabulary.add("<|endoftext|>", gguf.TokenType.CONTROL)
    vocabulary.specials.update(bos=end, eos=end)
    return vocabulary


def byte_characters() -> list[str]:
    """The printable character that stands for each byte in GPT-2's byte-level BPE (`bytes_to_unicode`, encoder.py)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (chr(0x100 + index) for index in range(256))
    return [chr(byte) if byte in printable else next(others) for byte in range(256)]
