"""What is written is the plan, byte for byte, or nothing."""

import os
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.errors import DiskSpaceError, ModelFileError, UsageError
from edgespec.llama.model import Model
from edgespec.progress import SILENT
from quant.gguf.fields import FieldValue
from quant.gguf.plan import copy_of
from quant.gguf.tensor_sources import ComputedTensor, Output
from quant.gguf.writer import write_gguf
from tests.recorded_progress import RecordedProgress, Stage


def tensor_bytes(meta: GgufMetadata) -> dict[str, bytes]:
    whole = meta.path.read_bytes()
    start = meta.data_offset
    return {t.name: whole[start + t.offset : start + t.offset + t.n_bytes] for t in meta.tensors}


def test_a_copy_has_the_bytes_of_its_source(tiny_model: Path, tmp_path: Path):
    plan = copy_of(read_metadata(tiny_model))

    write_gguf(plan, tmp_path / "out.gguf")

    assert (tmp_path / "out.gguf").read_bytes() == tiny_model.read_bytes()
    assert plan.file_bytes == tiny_model.stat().st_size
    assert (plan.parameter_count, plan.bpw) == (plan.source.parameter_count, plan.source.bpw)


def test_a_copy_in_many_chunks_is_the_same(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("quant.gguf.tensor_sources._CHUNK_BYTES", 1000)

    write_gguf(copy_of(read_metadata(tiny_model)), tmp_path / "out.gguf")

    assert (tmp_path / "out.gguf").read_bytes() == tiny_model.read_bytes()


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system cannot be told to begin a flush")
def test_what_stands_is_flushed_while_the_rest_is_copied(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Every byte but the last few is said once to be finished."""
    monkeypatch.setattr("quant.gguf.tensor_sources._CHUNK_BYTES", 1000)
    monkeypatch.setattr("quant.gguf.tensor_sources._FLUSHED_BYTES", 10_000)
    finished: list[tuple[int, int]] = []
    monkeypatch.setattr(
        os, "posix_fadvise", lambda _file, start, n_bytes, _advice: finished.append((start, n_bytes))
    )
    write_gguf(copy_of(read_metadata(tiny_model)), tmp_path / "out.gguf")
    ends = [start + n_bytes for start, n_bytes in finished]
    assert [start for start, _ in finished] == [0, *ends[:-1]]
    assert 0 <= tiny_model.stat().st_size - ends[-1] < 10_000


def test_an_output_that_is_stopped_writes_no_further(tmp_path: Path):
    with (tmp_path / "out").open("xb", buffering=0) as file, Output(file, (), SILENT) as out:
        out.write(b"one")
        out.stop()
        with pytest.raises(InterruptedError):
            out.write(bytes(1 << 20))


def test_edited_fields_are_read_back_with_their_values(tiny_model: Path, tmp_path: Path):
    edits = {
        "general.name": None,
        "llama.context_length": FieldValue("u32", 77),
        "x.text": FieldValue("str", "größe"),
        "x.texts": FieldValue("str", ("a", "")),
        "x.flags": FieldValue("bool", (True, False)),
        "x.number": FieldValue("f32", 0.5),
    }
    plan = replace(copy_of(read_metadata(tiny_model)), edits=edits, renames={"general.file_type": "x.moved"})

    write_gguf(plan, tmp_path / "out.gguf")
    fields = read_metadata(tmp_path / "out.gguf").fields

    assert "general.name" not in fields
    assert "general.file_type" not in fields
    assert fields["x.moved"] == plan.source.fields["general.file_type"]
    assert fields["llama.context_length"] == 77
    assert [fields[f"x.{key}"] for key in ("text", "texts", "flags", "number")] == [
        "größe",
        ["a", ""],
        [True, False],
        0.5,
    ]
    assert tuple(fields) == plan.field_names()


def test_computed_tensors_are_written_in_their_places(tiny_model: Path, tmp_path: Path):
    plan = copy_of(read_metadata(tiny_model))
    before = tensor_bytes(plan.source)
    order = np.arange(64)[::-1].copy()
    rows = np.frombuffer(before["blk.0.attn_q.weight"], np.float32).reshape(64, 64)
    computed = {
        "blk.0.attn_q.weight": lambda: rows[order].view(np.uint8),
        "blk.1.attn_norm.weight": lambda: np.full(64, 2, np.float32).view(np.uint8),
    }
    tensors = [
        replace(tensor, source=ComputedTensor(computed[tensor.name])) if tensor.name in computed else tensor
        for tensor in plan.tensors
    ]

    write_gguf(replace(plan, tensors=tuple(tensors)), tmp_path / "out.gguf")
    after = tensor_bytes(read_metadata(tmp_path / "out.gguf"))

    assert after["blk.0.attn_q.weight"] == rows[order].tobytes()
    assert after["blk.1.attn_norm.weight"] == np.full(64, 2, np.float32).tobytes()
    assert {name for name in before if before[name] != after[name]} == set(computed)


def test_a_tensor_of_another_size_than_planned_is_an_error(tiny_model: Path, tmp_path: Path):
    plan = copy_of(read_metadata(tiny_model))
    first = replace(plan.tensors[0], source=ComputedTensor(lambda: np.zeros(12, np.uint8)))

    with pytest.raises(ValueError, match="wrote 12 bytes where"):
        write_gguf(replace(plan, tensors=(first, *plan.tensors[1:])), tmp_path / "out.gguf")

    assert list(tmp_path.iterdir()) == []


def test_progress_counts_the_bytes(tiny_model: Path, tmp_path: Path):
    told, size = RecordedProgress(), tiny_model.stat().st_size

    write_gguf(copy_of(read_metadata(tiny_model)), tmp_path / "out.gguf", progress=told)

    assert told.stages == [Stage("writing", size, "bytes", size)]


def test_an_existing_file_is_replaced_only_when_forced(tiny_model: Path, tmp_path: Path):
    out = tmp_path / "out.gguf"
    out.write_bytes(b"mine")
    plan = copy_of(read_metadata(tiny_model))

    with pytest.raises(UsageError, match="exists"):
        write_gguf(plan, out)
    assert out.read_bytes() == b"mine"

    write_gguf(plan, out, force=True)
    assert out.read_bytes() == tiny_model.read_bytes()


def test_a_source_may_be_replaced_by_its_own_copy(tiny_model: Path, tmp_path: Path):
    own = Path(shutil.copyfile(tiny_model, tmp_path / "own.gguf"))

    write_gguf(copy_of(read_metadata(own)), own, force=True)

    assert own.read_bytes() == tiny_model.read_bytes()


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_behind_by_a_failure(tiny_model: Path, tmp_path: Path, failure: type[BaseException]):
    class Failing(RecordedProgress):
        def advance(self, amount: float = 1) -> None:
            RecordedProgress.advance(self, amount)
            if self.stages[-1].done > tiny_model.stat().st_size // 2:
                raise failure

    with pytest.raises(failure):
        write_gguf(copy_of(read_metadata(tiny_model)), tmp_path / "out.gguf", progress=Failing())

    assert list(tmp_path.iterdir()) == []


def test_what_llama_cpp_refuses_never_gets_its_name(tiny_model: Path, tmp_path: Path):
    plan = copy_of(read_metadata(tiny_model))
    cut = replace(plan, tensors=plan.tensors[:-1])

    with pytest.raises(ModelFileError, match=r"cannot load out\.gguf"):
        write_gguf(replace(cut, edits={"llama.block_count": FieldValue("u32", 3)}), tmp_path / "out.gguf")

    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_seen_before_anything_is_written(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage(1000, 1000, 0))

    with pytest.raises(DiskSpaceError, match="MiB free"):
        write_gguf(copy_of(read_metadata(tiny_model)), tmp_path / "out.gguf")

    assert list(tmp_path.iterdir()) == []


def test_a_source_cut_short_meanwhile_is_an_error(tiny_model: Path, tmp_path: Path):
    own = Path(shutil.copyfile(tiny_model, tmp_path / "own.gguf"))
    plan = copy_of(read_metadata(own))
    with own.open("r+b") as file:
        file.truncate(plan.source.data_offset + 100)

    with pytest.raises(ModelFileError, match="ends at byte"):
        write_gguf(plan, tmp_path / "out.gguf")

    assert list(tmp_path.iterdir()) == [own]


def test_the_result_runs(tiny_model: Path, tmp_path: Path):
    write_gguf(copy_of(read_metadata(tiny_model)), tmp_path / "out.gguf")

    with Model(tmp_path / "out.gguf") as copy, Model(tiny_model) as original:
        assert (copy.n_params, copy.n_layer) == (original.n_params, original.n_layer)
