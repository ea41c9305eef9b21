"""llama.cpp's quantizer: a whole file or none, and an end at any moment."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import psutil
import pytest

from edgespec.errors import EngineError
from edgespec.llama.context import Context
from edgespec.llama.model import Model
from edgespec.llama.quantizer import QuantizeSettings, planned_types, requantize_file
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


@pytest.mark.parametrize("type_name", ["Q4_0", "Q4_K_M"])
def test_what_is_multiplied_element_by_element_stays_as_it_is(
    tmp_path: Path, tiny_model: Path, type_name: str
):
    # Names of one length: the convolution of qwen4exp's phrases in the place of a matrix.
    name, matrix = "blk.00.ple_conv1d.weight", "blk.0.attn_output.weight"
    source = tmp_path / "phrases.gguf"
    source.write_bytes(tiny_model.read_bytes().replace(matrix.encode(), name.encode()))
    types = planned_types(source, QuantizeSettings(type_name, tensor_types=((".*", "Q8_0"),)))
    assert types.get(name, "F32") == "F32"
    assert types["blk.1.attn_output.weight"] == "Q8_0"


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


@contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    """The system refuses to let a file of this process, or of one that it starts, grow any further."""
    resource = pytest.importorskip("resource", reason="no such limit on this system")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_failure_half_way_leaves_nothing_behind(tmp_path: Path, tiny_model: Path):
    with largest_file(50_000), pytest.raises(EngineError) as caught:
        requantize_file(tiny_model, tmp_path / "copies" / "copy.gguf", "Q8_0", n_threads=1)
    assert caught.value.message.startswith("llama.cpp could not requantize tiny.gguf to Q8_0: ")
    assert list((tmp_path / "copies").iterdir()) == []


def children() -> list[psutil.Process]:
    """Other tests of this process may have left helpers of other kinds."""
    found = psutil.Process().children(recursive=True)
    return [child for child in found if "edgespec.llama.quantizer_process" in child.cmdline()]


def test_ctrl_c_ends_the_work_at_once_and_leaves_nothing_behind(
    tmp_path: Path, tiny_model: Path, capfd: pytest.CaptureFixture[str]
):
    def interrupt(done: float, _label: str) -> None:
        if done == 1:
            signal.raise_signal(signal.SIGINT)

    progress = RecordedProgress(watch=interrupt)
    progress.stage("quantizing")
    with pytest.raises(KeyboardInterrupt):
        requantize_file(tiny_model, tmp_path / "copies" / "copy.gguf", "Q4_0", n_threads=1, progress=progress)
    assert progress.done == 1
    assert children() == []
    assert list((tmp_path / "copies").iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_the_work_waits_for_whoever_looks_at_its_progress(tmp_path: Path, tiny_model: Path):
    written: list[int] = []

    def look(done: float, _label: str) -> None:
        if done == 1:
            (unfinished,) = tmp_path.glob("*/copy.gguf")
            for _ in range(20):
                written.append(unfinished.stat().st_size)
                time.sleep(0.01)

    progress = RecordedProgress(watch=look)
    progress.stage("quantizing")
    requantize_file(tiny_model, tmp_path / "copy.gguf", "Q4_0", n_threads=1, progress=progress)
    assert max(written) < (tmp_path / "copy.gguf").stat().st_size


def test_what_ends_llama_cpps_process_is_an_error(tmp_path: Path, tiny_model: Path):
    def end(done: float, _label: str) -> None:
        if done == 1:
            for child in children():
                child.kill()

    progress = RecordedProgress(watch=end)
    progress.stage("quantizing")
    with pytest.raises(EngineError, match=r"tiny\.gguf to Q4_0: its process ended with code -9"):
        requantize_file(tiny_model, tmp_path / "copy.gguf", "Q4_0", n_threads=1, progress=progress)
    assert list(tmp_path.iterdir()) == []


_QUANTIZES = """
import sys, time
from pathlib import Path
from edgespec.llama.quantizer import QuantizeSettings, planned_types, requantize_file
from tests.recorded_progress import RecordedProgress

def halt(done, label):
    if done == 1:
        print("half", flush=True)
        time.sleep(600)

progress = RecordedProgress(watch=halt)
progress.stage("quantizing")
requantize_file(Path(sys.argv[1]), Path(sys.argv[2]), "Q4_0", n_threads=1, progress=progress)
"""


def test_a_kill_leaves_no_quantizer_running(tmp_path: Path, tiny_model: Path):
    command = [sys.executable, "-c", _QUANTIZES, str(tiny_model), str(tmp_path / "copy.gguf")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        started = psutil.Process(process.pid).children(recursive=True)
        assert started
        process.kill()
    assert psutil.wait_procs(started, timeout=60)[1] == []
