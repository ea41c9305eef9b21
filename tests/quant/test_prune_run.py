"""What the steps of a run share: a scratch folder, a copy in half precision, a text."""

from pathlib import Path

import pytest

from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.llama.quantizer import requantize_file
from quant.gguf.plan import copy_of
from quant.prune.amount import Amount
from quant.prune.blocks import remove_blocks
from quant.prune.choices import Criterion
from quant.prune.plan import plan_pruning
from quant.prune.run import PruneRun, begin_run
from quant.prune.settings import PruneSettings
from tests.recorded_progress import RecordedProgress
from tests.tiny import make_tiny_model


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> GgufMetadata:
    return read_metadata(make_tiny_model(tmp_path_factory.mktemp("run") / "wide.gguf", blocks=4))


@pytest.fixture(scope="module")
def small(wide: GgufMetadata) -> GgufMetadata:
    """The same in a small type."""
    path = wide.path.with_name("small.gguf")
    requantize_file(wide.path, path, "Q8_0", n_threads=1)
    return read_metadata(path)


def begun(dense: GgufMetadata, folder: Path, told: RecordedProgress) -> PruneRun:
    """A run that reads no text."""
    settings = PruneSettings(
        Amount(n_blocks=1), criterion=Criterion.MAGNITUDE, repairs=False, protect_first=1, protect_last=1
    )
    return begin_run(plan_pruning(dense, settings), folder, told)


def test_a_model_in_a_wide_type_is_scored_as_it_is(wide: GgufMetadata, tmp_path: Path):
    told = RecordedProgress()
    with begun(wide, tmp_path, told).open_model(wide) as model:
        assert model.path == wide.path
    assert (told.stages, list(tmp_path.iterdir())) == ([], [])


def test_a_copy_in_half_precision_is_made_once(small: GgufMetadata, tmp_path: Path):
    told = RecordedProgress()
    run = begun(small, tmp_path, told)
    for _ in range(2):
        with run.open_model(small) as model:
            assert model.path == tmp_path / "small-f16.gguf"
    assert told.labels == ["making a copy in half precision"]
    types = {tensor.ggml_type for tensor in read_metadata(tmp_path / "small-f16.gguf").tensors}
    assert types <= {"F16", "F32"}


def test_a_model_in_between_is_scored_too(small: GgufMetadata, tmp_path: Path):
    run = begun(small, tmp_path, RecordedProgress())
    shallow = run.write_scratch(remove_blocks(run.dense, [1]), "shallow.gguf")
    assert shallow.block_count == 3
    with run.open_model(shallow) as model:
        assert (model.path, model.n_layer) == (tmp_path / "shallow-f16.gguf", 3)


def test_a_run_without_a_text_has_an_empty_one(wide: GgufMetadata, tmp_path: Path):
    run = begun(wide, tmp_path, RecordedProgress())
    assert (run.calibration.fit.size, run.calibration.held_out.size) == (0, 0)
    assert run.dense.tensors == copy_of(wide).tensors
