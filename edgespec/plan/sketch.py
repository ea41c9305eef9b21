"""The header that a model which is not here would have, from the catalogue's dimensions and its file's name."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edgespec.catalog.entries import Dimensions, ModelEntry
from edgespec.catalog.gguf_types import BLOCKS
from edgespec.catalog.metadata import GgufMetadata, TensorInfo
from edgespec.errors import UsageError
from edgespec.text import nearest

MIXES: Final[dict[str, tuple[str, str, str]]] = {
    "F16": ("F16", "F16", "F16"),
    "BF16": ("BF16", "BF16", "BF16"),
    "Q8_0": ("Q8_0", "Q8_0", "Q8_0"),
    "Q6_K": ("Q6_K", "Q6_K", "Q6_K"),
    "Q5_K_M": ("Q5_K", "Q6_K", "Q6_K"),
    "Q5_0": ("Q5_0", "Q5_0", "Q6_K"),
    "Q4_K_M": ("Q4_K", "Q6_K", "Q6_K"),
    "Q4_K_S": ("Q4_K", "Q4_K", "Q6_K"),
    "Q4_1": ("Q4_1", "Q4_1", "Q6_K"),
    "Q4_0": ("Q4_0", "Q4_0", "Q6_K"),
    "Q3_K_M": ("Q3_K", "Q4_K", "Q6_K"),
    "Q2_K": ("Q2_K", "Q3_K", "Q6_K"),
}
"""Label of a file to the types of most tensors, of those that get more bits, and of the output (llama-quant.cpp)."""
_IN_NAME: Final = re.compile(
    rf"(?<![a-z0-9])({'|'.join(sorted(MIXES, key=len, reverse=True))})(?![a-z0-9_])", re.I
)
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
"""What TOML takes as a key without quotes."""
_FALLBACK: Final = {"Q6_K": "Q8_0", "Q5_K": "Q5_1", "Q4_K": "Q5_0", "Q3_K": "Q4_0", "Q2_K": "Q4_0"}
"""What a tensor gets instead whose rows are not a multiple of 256 (llama-quant.cpp)."""


def _ways_to_know(name: str) -> str:
    """How a model without dimensions gets some; one of the hub that the catalogue does not name only by being fetched."""
    pull = f"run `edgespec models pull {name}`"
    if "/" in name:
        return pull
    key = name if _BARE_KEY.fullmatch(name) else f'"{name}"'
    return f"{pull}, give it a [models.{key}.shape] in models.toml"


def sketch_metadata(entry: ModelEntry, known: list[str]) -> GgufMetadata:
    """A header with the tensors that the file would hold; their offsets are 0, and of the vocabulary it has the size.

    Args:
        entry: A model of the catalogue.
        known: Names of models with dimensions, which could have been meant.

    Raises:
        UsageError: The catalogue has no dimensions for it, or its file's name does not tell the types.
    """
    if entry.shape is None:
        near = [name for name in nearest(entry.name, known) if name != entry.name] or known
        raise UsageError(
            f"{entry.name} is not on this machine, and the catalogue has no shape for it",
            f"{_ways_to_know(entry.name)}, or plan {' or '.join(near[:3])}",
        )
    label = label_of(entry.file_name)
    if label is None:
        raise UsageError(
            f"the name {entry.file_name} does not tell the types of the file's weights",
            f"planning without the file knows {', '.join(MIXES)}",
        )
    tensors = tuple(_tensors(entry.shape, label))
    weights_bytes = sum(tensor.n_bytes for tensor in tensors)
    return GgufMetadata(
        path=Path(entry.file_name),
        version=3,
        fields=_fields(entry, entry.shape),
        tensors=tensors,
        alignment=32,
        data_offset=0,
        file_bytes=entry.size_bytes or weights_bytes,
    )


def label_of(file_name: str) -> str | None:
    """The quantization that a file's name tells; None where it tells none that is known."""
    found = _IN_NAME.findall(file_name)
    return str(found[-1]).upper() if found else None


def _fields(entry: ModelEntry, shape: Dimensions) -> dict[str, object]:
    fields: dict[str, object] = {
        "general.architecture": "sketch",
        "general.name": entry.name,
        "sketch.block_count": shape.blocks,
        "sketch.embedding_length": shape.embedding,
        "sketch.feed_forward_length": shape.feed_forward,
        "sketch.attention.head_count": shape.heads,
        "sketch.attention.head_count_kv": shape.kv_heads,
        "sketch.vocab_size": shape.vocab,
    }
    if shape.head_length:
        fields |= {
            "sketch.attention.key_length": shape.head_length,
            "sketch.attention.value_length": shape.head_length,
        }
    return fields


def _tensors(shape: Dimensions, label: str) -> Iterator[TensorInfo]:
    base, more, output = MIXES[label]
    width, hidden = shape.embedding, shape.feed_forward
    head = shape.head_length or width // shape.heads
    yield _tensor("token_embd.weight", width, shape.vocab, output if shape.tied else base)
    for block in range(shape.blocks):
        better = more if _gets_more_bits(block, shape.blocks) else base
        prefix = f"blk.{block}."
        yield _tensor(prefix + "attn_q.weight", width, head * shape.heads, base)
        yield _tensor(prefix + "attn_k.weight", width, head * shape.kv_heads, base)
        yield _tensor(prefix + "attn_v.weight", width, head * shape.kv_heads, better)
        yield _tensor(prefix + "attn_output.weight", head * shape.heads, width, base)
        yield _tensor(prefix + "ffn_gate.weight", width, hidden, base)
        yield _tensor(prefix + "ffn_up.weight", width, hidden, base)
        yield _tensor(prefix + "ffn_down.weight", hidden, width, better)
    if not shape.tied:
        yield _tensor("output.weight", width, shape.vocab, output)


def _gets_more_bits(block: int, blocks: int) -> bool:
    """The first and last eighth and every third between (`use_more_bits` in llama-quant.cpp)."""
    eighth = blocks // 8
    return block < eighth or block >= 7 * blocks // 8 or (block - eighth) % 3 == 2


def _tensor(name: str, columns: int, rows: int, ggml_type: str) -> TensorInfo:
    while columns % BLOCKS[ggml_type][0]:
        ggml_type = _FALLBACK.get(ggml_type, "F16")
    weights, n_bytes = BLOCKS[ggml_type]
    return TensorInfo(name, (columns, rows), ggml_type, columns // weights * n_bytes * rows, 0)
