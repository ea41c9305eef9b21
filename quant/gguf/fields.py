"""Typed values of GGUF keys: read as they lie in a file, written in the same encoding.

Source: ggml/include/gguf.h of llama.cpp (value types 0 to 12, little-endian, strings and arrays with 64-bit lengths).
"""

import struct
from dataclasses import dataclass
from typing import Final, Literal

from edgespec.catalog import gguf_types as types
from edgespec.catalog.gguf_fields import Fields
from edgespec.errors import ModelFileError

ValueType = Literal["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "str", "u64", "i64", "f64"]
Scalar = int | float | bool | str

_IDS: Final[dict[ValueType, int]] = {
    "u8": 0,
    "i8": 1,
    "u16": 2,
    "i16": 3,
    "u32": 4,
    "i32": 5,
    "f32": 6,
    "bool": 7,
    "str": types.TYPE_STRING,
    "u64": 10,
    "i64": 11,
    "f64": 12,
}
_NAMES: Final = {number: name for name, number in _IDS.items()}


@dataclass(frozen=True, slots=True)
class FieldValue:
    """A key's typed value; a tuple stands for an array of `type`.

    `FieldValue("u32", 24)` is one number, `FieldValue("u32", (8, 8, 4))` an array of three.
    """

    type: ValueType
    value: Scalar | tuple[Scalar, ...]

    def encoded(self) -> bytes:
        """Type id and value as they lie in a file, after the key.

        Raises:
            struct.error: a number does not fit the type.
        """
        type_id = _IDS[self.type]
        if not isinstance(self.value, tuple):
            return struct.pack("<I", type_id) + self._items((self.value,))
        head = struct.pack("<IIQ", types.TYPE_ARRAY, type_id, len(self.value))
        return head + self._items(self.value)

    def _items(self, items: tuple[Scalar, ...]) -> bytes:
        if self.type == "str":
            return b"".join(encoded_string(str(item)) for item in items)
        return struct.pack(f"<{len(items)}{types.SCALAR_FORMATS[_IDS[self.type]]}", *items)


def encoded_string(text: str) -> bytes:
    """Length and UTF-8 bytes, as GGUF stores keys, names and strings."""
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def field_value(fields: Fields, key: str) -> FieldValue:
    """The value of `key` with its stored type; in texts that are not UTF-8 stand replacement characters.

    Raises:
        KeyError: the file has no such key.
        ModelFileError: it is an array of arrays.
    """
    span, value = fields.spans[key], fields[key]
    if span.item_type is None:
        return FieldValue(_NAMES[span.value_type], _scalar(value))
    if span.item_type == types.TYPE_ARRAY or not isinstance(value, list):
        raise ModelFileError(f"the field {key} is an array of arrays, which no plan can change")
    return FieldValue(_NAMES[span.item_type], tuple(_scalar(item) for item in value))


def _scalar(value: object) -> Scalar:
    assert isinstance(value, int | float | str)
    return value
