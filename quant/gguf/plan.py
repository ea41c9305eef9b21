"""GGUF in, GGUF out: a plan of what the new file holds, and the writer that carries it out in bounded memory.

A plan starts as a copy of its source; pruning and repair replace tensors and fields in it. Nothing is read of the
weights until `write_gguf`, which copies what is unchanged byte for byte. The format: docs/gguf.md of ggml.
"""

import errno
import os
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import FileIO
from math import prod
from pathlib import Path

from edgespec.catalog import gguf_types as types
from edgespec.catalog.gguf_fields import Fields, FieldSpan
from edgespec.catalog.gguf_header import read_header
from edgespec.catalog.metadata import GgufMetadata
from edgespec.errors import DiskSpaceError, ModelFileError, UsageError
from edgespec.llama.library import load_library
from quant.gguf.fields import FieldValue, ValueType, encoded_string, field_value
from quant.gguf.tensor_sources import ComputedTensor, CopiedBytes, CopiedRows, Output, TensorSource

__all__ = [
    "ComputedTensor",
    "CopiedBytes",
    "CopiedRows",
    "FieldValue",
    "GgufPlan",
    "PlannedTensor",
    "TensorSource",
    "ValueType",
    "check_destination",
    "check_room",
    "copy_of",
    "write_gguf",
]

_VERSION = 3
_TYPE_IDS = {name: number for number, (name, _, _) in types.TENSOR_TYPES.items()}
_SPLIT_PREFIX = "split."
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor of the output."""

    name: str
    shape: tuple[int, ...]
    """In GGUF order: the first dimension is the contiguous one (columns)."""
    ggml_type: str
    source: TensorSource

    @property
    def n_elements(self) -> int:
        """Number of weights."""
        return prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Bytes that it takes, without padding."""
        _, block, block_bytes = types.TENSOR_TYPES[_TYPE_IDS[self.ggml_type]]
        return self.n_elements // block * block_bytes


@dataclass(frozen=True, slots=True)
class GgufPlan:
    """What a new file will hold. Immutable: steps return changed copies (`dataclasses.replace`)."""

    source: GgufMetadata
    tensors: tuple[PlannedTensor, ...]
    edits: Mapping[str, FieldValue | None] = field(default_factory=dict)
    """By the key's name in the output: set, or removed with None. An edit wins over what a rename brings."""
    renames: Mapping[str, str] = field(default_factory=dict)
    """A key's name in the source to its name in the output; the bytes of the value are copied."""

    @property
    def architecture(self) -> str:
        """`general.architecture` of the output."""
        value = self.field("general.architecture")
        return str(value.value) if value else ""

    @property
    def parameter_count(self) -> int:
        """Weights of the output."""
        return sum(tensor.n_elements for tensor in self.tensors)

    @property
    def weights_bytes(self) -> int:
        """Bytes of all tensors, without header and padding."""
        return sum(tensor.n_bytes for tensor in self.tensors)

    @property
    def file_bytes(self) -> int:
        """Size of the output."""
        return _header_bytes(self) + sum(_padded(tensor.n_bytes, self) for tensor in self.tensors)

    @property
    def bpw(self) -> float:
        """Mean bits per weight; 0 without tensors."""
        count = self.parameter_count
        return 8 * self.weights_bytes / count if count else 0.0

    def field_names(self) -> tuple[str, ...]:
        """Every key of the output, in order."""
        return tuple(self._entries())

    def field(self, key: str) -> FieldValue | None:
        """The value of `key` in the output; None when it has none."""
        entry = self._entries().get(key)
        return field_value(_fields(self.source), entry) if isinstance(entry, str) else entry

    def _entries(self) -> dict[str, "FieldValue | str"]:
        """Key of the output to its new value, or to the key of the source that it is copied from."""
        entries: dict[str, FieldValue | str] = {}
        for old in self.source.fields:
            new = self.renames.get(old, old)
            if not old.startswith(_SPLIT_PREFIX):
                entries[new] = old
        for key, value in self.edits.items():
            if value is None:
                entries.pop(key, None)
            else:
                entries[key] = value
        return entries


def copy_of(source: GgufMetadata) -> GgufPlan:
    """The plan that copies everything into one file: the start of every plan.

    Raises:
        ModelMissingError: A part of a split model is gone.
        ModelFileError: A part is damaged.
    """
    starts = [source.data_offset, *(read_header(part).data_offset for part in source.parts[1:])]
    return GgufPlan(
        source,
        tuple(
            PlannedTensor(
                tensor.name,
                tensor.shape,
                tensor.ggml_type,
                CopiedBytes(tensor.part, starts[tensor.part] + tensor.offset, tensor.n_bytes),
            )
            for tensor in source.tensors
        ),
    )


