"""The header of one GGUF file, read in one pass over a memory map. Nothing of the weights is touched.

The format is that of docs/gguf.md in ggml's repository, and of gguf.cpp where that says less.
"""

import mmap
import re
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

from edgespec.catalog import gguf_types as types
from edgespec.catalog.gguf_fields import Fields, FieldSpan, PackedNumbers, PackedStrings
from edgespec.errors import ModelFileError, ModelMissingError

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_REDOWNLOAD = "download the file again; `edgespec models pull NAME` checks size and hash"
_JOIN_PIECES = (
    "by its name it is a piece of a larger file that was cut by size: join all pieces in order into one file "
    "and name that"
)
_CUT_BY_SIZE = re.compile(
    r"\.gguf[._-](?:(?:part|split|chunk|piece)[._-]?)?(?:\d+(?:[._-]?of[._-]?\d+)?|[a-z]{1,2})$",
    re.IGNORECASE | re.ASCII,
)
"""What pieces of a file are called: `model.gguf.part1of3`, `model.gguf-split-a`, `model.gguf.001`."""
_PART_NAME = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.ASCII)
"""A part of a split model, which has a header of its own that says so; or a piece that somebody called like one."""
_MIN_FIELD_BYTES = 8 + 4 + 1
"""Of an empty key's length, a type and a byte: a count of more than fit is damage, and is not believed."""
_MIN_TENSOR_BYTES = 8 + 4 + 4 + 8
"""Of an empty name's length, no dimensions, a type and an offset."""
_MAX_ARRAY_DEPTH = 4
"""Arrays in arrays: bounds the recursion that a damaged file can ask for; known files nest none."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor as the header describes it."""

    name: str
    shape: tuple[int, ...]
    """In GGUF order, the contiguous dimension first: (n_columns, n_rows) of a matrix, (1536, 8960) of an `ffn_up`."""
    ggml_type: str
    """By ggml's name, such as `Q4_K`."""
    n_bytes: int
    offset: int
    """From the start of the data section of its own file."""
    part: int = 0
    """Which file of a split model holds it; 0 for the first or the only one."""

    @property
    def n_elements(self) -> int:
        """Number of weights."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Everything before the weights of one file."""

    path: Path
    version: int
    fields: Fields
    tensors: tuple[TensorInfo, ...]
    alignment: int
    """Bytes; every tensor begins at a multiple of it."""
    data_offset: int
    """Where the weights start."""
    file_bytes: int


