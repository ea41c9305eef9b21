"""llama.cpp's quantizer in process: a whole file or none."""

import signal
from pathlib import Path
from typing import Any

import gguf
import pytest

from edgespec.errors import EngineError
from edgespec.llama.context import Context
from edgespec.llama.library import load_library
from edgespec.llama.model import Model
from edgespec.llama.quantizer import requantize_file
from tests.llama.engines import TEXT, settings
from tests.recorded_progress import RecordedProgress
from tests.tiny import make_tiny_model


@pytest.mark.parametrize("type_name", ["Q4_0", "Q8_0"])
def test_every_matrix_takes_the_type_and_the_copy_answers(tmp_path: Path, tiny_model: Path, type_name: str):
    copy = tmp_path / "new" / "folder" / "copy.gguf"
    requantize_file(tiny_model, copy, type_name, n_threads=1)
    kinds = {tensor.tensor_type.name for tensor in gguf.GGUFReader(copy).tensors if len(tensor.shape) == 2}
    kinds_of_vectors = {
        tensor.tensor_type.name
        for tensor in gguf.GGUFReader(copy).tensors
        if len([size for size in tensor.shape if size > 1]) < 2
    }
    assert kinds == {type_name}
    assert kinds_of_vectors == {"F32"}
    assert copy.stat().st_size < tiny_model.stat().st_size / 2
    with Model(copy) as model, Context(model, settings()) as context:
        context.decode(model.tokenize(TEXT))
        spread = context.logits(1).std()
    assert 0.5 < spread < 20
    assert list(copy.parent.iterdir()) == [copy]


@pytest.mark.parametrize("alignment", [8, 16, 32, 64, 256, 4096])
def test_the_source_may_be_laid_out_in_any_way(tmp_path: Path, tiny_model: Path, alignment: int):
    odd = make_tiny_model(tmp_path / "odd.gguf", alignment=alignment)
    requantize_file(tiny_model, tmp_path / "plain-copy.gguf", "Q4_0", n_threads=1)
    requantize_file(odd, tmp_path / "odd-copy.gguf", "Q4_0", n_threads=1)
    plain, copy = (gguf.GGUFReader(tmp_path / f"{name}-copy.gguf") for name in ("plain", "odd"))
    assert [tensor.name for tensor in copy.tensors] == [tensor.name for tensor in plain.tensors]
    for one, other in zip(copy.tensors, plain.tensors, strict=True):
        assert bytes(one.data) == bytes(other.data), one.name
    Model(tmp_path / "odd-copy.gguf").close()


def test_the_copy_of_a_copy_is_allowed(tmp_path: Path, tiny_model: Path):
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    requantize_file(tiny_model, first, "Q8_0", n_threads=1)
    requantize_file(first, second, "Q4_0", n_threads=2)
    assert second.stat().st_size < first.stat().st_size


def test_progress_advances_once_per_tensor(tmp_path: Path, tiny_model: Path):
    progress = RecordedProgress()
    progress.stage("quantizing")
    requantize_file(tiny_model, tmp_path / "copy.gguf", "Q4_0", n_threads=1, progress=progress)
    assert [done for done, _, _ in progress.steps] == list(
        range(len(gguf.GGUFReader(tiny_model).tensors) + 1)
    )


def test_llama_cpp_stays_silent(tmp_path: Path, tiny_model: Path, capfd: pytest.CaptureFixture[str]):
    requantize_file(tiny_model, tmp_path / "copy.gguf", "Q4_0", n_threads=1)
    assert capfd.readouterr() == ("", "")


def test_a_source_that_is_not_a_model_leaves_nothing_behind(tmp_path: Path):
    source = tmp_path / "broken.gguf"
    source.write_bytes(b"nothing like a model")
    copies = tmp_path / "copies"
    with pytest.raises(EngineError, match=r"could not requantize broken\.gguf to Q4_0: .*magic"):
        requantize_file(source, copies / "copy.gguf", "Q4_0", n_threads=1)
    assert list(copies.iterdir()) == []


def test_a_source_cut_short_leaves_the_copy_from_before(tmp_path: Path, tiny_model: Path):
    source, copy = tmp_path / "cut.gguf", tmp_path / "copies" / "copy.gguf"
    source.write_bytes(tiny_model.read_bytes()[:-4000])
    copy.parent.mkdir()
    copy.write_bytes(b"the one from before")
    with pytest.raises(EngineError):
        requantize_file(source, copy, "Q4_0", n_threads=1)
    assert [path.read_bytes() for path in copy.parent.iterdir()] == [b"the one from before"]


def test_a_failure_half_way_leaves_nothing_behind(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    def half(_source: bytes, destination: bytes, _params: Any) -> int:
        Path(destination.decode()).write_bytes(b"half of it")
        return 1

    monkeypatch.setattr(load_library(), "llama_model_quantize", half)
    with pytest.raises(EngineError) as caught:
        requantize_file(tiny_model, tmp_path / "copies" / "copy.gguf", "Q8_0", n_threads=1)
    assert caught.value.message == "llama.cpp could not requantize tiny.gguf to Q8_0: 1"
    assert list((tmp_path / "copies").iterdir()) == []


def test_ctrl_c_while_a_copy_is_made_leaves_nothing_behind(
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    from edgespec.llama.library import native_log

    lines: list[str] = []

    def interrupt_once(_level: int, line: str) -> None:
        lines.append(line)
        if len(lines) == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(native_log, "log", interrupt_once)
    with pytest.raises(KeyboardInterrupt):
        requantize_file(tiny_model, tmp_path / "copies" / "copy.gguf", "Q4_0", n_threads=1)
    assert lines
    assert list((tmp_path / "copies").iterdir()) == []
    assert capfd.readouterr() == ("", "")