def write_gguf(
    plan: GgufPlan,
    destination: Path,
    *,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the planned file: under a temporary name first, which llama.cpp must accept, and renamed at last.

    An error or Ctrl-C at any point leaves nothing behind, and an existing file as it was.

    Args:
        plan: What to write.
        destination: Its name; the folder must exist.
        force: Replace an existing file.
        progress: Called with the bytes written so far and the bytes in all.

    Raises:
        UsageError: The destination exists and `force` is not set, is a folder, or has no folder.
        DiskSpaceError: There is no room.
        ModelFileError: The source was cut short meanwhile, or llama.cpp does not load the result.
    """
    check_destination(destination, force)
    total = plan.file_bytes
    check_room(destination, total)
    unfinished = destination.with_name(f"{destination.name}.{os.getpid()}.part")
    try:
        _write(plan, unfinished, destination.name, lambda done: progress(done, total) if progress else None)
        check_destination(destination, force)
        unfinished.replace(destination)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _no_room(destination, total, shutil.disk_usage(destination.parent).free) from None
        raise UsageError(
            f"{destination} cannot be written: {error.strerror}.", "Name another place."
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def check_room(destination: Path, n_bytes: int) -> None:
    """Refuses a file for which the disk has no room.

    Raises:
        DiskSpaceError: says what is needed and what is there.
    """
    free = shutil.disk_usage(destination.parent).free
    if n_bytes > free:
        raise _no_room(destination, n_bytes, free)


def check_destination(destination: Path, force: bool) -> None:
    """Refuses a place where no new file can be.

    Raises:
        UsageError: It exists and `force` is not set, is a folder, or has no folder.
    """
    if destination.is_dir():
        raise UsageError(f"{destination} is a folder.", "Name a file in it.")
    if not destination.parent.is_dir():
        raise UsageError(f"There is no folder {destination.parent}.", "Make it first.")
    if destination.exists() and not force:
        raise UsageError(f"{destination} exists.", "Name another file, or replace it with `force`.")


def _write(plan: GgufPlan, path: Path, name: str, progress: Callable[[int], None]) -> None:
    """Fills and flushes the file, while llama.cpp loads it.

    llama.cpp reads the header and compares the tensors' places with the file's size: both stand before the weights do.
    """
    with path.open("xb", buffering=0) as file, Output(file, _parts(plan.source), progress) as out:
        for piece in _header(plan):
            if isinstance(piece, bytes):
                out.write(piece)
            else:
                out.copy(0, piece.start, piece.end - piece.start)
        out.write(bytes(_padded(out.n_bytes, plan) - out.n_bytes))
        file.truncate(plan.file_bytes)
        load_library()  # before the other thread starts: it is much Python, which would hold up the copying
        with ThreadPoolExecutor(1) as beside:
            filling = beside.submit(_fill, plan, file, out)
            try:
                _check_loads(path, name)
                filling.result()
            except BaseException:
                out.stop()
                raise


def _fill(plan: GgufPlan, file: FileIO, out: Output) -> None:
    for tensor in plan.tensors:
        start = out.n_bytes
        tensor.source.send(out)
        written = out.n_bytes - start
        if written != tensor.n_bytes:
            raise ValueError(f"{tensor.name} wrote {written} bytes where {tensor.n_bytes} were planned")
        out.write(bytes(_padded(written, plan) - written))
    os.fsync(file.fileno())


def _check_loads(path: Path, name: str) -> None:
    from edgespec.llama.model import Model

    try:
        Model(path, weights=False).close()
    except ModelFileError as error:
        raise ModelFileError(
            error.message.replace(path.name, name), "Nothing was kept; check that the source itself loads."
        ) from None


def _header(plan: GgufPlan) -> Iterator[bytes | FieldSpan]:
    """Everything before the weights and their padding; what the source has is named by its place, not read."""
    entries = plan._entries()
    yield types.MAGIC + struct.pack("<IQQ", _VERSION, len(plan.tensors), len(entries))
    spans = _fields(plan.source).spans
    for key, entry in entries.items():
        yield encoded_string(key)
        yield entry.encoded() if isinstance(entry, FieldValue) else spans[entry]
    yield from _encoded_tensors(plan)


def _header_bytes(plan: GgufPlan) -> int:
    """Where the weights begin: the header's size with its padding."""
    sizes = (len(piece) if isinstance(piece, bytes) else piece.end - piece.start for piece in _header(plan))
    return _padded(sum(sizes), plan)


def _encoded_tensors(plan: GgufPlan) -> Iterator[bytes]:
    offset = 0
    for tensor in plan.tensors:
        n_dimensions = len(tensor.shape)
        yield encoded_string(tensor.name) + struct.pack(
            f"<I{n_dimensions}QIQ", n_dimensions, *tensor.shape, _TYPE_IDS[tensor.ggml_type], offset
        )
        offset += _padded(tensor.n_bytes, plan)


def _padded(n_bytes: int, plan: GgufPlan) -> int:
    alignment = plan.source.alignment
    return -(-n_bytes // alignment) * alignment


def _parts(source: GgufMetadata) -> tuple[Path, ...]:
    return source.parts or (source.path,)


def _fields(source: GgufMetadata) -> Fields:
    """The fields with their places in the file."""
    return source.fields if isinstance(source.fields, Fields) else read_header(source.path).fields


def _no_room(destination: Path, needed: int, free: int) -> DiskSpaceError:
    return DiskSpaceError(
        f"{destination.name} needs {needed / 2**20:.1f} MiB and the disk of {destination.parent} has "
        f"{free / 2**20:.1f} MiB free.",
        "Free some space, or name another place.",
    )
