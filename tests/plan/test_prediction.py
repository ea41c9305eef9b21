"""A target on a machine, plain and with drafts: on machines whose figures make the answer one of arithmetic."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgespec.catalog.cache_layout import cache_layout
from edgespec.catalog.dimensions import Dimensions, Recurrent
from edgespec.catalog.entries import ModelEntry
from edgespec.catalog.memory import TARGET_SNAPSHOTS, estimate_as_draft, estimate_as_target
from edgespec.catalog.metadata import read_metadata
from edgespec.plan.acceptance import AcceptanceRate
from edgespec.plan.hardware import Hardware
from edgespec.plan.models import PlannedModel, PlannedPair
from edgespec.plan.prediction import BITS_PER_WEIGHT, DraftPrediction, Prediction, predict
from edgespec.plan.sketch import sketch_metadata
from edgespec.plan.speedup import break_even, predict_rate
from edgespec.plan.workload import workload_of
from tests.tiny import make_tiny_model

MEMORY_BOUND = Hardware(
    "box",
    "a box",
    10**12,
    bandwidth_bytes_per_s=2e6,
    bandwidth_share=0.5,
    block_s=0.0,
    source="",
    share_source="",
)
"""A million bytes a second, and compute for nothing."""
LARGE = Dimensions(blocks=8, embedding=1024, feed_forward=4096, heads=8, kv_heads=8, vocab=2000)
SMALL = Dimensions(blocks=2, embedding=256, feed_forward=1024, heads=4, kv_heads=4, vocab=2000)


def sketched(name: str, shape: Dimensions, label: str = "F16") -> PlannedModel:
    entry = ModelEntry(name, repo="a/b", file=f"{name}-{label}.gguf", shape=shape)
    return PlannedModel(name, sketch_metadata(entry, []), False, label)


def rate_of(rate: float) -> Callable[[PlannedModel], AcceptanceRate]:
    return lambda _draft: AcceptanceRate(rate, "as stated")


def on(machine: Hardware, *drafts: PlannedModel, rate: float = 0.8, n_ctx: int = 512) -> Prediction:
    pair = PlannedPair(sketched("large", LARGE), drafts)
    return predict(pair, machine, n_ctx=n_ctx, acceptance_of=rate_of(rate))


def test_plain_decoding_reads_weights_and_cache_once_a_token(tiny_model: Path) -> None:
    meta = read_metadata(tiny_model)
    pair = PlannedPair(PlannedModel("tiny", meta, True, "F32"))
    found = predict(pair, MEMORY_BOUND, n_ctx=512, acceptance_of=rate_of(0.8))
    embedding = next(tensor for tensor in meta.tensors if tensor.name == "token_embd.weight")
    # Keys and values of 2 heads of 16 in 2 blocks, 256 tokens of 2 bytes each.
    cache_bytes = 256 * 2 * 2 * 16 * 2 * 2
    assert found.tok_per_s == pytest.approx(1e6 / (meta.weights_bytes - embedding.n_bytes + cache_bytes))
    assert found.drafts == ()
    assert found.target.is_here


def test_a_machine_twice_as_fast_gives_twice_the_tokens_and_the_same_speedups() -> None:
    slow = on(MEMORY_BOUND, sketched("small", SMALL))
    fast = on(replace(MEMORY_BOUND, bandwidth_bytes_per_s=4e6), sketched("small", SMALL))
    assert fast.tok_per_s == pytest.approx(2 * slow.tok_per_s)
    assert fast.drafts[0].tok_per_s == pytest.approx(2 * slow.drafts[0].tok_per_s)
    assert fast.drafts[0].speedup == pytest.approx(slow.drafts[0].speedup)


def test_fewer_bits_take_their_share_off_the_weights_and_nothing_off_the_cache() -> None:
    pair = PlannedPair(sketched("large", LARGE, "Q8_0"))
    eight_s = 1 / predict(pair, MEMORY_BOUND, n_ctx=512, acceptance_of=rate_of(0.8)).tok_per_s
    cache_s = workload_of(pair.target.meta).kv_bytes / 1e6
    assert eight_s - cache_s == pytest.approx(8.5 / 16 * (1 / on(MEMORY_BOUND).tok_per_s - cache_s))


def test_a_draft_step_costs_its_share_of_the_bytes() -> None:
    (row,) = on(MEMORY_BOUND, sketched("small", SMALL)).drafts
    large, small = (workload_of(sketched("x", shape).meta) for shape in (LARGE, SMALL))
    share = (small.n_bytes + small.kv_bytes) / (large.n_bytes + large.kv_bytes)
    assert row.step_share == pytest.approx(share)
    assert row.costs.draft_step_s == pytest.approx((small.n_bytes + small.kv_bytes) / 1e6)
    assert row.speedup > 1.5
    assert row.length > 1


def test_a_draft_as_large_as_its_target_never_pays() -> None:
    found = on(MEMORY_BOUND, sketched("same", LARGE), rate=1.0)
    (row,) = found.drafts
    assert (row.length, row.break_even) == (0, None)
    assert row.speedup == 1.0
    assert row.tok_per_s == found.tok_per_s


def test_where_rows_cost_as_much_as_steps_no_draft_pays() -> None:
    work = workload_of(sketched("large", LARGE).meta)
    # As long as a row's arithmetic takes what the weights take to read, every row more costs a step more.
    compute_bound = replace(
        MEMORY_BOUND, flop_per_s=2 * work.n_elements / ((work.n_bytes + work.kv_bytes) / 1e6)
    )
    (row,) = on(compute_bound, sketched("small", SMALL), rate=0.9).drafts
    assert row.length == 0
    assert row.speedup == 1.0
    (row,) = on(MEMORY_BOUND, sketched("small", SMALL), rate=0.9).drafts
    assert row.length > 0


def test_a_draft_that_is_never_right_is_not_used() -> None:
    (row,) = on(MEMORY_BOUND, sketched("small", SMALL), rate=0.0).drafts
    assert (row.length, row.speedup) == (0, 1.0)
    assert row.break_even is not None
    assert 0 < row.break_even < 0.5


def test_the_fastest_draft_comes_first_and_each_has_its_own_acceptance() -> None:
    rates = {"poor": 0.4, "good": 0.9, "fair": 0.6}
    pair = PlannedPair(sketched("large", LARGE), tuple(sketched(name, SMALL) for name in rates))
    found = predict(
        pair,
        MEMORY_BOUND,
        n_ctx=512,
        acceptance_of=lambda draft: AcceptanceRate(rates[draft.name], "measured"),
    )
    assert [row.name for row in found.drafts] == ["good", "fair", "poor"]
    assert [row.acceptance.rate for row in found.drafts] == [0.9, 0.6, 0.4]


def test_a_model_that_does_not_fit_says_so_to_the_byte() -> None:
    needed = on(MEMORY_BOUND).memory_bytes
    assert on(replace(MEMORY_BOUND, memory_bytes=needed)).fits
    assert not on(replace(MEMORY_BOUND, memory_bytes=needed - 1)).fits
    assert on(replace(MEMORY_BOUND, memory_bytes=needed // 2 + 1, devices=2)).fits


def test_a_draft_has_to_fit_beside_its_target() -> None:
    target, draft = sketched("large", LARGE), sketched("small", SMALL)
    (row,) = on(MEMORY_BOUND, draft).drafts
    target_bytes = estimate_as_target(target.meta, 512).total_bytes
    draft_bytes = estimate_as_draft(draft.meta, 512).total_bytes
    assert row.memory_bytes == target_bytes + draft_bytes
    tight = on(replace(MEMORY_BOUND, memory_bytes=row.memory_bytes - 1), draft)
    assert tight.fits
    assert not tight.drafts[0].fits


def test_a_longer_context_takes_more_memory_and_no_more_time() -> None:
    short, long = on(MEMORY_BOUND, n_ctx=512), on(MEMORY_BOUND, n_ctx=4096)
    kv_bytes = 8 * 2 * 1024 * 2
    mask_bytes = 512 * 2
    assert long.memory_bytes - short.memory_bytes == (4096 - 512) * (kv_bytes + mask_bytes)
    assert long.tok_per_s == short.tok_per_s


def test_the_file_counts_as_large_as_it_is_published() -> None:
    target = sketched("large", LARGE)
    published = replace(target, meta=replace(target.meta, file_bytes=target.meta.file_bytes + 12345))
    found, other = (
        predict(PlannedPair(one), MEMORY_BOUND, n_ctx=512, acceptance_of=rate_of(0.8))
        for one in (target, published)
    )
    assert other.memory_bytes == found.memory_bytes + 12345


def test_a_file_that_is_here_takes_what_its_tensors_take(tiny_model: Path) -> None:
    meta = read_metadata(tiny_model)
    pair = PlannedPair(PlannedModel("tiny", meta, True, "F32"))
    found = predict(pair, MEMORY_BOUND, n_ctx=512, acceptance_of=rate_of(0.8))
    assert (
        found.memory_bytes == estimate_as_target(meta, 512).total_bytes < found.memory_bytes + meta.file_bytes
    )


MAMBA = replace(
    LARGE,
    architecture="granitehybrid",
    recurrent=Recurrent(kernel=4, attention=(3,), inner=2048, state=16, groups=1, heads=32),
)
"""llama.cpp keeps no older states of it."""
DELTA = replace(
    LARGE,
    architecture="qwen35",
    recurrent=Recurrent(kernel=4, every=4, inner=1024, state=128, groups=4, heads=8),
)
"""llama.cpp keeps older states of it."""
COMPUTING = replace(MEMORY_BOUND, flop_per_s=4e6)
"""Four rows cost what one does, eight twice as much."""


def drafted(
    target: Dimensions, draft: Dimensions, rate: float = 0.8, machine: Hardware = COMPUTING
) -> DraftPrediction:
    pair = PlannedPair(sketched("target", target), (sketched("draft", draft),))
    (row,) = predict(pair, machine, n_ctx=512, acceptance_of=rate_of(rate)).drafts
    return row


def test_a_recurrent_target_without_snapshots_pays_for_what_it_reads_again() -> None:
    row = drafted(MAMBA, SMALL)
    assert row.reads_again == ("target",)
    assert row.rollback.row_s > 0
    free = predict_rate(row.costs, row.acceptance.rate)
    assert 1 / row.costs.step_s < row.tok_per_s < free
    assert row.break_even is not None
    assert row.break_even > (break_even(row.costs) or 1.0)


def test_a_recurrent_target_with_snapshots_reads_nothing_again_and_drafts_no_further_than_they_reach() -> (
    None
):
    row = drafted(DELTA, SMALL, rate=0.99, machine=MEMORY_BOUND)
    assert row.reads_again == ()
    assert row.rollback.row_s == 0
    assert row.length == TARGET_SNAPSHOTS
    assert drafted(LARGE, SMALL, rate=0.99, machine=MEMORY_BOUND).length > TARGET_SNAPSHOTS


def test_a_recurrent_draft_reads_again_whatever_its_target_can() -> None:
    small = replace(DELTA, blocks=4, embedding=256, feed_forward=512, heads=4, kv_heads=4)
    assert drafted(DELTA, small).reads_again == ("draft",)
    assert drafted(MAMBA, small).reads_again == ("target", "draft")
    assert drafted(MAMBA, small).rollback.row_s > drafted(MAMBA, SMALL).rollback.row_s


def test_older_states_count_in_the_memory_of_a_target_and_not_of_a_draft() -> None:
    meta = sketched("any", DELTA).meta
    one = cache_layout(meta).state_bytes
    assert estimate_as_target(meta, 512).state_bytes == (1 + TARGET_SNAPSHOTS) * one
    assert estimate_as_draft(meta, 512).state_bytes == one


def test_quantizations_that_fit_are_named_from_the_best_on() -> None:
    target = sketched("large", LARGE)
    beside = on(MEMORY_BOUND).memory_bytes - target.meta.file_bytes
    params = target.meta.parameter_count
    five_bits = replace(MEMORY_BOUND, memory_bytes=int(params * 5 / 8) + beside)
    found = on(five_bits)
    assert not found.fits
    assert found.fitting == ("Q4_K_M", "Q4_K_S", "Q3_K_L", "Q3_K_S", "Q2_K", "IQ2_XXS", "IQ1_S")
    assert on(replace(MEMORY_BOUND, memory_bytes=beside)).fitting == ()
    assert on(MEMORY_BOUND).fitting == tuple(BITS_PER_WEIGHT)


def test_bits_per_weight_fall_from_one_quantization_to_the_next() -> None:
    bits = list(BITS_PER_WEIGHT.values())
    assert bits == sorted(bits, reverse=True)


def test_a_real_draft_of_a_real_target_is_worth_what_its_size_says(
    tiny_folder: Path, tiny_model: Path
) -> None:
    path = make_tiny_model(tiny_folder / "one-block.gguf", blocks=1)
    target, draft = (PlannedModel(file.stem, read_metadata(file), True, "F32") for file in (tiny_model, path))
    found = predict(PlannedPair(target, (draft,)), MEMORY_BOUND, n_ctx=512, acceptance_of=rate_of(0.95))
    # Half of the blocks, and the same output matrix: a step costs more than half of the target's.
    assert 0.5 < found.drafts[0].step_share < 1
    assert found.drafts[0].speedup >= 1
