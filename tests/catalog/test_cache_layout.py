"""What models keep of their tokens: sums made by hand from published headers, by llama.cpp's rules for each kind."""

from pathlib import Path
from typing import Any

import pytest

from edgespec.catalog.cache_layout import CacheNeeds, cache_layout
from edgespec.catalog.memory import estimate_memory
from edgespec.catalog.metadata import GgufMetadata

GIB, F16, F32 = 2**30, 2, 4
CONTEXT = 131072


def header(architecture: str, **fields: Any) -> GgufMetadata:
    """A header without tensors; `__` in a name stands for a dot."""
    known: dict[str, object] = {"general.architecture": architecture}
    known |= {f"{architecture}.{name.replace('__', '.')}": value for name, value in fields.items()}
    return GgufMetadata(Path("m.gguf"), 3, known, (), 32, 0, 0)


def attention(blocks: int, width: int, heads: int, kv_heads: int | list[int], head: int) -> dict[str, Any]:
    return {
        "block_count": blocks,
        "embedding_length": width,
        "attention__head_count": heads,
        "attention__head_count_kv": kv_heads,
        "attention__key_length": head,
        "attention__value_length": head,
    }


QWEN35_27B = header(
    "qwen35",
    **attention(64, 5120, 24, 4, 256),
    full_attention_interval=4,
    ssm__conv_kernel=4,
    ssm__inner_size=6144,
    ssm__state_size=128,
    ssm__group_count=16,
    ssm__time_step_rank=48,
)


def test_of_a_hybrid_only_blocks_with_attention_have_a_cache() -> None:
    needs = CacheNeeds(CONTEXT)
    layout = cache_layout(QWEN35_27B)
    assert layout.kv_bytes(needs) == 16 * CONTEXT * 2 * 4 * 256 * F16 == 8 * GIB
    state = 3 * (6144 + 2 * 16 * 128) + 128 * 6144
    assert layout.all_states_bytes(needs) == 48 * state * F32
    assert estimate_memory(QWEN35_27B, n_ctx=CONTEXT, n_outputs=1).kv_bytes == 8 * GIB


def test_a_state_does_not_grow_with_the_context_but_with_sequences_and_snapshots() -> None:
    layout = cache_layout(QWEN35_27B)
    one = layout.all_states_bytes(CacheNeeds(256))
    assert layout.all_states_bytes(CacheNeeds(CONTEXT)) == one
    assert layout.all_states_bytes(CacheNeeds(256, n_sequences=3)) == 3 * one
    assert layout.all_states_bytes(CacheNeeds(256, n_snapshots=7)) == 8 * one
    plain = cache_layout(header("mamba", block_count=2, embedding_length=64, ssm__inner_size=128))
    assert not plain.keeps_snapshots
    assert plain.all_states_bytes(CacheNeeds(256, n_snapshots=7)) == plain.all_states_bytes(CacheNeeds(256))


