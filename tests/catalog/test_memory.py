"""Memory estimates and what is said when they do not fit."""

from pathlib import Path

import pytest

from edgespec import control_groups
from edgespec.catalog.memory import MemoryEstimate, available_memory_bytes, check_fits, estimate_memory
from edgespec.catalog.metadata import read_metadata
from edgespec.errors import NotEnoughMemoryError
from tests.catalog.gguf_files import write_gguf

GIB = 2**30


def test_the_parts_of_an_estimate_are_counted(tmp_path: Path) -> None:
    meta = read_metadata(write_gguf(tmp_path / "m.gguf"))
    estimate = estimate_memory(meta, n_ctx=1000, n_outputs=3, n_ubatch=512)
    assert estimate.weights_bytes == 1296
    # 1024 cells, 2 blocks, 1 KV head of 32 + 32 values of 2 bytes.
    assert estimate.kv_bytes == 1024 * 2 * 1 * (32 + 32) * 2
    assert estimate.logits_bytes == 3 * 40 * 4
    assert estimate.total_bytes == (
        estimate.weights_bytes
        + estimate.kv_bytes
        + estimate.logits_bytes
        + estimate.compute_bytes
        + estimate.mask_bytes
    )
    # 512 rows of 1024 F16 elements.
    assert estimate.mask_bytes == 512 * 1024 * 2


def test_a_quantized_cache_is_smaller_by_its_own_bytes(tmp_path: Path) -> None:
    meta = read_metadata(write_gguf(tmp_path / "m.gguf"))
    full = estimate_memory(meta, n_ctx=256, n_outputs=1)
    keys = estimate_memory(meta, n_ctx=256, n_outputs=1, kv_bytes_per_element_k=1.0625)
    assert full.kv_bytes - keys.kv_bytes == 256 * 2 * 32 * (2 - 1.0625)


def test_heads_that_differ_by_block_are_added_up(tmp_path: Path) -> None:
    meta = read_metadata(write_gguf(tmp_path / "m.gguf", heads_kv=[2, 1]))
    assert estimate_memory(meta, n_ctx=256, n_outputs=1).kv_bytes == 256 * 3 * 64 * 2


def test_more_context_never_takes_less(tmp_path: Path) -> None:
    meta = read_metadata(write_gguf(tmp_path / "m.gguf"))
    totals = [estimate_memory(meta, n_ctx=n, n_outputs=1).total_bytes for n in (1, 256, 257, 4096, 32768)]
    assert totals == sorted(totals)
    assert totals[0] == totals[1]


def test_what_fits_is_silent() -> None:
    check_fits([("a", MemoryEstimate(1, 1, 1, 1))], available_bytes=4)


def test_what_does_not_fit_is_told_in_numbers_with_every_way_out() -> None:
    target = MemoryEstimate(GIB, GIB // 2, 0, GIB // 4)
    draft = MemoryEstimate(GIB // 4, GIB // 4, 0, 0)
    with pytest.raises(NotEnoughMemoryError) as caught:
        check_fits([("big", target), ("small", draft)], 2 * GIB, first_alone="`draft` none")
    assert caught.value.message == (
        "big and small would take 2.25 GiB and this machine has 2.00 GiB free "
        "(big: 1.00 GiB weights + 0.50 GiB KV cache + 0.25 GiB buffers; "
        "small: 0.25 GiB weights + 0.25 GiB KV cache + 0.00 GiB buffers)"
    )
    assert caught.value.hint == (
        "try a smaller `ctx_size` or `draft` none or a file with a smaller quantization, or close other programs"
    )


def test_a_way_out_that_would_not_help_is_not_offered() -> None:
    with pytest.raises(NotEnoughMemoryError) as caught:
        check_fits([("big", MemoryEstimate(3 * GIB, 1, 0, 0))], available_bytes=GIB)
    assert "`ctx_size`" not in caught.value.hint
    assert "`draft`" not in caught.value.hint


def test_a_smaller_context_is_offered_where_the_mask_alone_is_too_large(tmp_path: Path) -> None:
    """With many positions and few KV heads the mask of a batch outgrows the cache."""
    meta = read_metadata(write_gguf(tmp_path / "m.gguf"))
    estimate = estimate_memory(meta, n_ctx=1 << 20, n_outputs=1)
    assert estimate.mask_bytes > estimate.kv_bytes
    with pytest.raises(NotEnoughMemoryError) as caught:
        check_fits([("wide", estimate)], available_bytes=estimate.total_bytes - estimate.kv_bytes - 1)
    assert "a smaller `ctx_size`" in caught.value.hint


def test_only_the_caller_knows_how_the_first_model_is_had_alone() -> None:
    models = [("pruned", MemoryEstimate(GIB, 0, 0, 0)), ("dense", MemoryEstimate(GIB, 0, 0, 0))]
    with pytest.raises(NotEnoughMemoryError) as caught:
        check_fits(models, available_bytes=GIB, first_alone="fewer models")
    assert caught.value.hint.startswith("try fewer models or")
    with pytest.raises(NotEnoughMemoryError) as caught:
        check_fits(models, available_bytes=GIB)
    assert caught.value.hint.startswith("try a file with a smaller quantization")


def test_this_machine_has_some_memory() -> None:
    assert available_memory_bytes() > 2**20


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": "1000", "memory.current": "900", "memory.stat": "anon 1\ninactive_file 50\n"}, 150),
        ({"memory.max": "max", "memory.current": "900"}, None),
        (
            {
                "memory.limit_in_bytes": "1000",
                "memory.usage_in_bytes": "990",
                "memory.stat": "total_inactive_file 5\ntotal_active_file 3\n",
            },
            18,
        ),
        ({"memory.limit_in_bytes": str(2**63 - 4096), "memory.usage_in_bytes": "9"}, None),
        ({"memory.max": "10", "memory.current": "30"}, 0),
        ({}, None),
    ],
)
def test_a_container_limit_counts_with_its_page_cache_as_free(
    tmp_path: Path, files: dict[str, str], expected: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert control_groups._headroom(tmp_path) == expected


def test_the_tightest_container_limit_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("5000")
    (tmp_path / "memory.current").write_text("2000")
    monkeypatch.setattr(control_groups, "_folders", lambda: [tmp_path])
    assert available_memory_bytes() == 3000