def read_header(path: Path) -> GgufHeader:
    """Read the header of one GGUF file and check that its tensors lie inside the file.

    Raises:
        ModelMissingError: There is no such file.
        ModelFileError: Not a GGUF, an unsupported version, a damaged or truncated file.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size < 4:
                raise ModelFileError(f"{path} is not a GGUF file: it has {size} bytes", _REDOWNLOAD)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(path, data, size).read()
    except FileNotFoundError:
        raise ModelMissingError(f"there is no file {path}", "check the path") from None
    except IsADirectoryError:
        raise ModelFileError(f"{path} is a folder, not a GGUF file", "name the file in it") from None
    except PermissionError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None


class _Reader:
    """A cursor over the mapped file; `_what` names what is being read, for the message of a truncation."""

    def __init__(self, path: Path, data: mmap.mmap, size: int) -> None:
        self._path = path
        self._data = data
        self._size = size
        self._position = 0
        self._what = "the first bytes"
        self._again = _JOIN_PIECES if _CUT_BY_SIZE.search(path.name) else _REDOWNLOAD

    def read(self) -> GgufHeader:
        try:
            return self._header()
        except (struct.error, OverflowError):
            raise self._truncated() from None

    def _header(self) -> GgufHeader:
        version = self._magic_and_version()
        self._what = "the counts"
        n_tensors, n_fields = self._u64(), self._u64()
        self._check_count(n_fields, _MIN_FIELD_BYTES, "fields")
        self._check_count(n_tensors, _MIN_TENSOR_BYTES, "tensors")
        values, spans = self._fields(n_fields)
        if _PART_NAME.search(self._path.name) and "split.count" not in values:
            self._again = _JOIN_PIECES
        alignment = values.get("general.alignment", types.DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            raise self._damaged(f"general.alignment is {alignment!r}, which is not a power of two")
        tensors = tuple(self._tensor(index) for index in range(n_tensors))
        data_offset = -(-self._position // alignment) * alignment
        self._check_extent(tensors, data_offset)
        fields = Fields(values, spans)
        return GgufHeader(self._path, version, fields, tensors, alignment, data_offset, self._size)

    def _magic_and_version(self) -> int:
        magic = self._bytes(4)
        if magic != types.MAGIC:
            raise ModelFileError(
                f"{self._path} is not a GGUF file: it starts with {magic!r} instead of {types.MAGIC!r}",
                _magic_hint(bytes(self._data[:64])) or self._again.replace(_REDOWNLOAD, "name a .gguf file"),
            )
        self._what = "the version"
        version = self._u32()
        if version in types.SUPPORTED_VERSIONS:
            return version
        if int.from_bytes(version.to_bytes(4, "little"), "big") in types.SUPPORTED_VERSIONS:
            raise ModelFileError(
                f"{self._path} is a big-endian GGUF file", "convert it with gguf-py's gguf_convert_endian"
            )
        raise ModelFileError(
            f"{self._path} is GGUF version {version}; versions 2 and 3 are read",
            "convert the model again with a current llama.cpp, or update edgespec",
        )

    def _check_count(self, count: int, least_bytes: int, what: str) -> None:
        if count * least_bytes > self._size:
            raise self._damaged(f"it claims {count} {what} in {self._size} bytes")

    def _fields(self, count: int) -> tuple[dict[str, object], dict[str, FieldSpan]]:
        values: dict[str, object] = {}
        spans: dict[str, FieldSpan] = {}
        for index in range(count):
            self._what = f"field {index + 1} of {count}"
            key = self._string()
            self._what = f"field {key!r}"
            if key in values:
                raise self._damaged(f"field {key!r} appears twice")
            start, value_type = self._position, self._u32()
            values[key] = self._value(value_type)
            is_array = value_type == types.TYPE_ARRAY
            item_type = _U32.unpack_from(self._data, start + 4)[0] if is_array else None
            spans[key] = FieldSpan(start, self._position, value_type, item_type)
        return values, spans

    def _value(self, value_type: int, depth: int = 0) -> object:
        if value_type == types.TYPE_STRING:
            return self._string()
        if value_type == types.TYPE_ARRAY:
            return self._array(depth + 1)
        letter = types.SCALAR_FORMATS.get(value_type)
        if letter is None:
            raise self._damaged(f"{self._what} has the unknown value type {value_type}")
        return self._numbers(letter, 1)[0]

    def _array(self, depth: int) -> object:
        if depth > _MAX_ARRAY_DEPTH:
            raise self._damaged(f"{self._what} nests arrays too deeply")
        item_type, count = self._u32(), self._u64()
        if item_type == types.TYPE_STRING:
            return self._strings(count)
        if item_type == types.TYPE_ARRAY:
            self._check_count(count, 12, "arrays")
            return [self._array(depth + 1) for _ in range(count)]
        letter = types.SCALAR_FORMATS.get(item_type)
        if letter is None:
            raise self._damaged(f"{self._what} has the unknown item type {item_type}")
        return self._packed_numbers(letter, count)

    def _packed_numbers(self, letter: str, count: int) -> PackedNumbers:
        start = self._position
        end = start + count * struct.calcsize(f"<{letter}")
        if end > self._size:
            raise self._truncated()
        self._position = end
        return PackedNumbers(self._path, start, letter, count)

    def _strings(self, count: int) -> PackedStrings:
        data, position, length_at = self._data, self._position, _U64.unpack_from
        for _ in range(count):
            position += 8 + length_at(data, position)[0]
        if position > self._size:
            raise self._truncated()
        start, self._position = self._position, position
        return PackedStrings(self._path, start, position, count)

    def _tensor(self, index: int) -> TensorInfo:
        self._what = f"the description of tensor {index + 1}"
        name = self._string()
        n_dimensions = self._u32()
        if n_dimensions > types.MAX_DIMENSIONS:
            raise self._damaged(f"tensor {name!r} has {n_dimensions} dimensions")
        shape = self._numbers("Q", n_dimensions)
        type_id = self._u32()
        offset = self._u64()
        type_name, block, block_bytes = self._tensor_type(name, type_id)
        columns = shape[0] if shape else 1
        if columns % block:
            raise self._damaged(f"tensor {name!r} has rows of {columns}, which {type_name} cannot store")
        return TensorInfo(name, shape, type_name, prod(shape) // block * block_bytes, offset)

    def _tensor_type(self, name: str, type_id: int) -> tuple[str, int, int]:
        known = types.TENSOR_TYPES.get(type_id)
        if known is not None:
            return known
        removed = types.REMOVED_TENSOR_TYPES.get(type_id)
        if removed is not None:
            raise ModelFileError(
                f"{self._path} stores tensor {name!r} as {removed}, which llama.cpp no longer loads",
                "take the Q4_0 file of the same model: llama.cpp repacks it while loading",
            )
        raise ModelFileError(
            f"{self._path} stores tensor {name!r} in the unknown type {type_id}",
            "the file is damaged, or made by a newer llama.cpp than this edgespec knows",
        )

    def _check_extent(self, tensors: tuple[TensorInfo, ...], data_offset: int) -> None:
        end = max((tensor.offset + tensor.n_bytes for tensor in tensors), default=0)
        missing = data_offset + end - self._size if tensors else 0
        if missing > 0:
            raise ModelFileError(
                f"{self._path} is truncated: {missing} bytes are missing at its end "
                f"({self._size} of {data_offset + end})",
                self._again,
            )

    def _u32(self) -> int:
        (value,) = _U32.unpack_from(self._data, self._position)
        self._position += 4
        return int(value)

    def _u64(self) -> int:
        (value,) = _U64.unpack_from(self._data, self._position)
        self._position += 8
        return int(value)

    def _numbers(self, letter: str, count: int) -> tuple[int, ...]:
        layout = struct.Struct(f"<{count}{letter}")
        values = layout.unpack_from(self._data, self._position)
        self._position += layout.size
        return values

    def _bytes(self, count: int) -> bytes:
        end = self._position + count
        if end > self._size:
            raise self._truncated()
        value = self._data[self._position : end]
        self._position = end
        return value

    def _string(self) -> str:
        return self._bytes(self._u64()).decode("utf-8", "replace")

    def _truncated(self) -> ModelFileError:
        return ModelFileError(
            f"{self._path} has a truncated or damaged header: "
            f"the file ends at byte {self._size}, inside {self._what}",
            self._again,
        )

    def _damaged(self, why: str) -> ModelFileError:
        return ModelFileError(f"{self._path} has a damaged header: {why}", _REDOWNLOAD)


def _magic_hint(start: bytes) -> str:
    if start.startswith(b"version https://git-lfs"):
        return "this is a Git LFS pointer: run `git lfs pull`, or download the file itself"
    if start[:4] in {b"tjgg", b"fmgg", b"lmgg"}:
        return "this is a GGML file from before GGUF: take a GGUF file of the same model"
    if start.lstrip()[:1] == b"<":
        return "this looks like a web page saved in place of the file: download the file itself"
    if start[8:9] == b"{":
        return "this looks like safetensors: convert it with llama.cpp's convert_hf_to_gguf.py"
    return ""
