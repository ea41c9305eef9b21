"""Tiny models of other architectures, made of a tiny llama: its weights under their names, and the norms they add."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgespec.catalog.metadata import read_metadata
from quant.gguf.fields import FieldValue
from quant.gguf.plan import PlannedTensor, copy_of
from quant.gguf.tensor_sources import ComputedTensor
from quant.gguf.writer import write_gguf

_HEAD_NORMS = {"attn_q_norm": 16, "attn_k_norm": 16}
_NORMS = {"qwen3": _HEAD_NORMS, "gemma3": {**_HEAD_NORMS, "post_attention_norm": 64, "post_ffw_norm": 64}}
_FIELDS = {"qwen3": {}, "gemma3": {"attention.sliding_window": 16}}


def recast(source: Path, architecture: str, path: Path) -> Path:
    """Writes a tiny llama of width 64 and heads of 16 as a `qwen3` or a `gemma3` with a window of 16 tokens."""
    plan = copy_of(read_metadata(source))

    def norm(name: str, width: int) -> PlannedTensor:
        ones = ComputedTensor(lambda: np.ones(width, np.float32).view(np.uint8))
        return PlannedTensor(name, (width,), "F32", ones)

    norms = [
        norm(f"blk.{block}.{name}.weight", width)
        for block in range(plan.source.block_count or 0)
        for name, width in _NORMS[architecture].items()
    ]
    keys = [key for key in plan.field_names() if key.startswith("llama.")]
    edits = {
        f"{architecture}.{key}": FieldValue("u32", value) for key, value in _FIELDS[architecture].items()
    }
    write_gguf(
        replace(
            plan,
            tensors=(*plan.tensors, *norms),
            renames={key: key.replace("llama.", f"{architecture}.", 1) for key in keys},
            edits={"general.architecture": FieldValue("str", architecture), **edits},
        ),
        path,
    )
    return path
