"""What a decode moves and computes, against figures made by hand and against what a file holds."""

from dataclasses import replace
from pathlib import Path

import gguf
import pytest

from edgespec.catalog.dimensions import Dimensions
from edgespec.catalog.entries import ModelEntry
from edgespec.catalog.metadata import GgufMetadata, TensorInfo, read_metadata
from edgespec.plan.sketch import sketch_metadata
from edgespec.plan.workload import fast_draft_workload, workload_of
from tests.tiny import TinyShape, make_tiny_model

SMALL = Dimensions(blocks=8, embedding=256, feed_forward=512, heads=4, kv_heads=2, vocab=1000)
WIDTH, HIDDEN, KV_WIDTH, VOCAB, BLOCKS = 256, 512, 128, 1000, 8


def sketch(label: str, shape: Dimensions = SMALL) -> GgufMetadata:
    return sketch_metadata(ModelEntry("small", repo="a/b", file=f"small-{label}.gguf", shape=shape), [])


def test_of_a_real_file_all_is_read_but_the_embedding(tiny_model: Path) -> None:
    sizes = {tensor.name: int(tensor.n_bytes) for tensor in gguf.GGUFReader(tiny_model).tensors}
    work = workload_of(read_metadata(tiny_model))
    assert work.bytes_by_type == {"F32": sum(sizes.values()) - sizes["token_embd.weight"]}


def test_a_tiny_model_is_what_its_sizes_say(tmp_path: Path) -> None:
    shape = TinyShape(blocks=3, embedding=64, heads=4, kv_heads=2, feed_forward=128)
    meta = read_metadata(make_tiny_model(tmp_path / "tiny.gguf", shape=shape))
    attention = 64 * 64 + 32 * 64 + 32 * 64 + 64 * 64
    block = attention + 3 * 128 * 64 + 2 * 64
    weights = 3 * block + 64 + meta.vocab_size * 64
    work = workload_of(meta, depth=100)
    assert work.n_elements == weights
    assert work.n_bytes == 4 * weights
    assert work.n_blocks == 3
    # Keys and values of 2 heads of 16 in 3 blocks, 2 bytes each.
    assert work.kv_bytes == 100 * 2 * 2 * 16 * 3 * 2


def test_a_sketch_is_quantized_as_llama_quantize_would() -> None:
    meta = sketch("Q4_K_M")
    work = workload_of(meta)
    # Of 8 blocks the first, the last, and every third between get more bits for values and down projections.
    better = {tensor.name for tensor in meta.tensors if tensor.ggml_type == "Q6_K"} - {"output.weight"}
    assert better == {
        f"blk.{block}.{name}.weight" for block in (0, 3, 6, 7) for name in ("attn_v", "ffn_down")
    }
    q4 = BLOCKS * (2 * WIDTH * WIDTH + KV_WIDTH * WIDTH + 2 * HIDDEN * WIDTH)
    q4 += 4 * (KV_WIDTH * WIDTH + HIDDEN * WIDTH)
    q6 = 4 * (KV_WIDTH * WIDTH + HIDDEN * WIDTH) + VOCAB * WIDTH
    assert work.bytes_by_type == {"Q4_K": q4 * 144 // 256, "Q6_K": q6 * 210 // 256}
    assert work.n_elements == q4 + q6


@pytest.mark.parametrize(("label", "bits"), [("F16", 16), ("BF16", 16), ("Q8_0", 8.5)])
def test_a_sketch_in_one_type_has_its_bits_for_every_weight(label: str, bits: float) -> None:
    work = workload_of(sketch(label))
    assert set(work.bytes_by_type) == {label}
    assert work.n_bytes * 8 == bits * work.n_elements


def test_a_tied_embedding_is_read_as_the_output() -> None:
    tied, untied = (workload_of(sketch("F16", replace(SMALL, tied=tied))) for tied in (True, False))
    assert tied.n_bytes == untied.n_bytes
    assert tied.n_elements == untied.n_elements


def test_the_cache_grows_with_the_depth_and_with_the_heads_that_it_keeps() -> None:
    meta = sketch("F16")
    assert workload_of(meta, depth=512).kv_bytes == 2 * workload_of(meta, depth=256).kv_bytes
    all_heads = sketch("F16", replace(SMALL, kv_heads=4))
    assert workload_of(all_heads).kv_bytes == 2 * workload_of(meta).kv_bytes
    assert workload_of(meta, depth=256).kv_bytes == 256 * BLOCKS * 2 * KV_WIDTH * 2


def test_heads_wider_than_their_share_are_counted_as_wide() -> None:
    wide = workload_of(sketch("F16", replace(SMALL, head_length=128)))
    usual = workload_of(sketch("F16"))
    # Queries and outputs of 4 x 128 in place of 4 x 64, keys and values of 2 x 128 in place of 2 x 64.
    assert wide.n_elements - usual.n_elements == BLOCKS * WIDTH * (2 * 256 + 2 * 128)
    assert wide.kv_bytes == 2 * usual.kv_bytes


def test_of_experts_only_those_in_use_are_read() -> None:
    dense = sketch("F16")
    experts = tuple(
        TensorInfo(
            f"blk.{block}.ffn_{kind}_exps.weight", (WIDTH, HIDDEN, 8), "F16", WIDTH * HIDDEN * 8 * 2, 0
        )
        for block in range(BLOCKS)
        for kind in ("gate", "up", "down")
    )
    attention = tuple(tensor for tensor in dense.tensors if "ffn_" not in tensor.name)
    fields = {**dense.fields, "llama.expert_count": 8, "llama.expert_used_count": 2}
    mixture = replace(dense, tensors=attention + experts, fields=fields)
    # Two of eight experts of the dense network's size: twice what the dense one reads there.
    feed_forward = BLOCKS * 3 * WIDTH * HIDDEN
    assert workload_of(mixture).n_elements == workload_of(dense).n_elements + feed_forward
    assert workload_of(mixture).n_bytes == workload_of(dense).n_bytes + 2 * feed_forward
    # Two rows wake 1 - (3/4)^2 of the eight, 3.5 of them; and ever so many all.
    attention = workload_of(dense).n_bytes - 2 * feed_forward
    assert workload_of(mixture).bytes_of(2) == {"F16": pytest.approx(attention + 3.5 * 2 * feed_forward)}
    assert workload_of(mixture).bytes_of(1000)["F16"] == pytest.approx(attention + 8 * 2 * feed_forward)
    assert workload_of(dense).bytes_of(7) == workload_of(dense).bytes_by_type


def test_a_drafts_copy_has_four_and_a_half_bits_for_every_weight_of_a_matrix(tiny_model: Path) -> None:
    meta = read_metadata(tiny_model)
    work = fast_draft_workload(meta)
    matrices = [
        tensor for tensor in meta.tensors if len(tensor.shape) == 2 and tensor.name != "token_embd.weight"
    ]
    weights = sum(tensor.n_elements for tensor in matrices)
    assert work.bytes_by_type == {"Q4_0": round(weights * 4.5 / 8)}
    assert work.n_elements == weights
    assert work.kv_bytes == workload_of(meta).kv_bytes


def test_a_draft_that_is_small_already_is_read_as_it_is() -> None:
    meta = sketch("Q4_0", replace(SMALL, vocab=64))
    assert meta.bpw < 5
    assert fast_draft_workload(meta) == workload_of(meta)
