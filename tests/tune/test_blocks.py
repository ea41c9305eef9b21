"""Fewer blocks: which ones a draft misses least, and the file without them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.chat.messages import ChatMessage
from edgespec.decode.replay import Recording
from edgespec.llama.model import Model
from edgespec.paths import derived_models_dir
from edgespec.tune.blocks import BlockSpan, acceptance_without, best_span, find_or_make_pruned
from edgespec.tune.recordings import record_answers
from quant.gguf.plan import copy_of
from quant.gguf.recipe import read_recipe
from quant.gguf.tensors import computed, find_tensor, replace_tensors
from quant.gguf.writer import write_gguf
from tests.recorded_progress import RecordedProgress
from tests.tiny import CHAT_TEMPLATE, make_tiny_model

N_BLOCKS = 5
LOOKING = "looking for the 1 blocks that are missed least"
TEXT = "A sentence about nothing in particular, and then the same again. " * 60


def _idle(source: Path, destination: Path, blocks: Sequence[int]) -> Path:
    """A model whose `blocks` add nothing to the residual stream."""
    plan = copy_of(read_metadata(source))
    tensors = {}
    for block in blocks:
        for name in ("attn_output", "ffn_down"):
            tensor = find_tensor(plan, f"blk.{block}.{name}.weight")
            assert tensor is not None
            zeros = partial(np.zeros, tensor.shape[::-1], np.float32)
            tensors[tensor.name] = computed(tensor, tensor.shape, zeros)
    write_gguf(replace_tensors(plan, tensors), destination)
    return destination


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blocks")
    return make_tiny_model(folder / "whole.gguf", blocks=N_BLOCKS, chat_template=CHAT_TEMPLATE)


def _answers(path: Path) -> list[Recording]:
    with Model(path) as model:
        return record_answers(model, [[ChatMessage("user", f"Say {n}.")] for n in range(4)], 1)


@pytest.mark.parametrize("idle", [1, 2, 4])
def test_a_block_that_does_nothing_is_the_one_that_is_missed_least(whole: Path, tmp_path: Path, idle: int):
    path = _idle(whole, tmp_path / "idle.gguf", [idle])
    progress = RecordedProgress()
    with Model(path) as model:
        assert best_span(model, _answers(path), 1, 1, progress) == BlockSpan(idle, idle)
    # The first block is never tried.
    assert progress.find(LOOKING) == [(N_BLOCKS - 1, N_BLOCKS - 1)]


def test_two_idle_neighbours_are_found_as_one_span(whole: Path, tmp_path: Path):
    path = _idle(whole, tmp_path / "idle.gguf", [2, 3])
    with Model(path) as model:
        assert best_span(model, _answers(path), 2, 1) == BlockSpan(2, 3)


def test_without_an_idle_block_all_tokens_are_guessed_and_without_a_busy_one_few(whole: Path, tmp_path: Path):
    path = _idle(whole, tmp_path / "idle.gguf", [3])
    recordings = _answers(path)
    with Model(path) as model:
        assert acceptance_without(model, BlockSpan(3, 3), recordings, 1) > 0.97
        assert acceptance_without(model, BlockSpan(1, 1), recordings, 1) < 0.7


@pytest.fixture
def meta(whole: Path) -> GgufMetadata:
    return read_metadata(whole)


def test_the_pruned_draft_lacks_the_blocks_and_is_in_the_fast_type(meta: GgufMetadata):
    pruned = read_metadata(find_or_make_pruned(meta, BlockSpan(2, 3), TEXT))
    assert (pruned.block_count, pruned.quantization) == (N_BLOCKS - 2, "Q4_0")
    (step,) = [one for one in read_recipe(pruned)["steps"] if one["step"] == "prune"]
    assert (step["removed_blocks"], step["calibration"]) == ([2, 3], "target-text.txt")
    with Model(pruned.path) as model:
        assert model.n_layer == N_BLOCKS - 2


def test_a_pruned_draft_is_found_again_and_not_made_twice(meta: GgufMetadata):
    first, second = RecordedProgress(), RecordedProgress()
    made = find_or_make_pruned(meta, BlockSpan(2, 2), TEXT, first)
    written = made.stat().st_mtime_ns
    assert first.labels
    assert find_or_make_pruned(meta, BlockSpan(2, 2), TEXT, second) == made
    assert second.labels == []
    assert made.stat().st_mtime_ns == written


def test_another_span_of_the_same_draft_is_another_file(meta: GgufMetadata):
    one, other = (find_or_make_pruned(meta, BlockSpan(first, first), TEXT) for first in (1, 2))
    assert one != other
    assert one.read_bytes() != other.read_bytes()


@pytest.mark.parametrize("stage", ["repairing blocks", "writing"])
def test_stopping_while_it_is_pruned_leaves_nothing_behind(meta: GgufMetadata, stage: str):
    def stop(label: str) -> None:
        if label == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_or_make_pruned(meta, BlockSpan(2, 2), TEXT, RecordedProgress(stop))
    assert list(derived_models_dir().iterdir()) == []
