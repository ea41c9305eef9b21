"""Blocks leave, the rest is renamed, and llama.cpp loads what remains."""

import ctypes
import os
from dataclasses import replace
from pathlib import Path

import pytest

from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.errors import UsageError
from edgespec.llama.library import load_library
from quant.gguf.fields import FieldValue
from quant.gguf.plan import GgufPlan, copy_of
from quant.gguf.writer import write_gguf
from quant.prune.blocks import DEPTH_ARCHITECTURES, remove_blocks
from tests.quant.architectures import recast
from tests.tiny import make_tiny_model


def tensors_of(path: Path) -> dict[str, bytes]:
    meta = read_metadata(path)
    data = path.read_bytes()[meta.data_offset :]
    return {tensor.name: data[tensor.offset : tensor.offset + tensor.n_bytes] for tensor in meta.tensors}


def prune_with_llama_cpp(source: Path, destination: Path, removed: list[int]) -> None:
    lib = load_library()
    params = lib.llama_model_quantize_default_params()
    blocks = (ctypes.c_int32 * (len(removed) + 1))(*sorted(removed), -1)
    params.prune_layers = ctypes.cast(blocks, type(params.prune_layers))
    params.only_copy = True
    params.nthread = 1
    assert not lib.llama_model_quantize(os.fsencode(source), os.fsencode(destination), ctypes.byref(params))


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("deep") / "deep.gguf", blocks=7)


@pytest.fixture(scope="module")
def gemma(deep: Path) -> Path:
    """A gemma3 of random weights with a window of 16 tokens."""
    return recast(deep, "gemma3", deep.with_name("gemma.gguf"))


def source_of(path: Path) -> GgufPlan:
    return copy_of(read_metadata(path))


def fields_after(plan: GgufPlan, path: Path) -> GgufMetadata:
    write_gguf(plan, path)
    return read_metadata(path)


@pytest.mark.parametrize("removed", [[0], [6], [2, 3, 4], [5, 1]])
def test_tensors_equal_those_of_llama_cpps_own_pruning(deep: Path, tmp_path: Path, removed: list[int]):
    prune_with_llama_cpp(deep, tmp_path / "theirs.gguf", removed)
    meta = fields_after(remove_blocks(source_of(deep), removed), tmp_path / "ours.gguf")

    assert tensors_of(tmp_path / "ours.gguf") == tensors_of(tmp_path / "theirs.gguf")
    assert meta.block_count == 7 - len(removed)


def test_removing_in_two_steps_is_removing_at_once(deep: Path, tmp_path: Path):
    write_gguf(remove_blocks(source_of(deep), [1, 4]), tmp_path / "once.gguf")
    write_gguf(remove_blocks(remove_blocks(source_of(deep), [1]), [3]), tmp_path / "twice.gguf")

    assert (tmp_path / "once.gguf").read_bytes() == (tmp_path / "twice.gguf").read_bytes()


def test_arrays_with_one_item_for_each_block_lose_the_same_items(deep: Path, tmp_path: Path):
    plan = replace(
        source_of(deep),
        edits={
            "llama.per_block": FieldValue("i32", tuple(range(7))),
            "llama.rope.dimension_sections": FieldValue("i32", (1,) * 7),
        },
    )

    fields = fields_after(remove_blocks(plan, [0, 5]), tmp_path / "out.gguf").fields

    assert fields["llama.per_block"] == [1, 2, 3, 4, 6]
    assert fields["llama.rope.dimension_sections"] == [1] * 7


@pytest.mark.parametrize(
    ("pattern", "flags"),
    [
        (None, [True, True, True, False, True]),
        (FieldValue("u32", 3), [True, True, False, False, True]),
        (FieldValue("bool", (False, True, True, False, True, True, False)), [False, True, True, True, False]),
    ],
)
def test_gemma3_keeps_each_blocks_own_window(
    gemma: Path, tmp_path: Path, pattern: FieldValue | None, flags: list[bool]
):
    key = "gemma3.attention.sliding_window_pattern"
    plan = replace(source_of(gemma), edits={key: pattern} if pattern else {})

    meta = fields_after(remove_blocks(plan, [3, 4]), tmp_path / "out.gguf")

    assert meta.fields[key] == flags
    assert meta.block_count == 5


def test_gemma3_without_a_window_gets_no_pattern(gemma: Path):
    plan = replace(source_of(gemma), edits={"gemma3.attention.sliding_window": None})

    assert "gemma3.attention.sliding_window_pattern" not in remove_blocks(plan, [0]).field_names()


def test_removing_nothing_changes_nothing(deep: Path):
    plan = source_of(deep)

    assert remove_blocks(plan, []) is plan


@pytest.mark.parametrize(
    ("removed", "message"),
    [([7], "there is no block 7"), ([-1], "there is no block -1"), (list(range(7)), "leaves none")],
)
def test_impossible_removals_are_refused(deep: Path, removed: list[int], message: str):
    with pytest.raises(UsageError, match=message):
        remove_blocks(source_of(deep), removed)


def test_an_unknown_architecture_is_refused_with_the_list(deep: Path):
    plan = replace(source_of(deep), edits={"general.architecture": FieldValue("str", "rwkv7")})

    with pytest.raises(UsageError, match="rwkv7") as refusal:
        remove_blocks(plan, [0])

    assert all(name in refusal.value.hint for name in DEPTH_ARCHITECTURES)
