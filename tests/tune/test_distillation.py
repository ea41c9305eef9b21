"""What a taught draft is written as."""

from pathlib import Path

import numpy as np
import pytest

from edgespec.catalog.metadata import read_metadata
from edgespec.llama.quantizer import QuantizeSettings
from edgespec.tune.distillation import taught_plan
from quant.convert.quantize import quantize_model
from quant.gguf.plan import copy_of
from quant.gguf.tensors import planned_weights
from quant.gguf.writer import write_gguf
from quant.numeric.distill import Student
from tests.tiny import TinyShape, make_tiny_model

NAME = "blk.1.ffn_up.weight"
LISTED = np.arange(3, 240, dtype=np.int32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model in Q5_0, as small published ones often are, and its Q4_0 copy."""
    folder = tmp_path_factory.mktemp("teach")
    shape = TinyShape(blocks=2, embedding=64, heads=4, kv_heads=2, feed_forward=96)
    meta = read_metadata(make_tiny_model(folder / "whole.gguf", shape=shape))
    published, fast = folder / "published.gguf", folder / "fast.gguf"
    quantize_model(meta, QuantizeSettings("Q5_0", pure=True), published)
    quantize_model(read_metadata(published), QuantizeSettings("Q4_0", pure=True), fast)
    return published, fast


def test_the_smallest_lesson_moves_hardly_any_weight(files: tuple[Path, Path], tmp_path: Path):
    published, fast = files
    written = []
    for number, sign in enumerate((-1, 1)):
        student = Student(copy_of(read_metadata(published)), 1, LISTED)
        weight = student.blocks[0][NAME.removeprefix("blk.1.")]
        weight += np.float32(sign * 1e-6) * np.abs(weight).max()
        file = tmp_path / f"{number}.gguf"
        write_gguf(taught_plan(fast, student), file)
        written.append(planned_weights(copy_of(read_metadata(file)), NAME))
    scale = np.abs(written[0]).mean()
    assert np.abs(written[1] - written[0]).mean() < 0.01 * scale
    # As near to what was taught as four bits a weight can be.
    assert np.abs(written[1] - weight).mean() < 0.12 * scale
