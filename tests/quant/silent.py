"""Models with parts that add nothing, so that a test knows what may leave."""

from collections.abc import Iterable

import numpy as np

from quant.gguf.plan import GgufPlan
from quant.gguf.tensors import computed, find_tensor, replace_tensors


def with_zeros(plan: GgufPlan, names: Iterable[str]) -> GgufPlan:
    """The plan with some weights set to zero."""
    changed = {}
    for name in names:
        tensor = find_tensor(plan, name)
        assert tensor is not None
        zeros = np.zeros(tensor.shape[::-1], np.float32)
        changed[name] = computed(tensor, tensor.shape, lambda zeros=zeros: zeros)
    return replace_tensors(plan, changed)


def with_silent_blocks(plan: GgufPlan, blocks: Iterable[int]) -> GgufPlan:
    """The plan with blocks that leave the residual stream as it is."""
    parts = ("attn_output", "ffn_down")
    return with_zeros(plan, [f"blk.{block}.{part}.weight" for block in blocks for part in parts])
