"""A GGUF file as a structure that can be damaged and written back, sound or not.

The format is that of docs/gguf.md in ggml's repository; edgespec's own reader is not used, because it is what is tried.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

STRING: Final = 8
ARRAY: Final = 9
SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
"""GGUF value type to its `struct` letter; booleans as the byte that they are."""
BLOCKS: Final = {0: (1, 4), 1: (1, 2), 2: (32, 18), 8: (32, 34), 12: (256, 144), 14: (256, 210), 30: (1, 2)}
"""Tensor type to weights and bytes of a block, of those whose size is kept right when a tensor is changed."""
_MOST_DATA: Final = 1 << 20
"""Bytes of a tensor; one that claims more stays as long as it is, and its file is too short."""


@dataclass(slots=True)
class Items:
    """An array's value."""

    item_type: int
    items: list[object]
    claimed: int | None = None
    """The length that it claims; None for the true one."""


@dataclass(slots=True)
class Field:
    """A key with its value: a number, bytes for a string, or `Items`."""

    key: bytes
    value_type: int
    value: object


@dataclass(slots=True)
class Tensor:
    """A tensor; its place follows from its turn, moved by `shift` bytes."""

    name: bytes
    shape: list[int]
    type_id: int
    data: bytes
    shift: int = 0


@dataclass(slots=True)
class Gguf:
    """A file."""

    fields: list[Field] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    magic: bytes = b"GGUF"
    version: int = 3
    n_fields: int | None = None
    """Claimed; None for the true number."""
    n_tensors: int | None = None
    """Claimed; None for the true number."""
    alignment: int = 32
    """Bytes, as tensors are laid out, whatever the fields say."""

    def find(self, key: bytes) -> Field | None:
        """The first field of that key."""
        return next((one for one in self.fields if one.key == key), None)

    @property
    def architecture(self) -> bytes:
        """`general.architecture`, empty where it is no string."""
        found = self.find(b"general.architecture")
        return found.value if found is not None and isinstance(found.value, bytes) else b""

    def encode(self) -> bytes:
        """The bytes of the file."""
        counts = (
            len(self.tensors) if self.n_tensors is None else self.n_tensors,
            len(self.fields) if self.n_fields is None else self.n_fields,
        )
        out = bytearray(self.magic + struct.pack("<IQQ", self.version, *(n % 2**64 for n in counts)))
        for one in self.fields:
            out += _string(one.key) + struct.pack("<I", one.value_type) + _value(one.value_type, one.value)
        data = bytearray()
        for tensor in self.tensors:
            out += _string(tensor.name) + struct.pack("<I", len(tensor.shape))
            out += b"".join(struct.pack("<Q", size % 2**64) for size in tensor.shape)
            out += struct.pack("<IQ", tensor.type_id, (len(data) + tensor.shift) % 2**64)
            data += _fitted(tensor)
            data += bytes(-len(data) % self.alignment)
        out += bytes(-len(out) % self.alignment)
        return bytes(out + data)


def decode(path: Path) -> Gguf:
    """A sound file of version 3."""
    reader = _Reader(path.read_bytes())
    magic, version, n_tensors, n_fields = reader.raw(4), *reader.numbers("IQQ")
    file = Gguf(magic=magic, version=version)
    file.fields = [reader.field() for _ in range(n_fields)]
    found = file.find(b"general.alignment")
    if found is not None and isinstance(found.value, int):
        file.alignment = found.value
    places: list[int] = []
    for _ in range(n_tensors):
        name, (n_dimensions,) = reader.string(), reader.numbers("I")
        shape = [reader.numbers("Q")[0] for _ in range(n_dimensions)]
        type_id, place = reader.numbers("IQ")
        file.tensors.append(Tensor(name, shape, type_id, b""))
        places.append(place)
    start = -(-reader.place // file.alignment) * file.alignment
    ends = [*places[1:], len(reader.data) - start]
    for tensor, place, end in zip(file.tensors, places, ends, strict=True):
        tensor.data = reader.data[start + place : start + end]
    return file


def _string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def _value(value_type: int, value: object) -> bytes:
    if isinstance(value, Items):
        count = len(value.items) if value.claimed is None else value.claimed
        head = struct.pack("<IQ", value.item_type, count % 2**64)
        return head + b"".join(_value(value.item_type, item) for item in value.items)
    if isinstance(value, bytes):
        return _string(value)
    return _number(SCALARS.get(value_type, "I"), value)


def _number(letter: str, value: object) -> bytes:
    assert isinstance(value, int | float)
    if letter in "fd":
        try:
            return struct.pack(f"<{letter}", value)
        except OverflowError:
            return struct.pack(f"<{letter}", float("inf"))
    size = struct.calcsize(letter)
    whole = int(value) if value == value and abs(value) != float("inf") else 0
    return (whole % (1 << 8 * size)).to_bytes(size, "little")


def _fitted(tensor: Tensor) -> bytes:
    """As many bytes as its shape and type want, where that is known and not too much."""
    block, block_bytes = BLOCKS.get(tensor.type_id, (0, 0))
    count = 1
    for size in tensor.shape:
        count *= size
    wanted = count // block * block_bytes if block else len(tensor.data)
    if not 0 <= wanted <= _MOST_DATA or wanted == len(tensor.data):
        return tensor.data
    if not tensor.data:
        return bytes(wanted)
    return (tensor.data * (wanted // len(tensor.data) + 1))[:wanted]


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def raw(self, count: int) -> bytes:
        self.place += count
        return self.data[self.place - count : self.place]

    def numbers(self, letters: str) -> tuple[int, ...]:
        layout = struct.Struct(f"<{letters}")
        return layout.unpack(self.raw(layout.size))

    def string(self) -> bytes:
        (length,) = self.numbers("Q")
        return self.raw(length)

    def field(self) -> Field:
        key, (value_type,) = self.string(), self.numbers("I")
        return Field(key, value_type, self.value(value_type))

    def value(self, value_type: int) -> object:
        if value_type == STRING:
            return self.string()
        if value_type == ARRAY:
            item_type, count = self.numbers("IQ")
            return Items(item_type, [self.value(item_type) for _ in range(count)])
        return self.numbers(SCALARS[value_type])[0]
