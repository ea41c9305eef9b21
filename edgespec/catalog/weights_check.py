"""Whether a header and the weights below it are of one model.

llama.cpp makes room by what a header says before it looks for the weights, and so does whoever computes with them.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from edgespec.catalog.gguf_header import TensorInfo
from edgespec.errors import ModelFileError

BLOCK_TENSOR: Final = re.compile(r"blk\.(?P<block>\d+)\.(?P<rest>.+)", re.ASCII | re.DOTALL)
"""The name of a block's tensor."""
_MOST_DIGITS: Final = 9
"""Of a block's number; what is longer is none."""
_MOST_LEFT_OUT: Final = 512
"""Blocks, `LLAMA_MAX_LAYERS` of llama.cpp."""
_AGAIN: Final = "the file is damaged: download it again"


def block_numbers(names: Iterable[str]) -> set[int]:
    """The blocks that have weights, by the names of all tensors: 0 and 3 for `blk.0.attn_q.weight` and `blk.3.ffn_up.weight`."""
    found = (match["block"] for name in names if (match := BLOCK_TENSOR.fullmatch(name)))
    return {int(number) for number in found if len(number) <= _MOST_DIGITS}


def check_weights(
    path: Path, architecture: str, fields: Mapping[str, object], tensors: Sequence[TensorInfo]
) -> None:
    """Refuses a model that says that it has more blocks than there are weights of, another width than its embeddings, or wider
    feed-forward parts than its own.

    Nor may it say of its heads and norms what no model has: llama.cpp finds that out while it computes.

    A file without any block, such as a vocabulary alone, may say what it likes of them.

    Args:
        path: What it is called.
        architecture: Its name, which the keys begin with.
        fields: Its header.
        tensors: Of all its parts.

    Raises:
        ModelFileError: the header disagrees with the weights.
    """
    _check_blocks(path, architecture, fields, block_numbers(tensor.name for tensor in tensors))
    _check_width(path, architecture, fields, tensors)
    _check_feed_forward(path, architecture, fields, tensors)
    _check_heads(path, architecture, fields)
    _check_epsilons(path, fields)


def _check_blocks(path: Path, architecture: str, fields: Mapping[str, object], found: set[int]) -> None:
    count = fields.get(f"{architecture}.block_count")
    if not found or not isinstance(count, int):
        return
    # Blocks that only predict further tokens are counted, and some files come without them.
    left_out = fields.get(f"{architecture}.nextn_predict_layers")
    spared = min(left_out, _MOST_LEFT_OUT) if isinstance(left_out, int) else 0
    if count - max(0, spared) > max(found) + 1:
        raise ModelFileError(
            f"{path} says that it has {count} blocks, and has weights of {len(found)}", _AGAIN
        )


def _check_width(
    path: Path, architecture: str, fields: Mapping[str, object], tensors: Sequence[TensorInfo]
) -> None:
    width = fields.get(f"{architecture}.embedding_length")
    embeddings = next((tensor for tensor in tensors if tensor.name == "token_embd.weight"), None)
    if embeddings is None or not embeddings.shape or not isinstance(width, int):
        return
    # What models of speech read is of another width than what they compute.
    if embeddings.shape[0] not in (width, fields.get(f"{architecture}.features_length")):
        raise ModelFileError(
            f"{path} says that it is {width} wide, and its embeddings are {embeddings.shape[0]}", _AGAIN
        )


def _check_feed_forward(
    path: Path, architecture: str, fields: Mapping[str, object], tensors: Sequence[TensorInfo]
) -> None:
    widths = [tensor.shape[0] for tensor in tensors if ".ffn_down" in tensor.name and tensor.shape]
    most = _most(fields.get(f"{architecture}.feed_forward_length"))
    # The first Qwen says the width of gate and up together.
    if widths and most > 2 * max(widths):
        raise ModelFileError(
            f"{path} says that its feed-forward parts are {most} wide, and they are {max(widths)}", _AGAIN
        )


def _check_heads(path: Path, architecture: str, fields: Mapping[str, object]) -> None:
    width = fields.get(f"{architecture}.embedding_length")
    for key in (f"{architecture}.attention.head_count", f"{architecture}.attention.head_count_kv"):
        most = _most(fields.get(key))
        if isinstance(width, int) and most > width:
            raise ModelFileError(f"{path} says that {key} is {most}, and that it is {width} wide", _AGAIN)


def _check_epsilons(path: Path, fields: Mapping[str, object]) -> None:
    """What norms add to a variance, so as not to divide by nothing: 1e-5 or 1e-6 in most models."""
    for key, value in fields.items():
        if key.endswith("_epsilon") and isinstance(value, float) and not 0.0 <= value <= 1.0:
            raise ModelFileError(f"{path} says that {key} is {value:g}, not between 0 and 1", _AGAIN)


def _most(said: object) -> int:
    """The largest of what a header says of all blocks, or of each."""
    counts = said if isinstance(said, Sequence) else (said,)
    return max((count for count in counts if isinstance(count, int)), default=0)
