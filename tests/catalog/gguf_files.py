"""Tiny GGUF files for tests of the catalogue, written by gguf-py: headers are real, weights are zeros."""

from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np

KINDS_WITHOUT_TEXT = [
    ({"architecture": "dream"}, "a diffusion model ('dream')"),
    ({"architecture": "llada-moe"}, "a diffusion model ('llada-moe')"),
    ({"architecture": "bert"}, "an encoder ('bert')"),
    ({"architecture": "t5"}, "an encoder with a decoder ('t5')"),
    ({"architecture": "clip", "kind": "mmproj"}, "the eyes or ears of another model ('clip')"),
    ({"architecture": "eagle3"}, "the draft head of another model ('eagle3')"),
    ({"architecture": "cogvlm"}, "a vision model that llama.cpp reads wrong ('cogvlm')"),
    ({"architecture": "qwen3tts"}, "a model of speech ('qwen3tts')"),
    ({"architecture": "qwen3", "pooling": 3}, "an embedding model (last-token pooling)"),
    ({"architecture": "qwen3", "pooling": 4}, "a reranker"),
    ({"causal": False}, "an encoder (its attention is not causal)"),
    ({"tokens": []}, "a model without a vocabulary"),
    ({"tokenizer": "no_vocab"}, "a model without a vocabulary"),
    ({"weights": False}, "a file without weights"),
    ({"kind": "adapter"}, "an adapter (LoRA) for another model"),
]
"""Arguments of `write_gguf`, and what comes of them in words."""

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def write_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    tokens: Sequence[str] | None = None,
    token_types: Sequence[int] | None = None,
    tokenizer: str = "gpt2",
    bos: int = 1,
    eos: int = 2,
    add_bos: bool | None = False,
    add_eos: bool | None = None,
    width: int = 64,
    blocks: int = 2,
    heads_kv: int | list[int] = 1,
    rows: int = 4,
    experts: int = 0,
    kind: str | None = None,
    pooling: int | None = None,
    causal: bool | None = None,
    weights: bool = True,
) -> Path:
    """A model of `blocks` blocks with a vocabulary of `tokens` and one weight of `rows` rows.

    `kind` is its `general.type`; `pooling` and `causal` are what embedding models say of themselves.
    """
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(f"test {path.stem}")
    writer.add_block_count(blocks)
    writer.add_context_length(2048)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(2)
    writer.add_head_count_kv(heads_kv)
    if experts:
        writer.add_expert_count(experts)
    if kind is not None:
        writer.add_type(kind)
    if pooling is not None:
        writer.add_uint32(f"{architecture}.pooling_type", pooling)
    if causal is not None:
        writer.add_causal_attention(causal)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    texts = list(vocabulary(40) if tokens is None else tokens)
    if texts:
        writer.add_tokenizer_model(tokenizer)
        writer.add_token_list(texts)
        writer.add_token_types(list(token_types) if token_types else [NORMAL] * len(texts))
        writer.add_bos_token_id(bos)
        writer.add_eos_token_id(eos)
    if add_bos is not None:
        writer.add_add_bos_token(add_bos)
    if add_eos is not None:
        writer.add_add_eos_token(add_eos)
    writer.add_chat_template("{{ messages }}")
    if weights:
        writer.add_tensor("token_embd.weight", np.zeros((rows, width), dtype=np.float32))
        quantized = np.zeros((rows, width // 32 * 34), dtype=np.uint8)
        writer.add_tensor("output.weight", quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def vocabulary(count: int, prefix: str = "t") -> list[str]:
    """`count` different tokens."""
    return [f"{prefix}{number}" for number in range(count)]