@pytest.mark.parametrize(
    ("meta", "elements", "state"),
    [
        (header("llama", **attention(32, 4096, 32, 8, 128)), 32 * 2 * 8 * 128, 0),
        # Every fourth block of 32 has KV heads.
        (
            header(
                "granitehybrid",
                **attention(8, 2048, 32, [0, 0, 0, 8] * 2, 64),
                ssm__conv_kernel=4,
                ssm__inner_size=4096,
                ssm__state_size=128,
                ssm__group_count=1,
            ),
            2 * 2 * 8 * 64,
            6 * (3 * (4096 + 2 * 128) + 128 * 4096),
        ),
        (
            header("lfm2", **attention(4, 1024, 16, [0, 8, 0, 8], 64), shortconv__l_cache=3),
            2 * 2 * 8 * 64,
            2 * 1024 * 2,
        ),
        (
            header(
                "mamba",
                block_count=4,
                embedding_length=768,
                ssm__conv_kernel=4,
                ssm__inner_size=1536,
                ssm__state_size=16,
            ),
            0,
            4 * (3 * 1536 + 16 * 1536),
        ),
        (header("rwkv7", block_count=3, embedding_length=512, wkv__head_size=64), 0, 3 * 512 * (2 + 64)),
        # Both in every block.
        (
            header(
                "falcon-h1",
                **attention(2, 1024, 8, 2, 128),
                ssm__conv_kernel=4,
                ssm__inner_size=1536,
                ssm__state_size=128,
                ssm__group_count=1,
            ),
            2 * 2 * 2 * 128,
            2 * (3 * (1536 + 2 * 128) + 128 * 1536),
        ),
        # Blocks with a feed-forward network have neither.
        (
            header(
                "nemotron_h",
                **attention(4, 1024, 16, [0, 0, 4, 0], 128),
                feed_forward_length=[0, 4096, 0, 4096],
                ssm__conv_kernel=4,
                ssm__inner_size=2048,
                ssm__state_size=128,
                ssm__group_count=8,
            ),
            2 * 4 * 128,
            3 * (2048 + 2 * 8 * 128) + 128 * 2048,
        ),
        # Latent attention: one key of 512 + 64, no value.
        (
            header(
                "deepseek2",
                **attention(27, 2048, 16, 1, 576),
                attention__key_length_mla=192,
                attention__value_length_mla=128,
            ),
            27 * 576,
            0,
        ),
        # The last ten of 30 blocks read caches of those before.
        (header("gemma3n", **attention(30, 2048, 8, 2, 256), attention__sliding_window=512), 20 * 1024, 0),
        (
            header(
                "gemma4",
                **attention(6, 1536, 8, 1, 512),
                attention__key_length_swa=256,
                attention__value_length_swa=256,
                attention__shared_kv_layers=2,
                attention__sliding_window=512,
                attention__sliding_window_pattern=[True, True, False, True, True, False],
            ),
            2 * 512 + 3 * 2 * 256,
            0,
        ),
        # A block that only predicts further tokens has no cache.
        (header("glm4moe", **attention(5, 4096, 32, 8, 128), nextn_predict_layers=1), 4 * 2 * 8 * 128, 0),
        (header("llada", **attention(32, 4096, 32, 8, 128)), 0, 0),
        (header("nanbeige", **attention(4, 1024, 8, 2, 128), num_loops=2), 8 * 2 * 2 * 128, 0),
        # Sparse attention: beside each latent key one of the indexer.
        (
            header(
                "deepseek32",
                **attention(3, 2048, 16, 1, 576),
                attention__key_length_mla=192,
                attention__value_length_mla=128,
                attention__indexer__key_length=128,
            ),
            3 * (576 + 128),
            0,
        ),
    ],
    ids=lambda value: value.architecture if isinstance(value, GgufMetadata) else "",
)
def test_each_kind_of_memory_is_counted_by_its_own_rule(
    meta: GgufMetadata, elements: int, state: int
) -> None:
    layout = cache_layout(meta)
    assert layout.kv_bytes(CacheNeeds(1024)) == 1024 * elements * F16
    assert layout.all_states_bytes(CacheNeeds(1024)) == state * F32


GEMMA3 = header("gemma3", **attention(18, 640, 4, 1, 256), attention__sliding_window=512)


def test_windows_have_fewer_cells_where_the_context_is_not_made_for_full_ones() -> None:
    cell = 2 * 256 * F16
    full, short = CacheNeeds(32768), CacheNeeds(32768, full_windows=False)
    assert cache_layout(GEMMA3).kv_bytes(full) == 18 * 32768 * cell
    # Every sixth block looks at everything; windows take 512 + 512 rows of a batch.
    assert cache_layout(GEMMA3).kv_bytes(short) == (3 * 32768 + 15 * 1024) * cell


def test_a_decode_reads_no_more_than_the_window() -> None:
    cell = 2 * 256 * F16
    assert cache_layout(GEMMA3).read_bytes(100) == 18 * 100 * cell
    assert cache_layout(GEMMA3).read_bytes(10_000) == (3 * 10_000 + 15 * 512) * cell


def test_an_unknown_architecture_counts_in_full() -> None:
    fields = attention(4, 256, 4, 2, 64) | {"attention__sliding_window": 32}
    assert cache_layout(header("someday", **fields)).kv_bytes(CacheNeeds(256)) == 256 * 4 * 2 * 128 * F16


@pytest.mark.parametrize("architecture", ["llama", "qwen35", "gemma3", "deepseek4", "nemotron_h", "glm-dsa"])
def test_a_header_that_claims_anything_is_counted_without_an_error(architecture: str) -> None:
    empty = cache_layout(header(architecture))
    assert empty.kv_bytes(CacheNeeds(256)) == 0
    odd = header(
        architecture,
        block_count=2**40,
        attention__head_count_kv=[1],
        attention__sliding_window=-5,
        attention__sliding_window_pattern=-1,
        nextn_predict_layers=2**50,
        full_attention_interval=0,
        attention__compress_ratios=["4"],
        attention__indexer__key_length=64,
    )
    assert cache_layout(odd).kv_bytes(CacheNeeds(256)) >= 0
