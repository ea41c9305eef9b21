"""A graph in edgespec's steps: the same figures as node by node, and where its time goes."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgespec.llama.build import native_kernels
from edgespec.llama.context import Context
from edgespec.llama.eval_callback import EvalCallback
from edgespec.llama.model import Model
from edgespec.llama.node_profile import profiled_nodes
from edgespec.llama.quantizer import QuantizeSettings, quantize_file
from tests.llama.engines import TEXT, settings
from tests.tiny import Architecture, TinyShape, make_tiny_model

SHAPE = TinyShape(blocks=3, embedding=512, heads=8, kv_heads=4, feed_forward=768)
WATCHED = (
    "attn_norm",
    "Qcur",
    "Kcur",
    "Vcur",
    "kqv_out",
    "ffn_inp",
    "ffn_norm",
    "ffn_gate",
    "ffn_up",
    "ffn_swiglu",
    "l_out",
)
"""Nodes before and behind which a graph is cut when somebody looks at them."""


@pytest.fixture(
    scope="module", params=[("llama", "Q4_K_M"), ("qwen2", "Q4_K_M"), ("llama", "Q8_0"), ("qwen2", "Q5_0")]
)
def model_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture has several types among the products of the same rows; `qwen2` adds biases to queries, keys and values."""
    architecture: Architecture
    architecture, mixture = request.param
    folder = tmp_path_factory.mktemp("steps")
    dense = make_tiny_model(folder / "dense.gguf", shape=SHAPE, vocab_size=512, architecture=architecture)
    quantize_file(dense, folder / "model.gguf", QuantizeSettings(mixture), n_threads=1)
    return folder / "model.gguf"


def logits(
    model: Model, rows: int, n_threads: int, callback: EvalCallback | None
) -> list[NDArray[np.float32]]:
    """Of the last rows of a text in one batch, and of a step behind it."""
    tokens = (model.tokenize(TEXT) * 4)[: 20 + rows]
    changes = {"n_threads": n_threads, "n_outputs_max": rows}
    with Context(model, settings(**changes), callback=callback) as context:
        context.prefill(tokens[:20])
        context.decode(tokens[20:], outputs=rows)
        of_batch = context.logits(rows).copy()
        context.decode(tokens[:1])
        return [of_batch, context.logits(1).copy()]


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 4, 40])
def test_a_graph_in_steps_has_the_figures_of_its_nodes_one_by_one(
    model_file: Path, rows: int, n_threads: int
):
    seen: list[str] = []
    names = [f"{name}-{block}" for name in WATCHED for block in range(SHAPE.blocks)]
    callback = EvalCallback(nodes=dict.fromkeys(names, lambda node: seen.append(node.name)))
    with Model(model_file) as model:
        in_steps = logits(model, rows, n_threads, None)
        in_pieces = logits(model, rows, n_threads, callback)
    assert set(seen) >= {"ffn_gate-0", "Vcur-1", "l_out-2"}
    for ours, theirs in zip(in_steps, in_pieces, strict=True):
        if native_kernels().isa:
            np.testing.assert_array_equal(ours, theirs)
        else:
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=0.1)


def test_a_profile_has_every_kind_of_node_once_for_each_block_and_pass(model_file: Path):
    if not native_kernels().isa:
        pytest.skip("a build without edgespec's kernels")
    with Model(model_file) as model, Context(model, settings(n_threads=2)) as context:
        context.prefill(model.tokenize(TEXT))
        with profiled_nodes() as profile:
            for _ in range(5):
                context.decode([1])
    assert profile.n_graphs == 5
    assert sum(time.computing_s + time.waiting_s for time in profile.kinds.values()) < profile.graph_s
    counts = {kind: time.n_steps for kind, time in profile.kinds.items()}
    (attention,) = (kind for kind in counts if kind.startswith("FLASH_ATTN_EXT"))
    assert counts[attention] == 5 * SHAPE.blocks
    products = {kind: count for kind, count in counts.items() if "attn_q" in kind or "ffn_gate" in kind}
    assert all("attn_k" in kind and "attn_v" in kind for kind in products if "attn_q" in kind)
    assert all("ffn_up" in kind for kind in products if "ffn_gate" in kind)
    assert sum(products.values()) == 2 * 5 * SHAPE.blocks
