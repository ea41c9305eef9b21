"""The header that a model which is not here would have, from the catalogue's dimensions and its file's name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from edgespec.catalog.dimensions import Dimensions
from edgespec.catalog.entries import ModelEntry
from edgespec.catalog.metadata import GgufMetadata
from edgespec.errors import UsageError
from edgespec.plan.sketch_tensors import MIXES, sketch_tensors
from edgespec.text import nearest

_IN_NAME: Final = re.compile(
    rf"(?<![a-z0-9])({'|'.join(sorted(MIXES, key=len, reverse=True))})(?![a-z0-9_])", re.I
)
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
"""What TOML takes as a key without quotes."""


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
    tensors = tuple(sketch_tensors(entry.shape, label))
    weights_bytes = sum(tensor.n_bytes for tensor in tensors)
    return GgufMetadata(
        path=Path(entry.file_name),
        version=3,
        fields=_fields(entry.name, entry.shape),
        tensors=tensors,
        alignment=32,
        data_offset=0,
        file_bytes=entry.size_bytes or weights_bytes,
    )


def label_of(file_name: str) -> str | None:
    """The quantization that a file's name tells; None where it tells none that is known."""
    found = _IN_NAME.findall(file_name)
    return str(found[-1]).upper() if found else None


def _fields(name: str, shape: Dimensions) -> dict[str, object]:
    """The keys that caches, buffers and workloads are reckoned from, with GGUF's names."""
    kv_heads = [shape.kv_heads_of(block) for block in range(shape.blocks)]
    widths = [shape.feed_forward_of(block) for block in range(shape.blocks)]
    suffixes: dict[str, object] = {
        "block_count": shape.blocks,
        "embedding_length": shape.embedding,
        "feed_forward_length": widths if shape.shared_feed_forward else shape.feed_forward,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": kv_heads if len(set(kv_heads)) > 1 else shape.kv_heads,
        "attention.key_length": shape.key_length,
        "attention.value_length": shape.key_length,
        "vocab_size": shape.vocab,
        **_expert_fields(shape),
        **_window_fields(shape),
        **_recurrent_fields(shape),
    }
    if shape.shared_kv_blocks:
        suffixes["attention.shared_kv_layers"] = shape.shared_kv_blocks
    if shape.block_embedding:
        suffixes["embedding_length_per_layer_input"] = shape.block_embedding
    arch = shape.architecture
    return {
        "general.architecture": arch,
        "general.name": name,
        **{f"{arch}.{key}": value for key, value in suffixes.items()},
    }


def _expert_fields(shape: Dimensions) -> Mapping[str, object]:
    experts = shape.experts
    if experts is None:
        return {}
    return {
        "expert_count": experts.count,
        "expert_used_count": experts.used,
        "expert_feed_forward_length": experts.feed_forward,
        "expert_shared_feed_forward_length": experts.shared_feed_forward,
        "leading_dense_block_count": experts.dense_blocks,
    }


def _window_fields(shape: Dimensions) -> Mapping[str, object]:
    window = shape.window
    if window is None:
        return {}
    head_length = window.head_length or shape.key_length
    return {
        "attention.sliding_window": window.tokens,
        "attention.sliding_window_pattern": [shape.is_windowed(block) for block in range(shape.blocks)],
        "attention.key_length_swa": head_length,
        "attention.value_length_swa": head_length,
    }


def _recurrent_fields(shape: Dimensions) -> Mapping[str, object]:
    kind = shape.recurrent
    if kind is None:
        return {}
    if not kind.inner:
        return {"shortconv.l_cache": kind.kernel}
    fields: dict[str, object] = {
        "ssm.conv_kernel": kind.kernel,
        "ssm.inner_size": kind.inner,
        "ssm.state_size": kind.state,
        "ssm.group_count": kind.groups,
        "ssm.time_step_rank": kind.heads,
    }
    return fields | ({"full_attention_interval": kind.every} if kind.every else {})
