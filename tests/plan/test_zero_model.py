"""Models of zeros: real files that llama.cpp loads, of the size that they say."""

from pathlib import Path

import gguf
import pytest

from edgespec.catalog.metadata import read_metadata
from edgespec.catalog.model_file import open_file
from edgespec.plan.workload import workload_of
from edgespec.plan.zero_model import ZeroModel
from edgespec.session.loading import load_target
from edgespec.session.settings import EngineSettings


@pytest.mark.parametrize("ggml_type", ["Q4_K", "Q6_K", "Q8_0", "Q5_0", "F16"])
def test_a_file_holds_the_matrices_that_the_model_counts(tmp_path: Path, ggml_type: str) -> None:
    model = ZeroModel(ggml_type, blocks=3, width=256, hidden=512)
    model.write(tmp_path / "zero.gguf")
    tensors = gguf.GGUFReader(tmp_path / "zero.gguf").tensors
    of_blocks = [tensor for tensor in tensors if tensor.name.startswith("blk.") and "norm" not in tensor.name]
    assert len(of_blocks) == 3 * 7
    assert {tensor.tensor_type.name for tensor in of_blocks} == {ggml_type}
    assert sum(int(tensor.n_bytes) for tensor in of_blocks) == model.n_bytes
    assert not any(tensor.data.any() for tensor in tensors)


def test_a_decode_of_it_reads_what_the_plan_for_such_a_model_says(tmp_path: Path) -> None:
    model = ZeroModel("Q4_K", blocks=2, width=512, hidden=1024)
    model.write(tmp_path / "zero.gguf")
    work = workload_of(read_metadata(tmp_path / "zero.gguf"))
    # Besides its blocks' matrices only the embedding of 256 tokens, which is the output matrix too.
    assert work.bytes_by_type["Q4_K"] == model.n_bytes + 256 * 512 * 144 // 256
    assert work.n_blocks == 2


def test_the_zeros_stand_on_the_disk_and_are_not_a_hole(tmp_path: Path) -> None:
    path = tmp_path / "zero.gguf"
    ZeroModel("F16", blocks=2, width=256, hidden=512).write(path)
    stat = path.stat()
    assert stat.st_size > 2 * (2 * 256 * 256 + 2 * 64 * 256 + 3 * 256 * 512) * 2
    assert getattr(stat, "st_blocks", 1 << 60) * 512 >= stat.st_size


def test_llama_cpp_loads_it_and_answers_with_zeros(tmp_path: Path) -> None:
    path = tmp_path / "zero.gguf"
    ZeroModel("Q8_0", blocks=1, width=128, hidden=128).write(path)
    loaded = load_target(open_file("zero", path), EngineSettings(n_ctx=256, n_threads=1))
    try:
        loaded.context.decode([1, 2, 3], outputs=3)
        assert not loaded.context.logits(1).any()
        assert loaded.model.n_vocab == 256
    finally:
        loaded.close()


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        ZeroModel("F16", 1, 64, 64).write(tmp_path / "none" / "zero.gguf")
