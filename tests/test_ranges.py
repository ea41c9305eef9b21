"""Numbers that a Python program gives: refused in one line where they make no sense, and never handed to llama.cpp."""

import math
from collections.abc import Callable

import pytest

from edgespec.bench.speculative import BenchSettings
from edgespec.bench.sweep.sweep import SweepSettings
from edgespec.chat.thinking import Thinking
from edgespec.errors import UsageError
from edgespec.llama.placement import PlacementRequest
from edgespec.llama.sampler import Sampling
from edgespec.ranges import MOST_THREADS, RANGES, check_ranges
from edgespec.session import EngineSettings
from quant.prune.amount import Amount
from quant.prune.settings import PruneSettings


def sweep(**changes: object) -> object:
    return SweepSettings(**{"shapes": (), "batches": (1,), **changes})  # type: ignore[arg-type]


def prune(**changes: object) -> None:
    PruneSettings(Amount(ratio=0.25), **changes).check()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (lambda: EngineSettings(n_ctx=-1), "ctx_size"),
        (lambda: EngineSettings(n_ctx=63), "ctx_size"),
        (lambda: EngineSettings(n_ctx=2**32 + 512), "ctx_size"),
        (lambda: EngineSettings(n_threads=-1), "threads"),
        (lambda: EngineSettings(n_threads=MOST_THREADS + 1), "threads"),
        (lambda: PlacementRequest(-1), "gpu_layers"),
        (lambda: PlacementRequest(tensor_split=(1.0, -1.0)), "tensor_split"),
        (lambda: PlacementRequest(tensor_split=(math.nan,)), "tensor_split"),
        (lambda: Sampling(top_k=2**40), "top_k"),
        (lambda: Sampling(repeat_last_n=-1), "Sampling.repeat_last_n"),
        (lambda: Thinking(budget=-1), "think_budget"),
        (lambda: BenchSettings(max_tokens=0), "max_tokens"),
        (lambda: BenchSettings(repeat=-1), "repeat"),
        (lambda: BenchSettings(fixed=(0,)), "fixed"),
        (lambda: BenchSettings(fixed=(99,)), "fixed"),
        (lambda: sweep(batches=(4, 0)), "batch"),
        (lambda: sweep(warm_up=-1), "warmup"),
        (lambda: sweep(repeat=0), "repeat"),
        (lambda: sweep(budget_s=math.nan), "budget"),
        (lambda: prune(narrow=-0.5), "narrow"),
        (lambda: prune(drop_attention=-1), "drop_attention"),
        (lambda: prune(protect_first=-1), "protect_first"),
        (lambda: prune(protect_last=-1), "protect_last"),
        (lambda: prune(kv_groups=-1), "kv_groups"),
        (lambda: prune(n_tokens=-1), "calibration_tokens"),
    ],
)
def test_a_number_out_of_its_range_is_refused_by_its_name(make: Callable[[], object], setting: str) -> None:
    with pytest.raises(UsageError, match=rf"^`{setting}` \S+ is out of range$") as refused:
        make()
    assert refused.value.hint.startswith("use ")


def test_the_defaults_and_what_stands_for_them_are_in_range() -> None:
    EngineSettings()
    EngineSettings(n_ctx=64, n_threads=MOST_THREADS)
    PlacementRequest(1 << 16, tensor_split=(0.0, 3.0))
    Sampling(top_k=0, repeat_last_n=0)
    Thinking(budget=0)
    BenchSettings()
    sweep(warm_up=0)
    prune(protect_first=0, protect_last=0)
    check_ranges(**dict.fromkeys(RANGES))


def test_no_range_holds_what_is_no_number() -> None:
    for setting in RANGES:
        for value in (math.nan, -math.inf, math.inf):
            with pytest.raises(UsageError):
                check_ranges(**{setting: value})
