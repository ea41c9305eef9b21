"""GGUF in, GGUF out: a plan of what a new file holds.

A plan starts as a copy of its source; pruning and repair replace tensors and fields in it. Nothing is read of the
weights until the plan is written (quant/gguf/writer.py). The format: docs/gguf.md of ggml.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Final

from edgespec.catalog import gguf_types as types
from edgespec.catalog.gguf_fields import Fields, FieldSpan
from edgespec.catalog.gguf_header import read_header
from edgespec.catalog.metadata import GgufMetadata
from quant.gguf.fields import FieldValue, encoded_string, field_value
from quant.gguf.tensor_sources import CopiedBytes, TensorSource

_VERSION: Final = 3
_TYPE_IDS: Final = {name: number for number, (name, _, _) in types.TENSOR_TYPES.items()}
_SPLIT_PREFIX: Final = "split."


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor of the output."""

    name: str
    shape: tuple[int, ...]
    """In GGUF order: the first dimension is the contiguous one. A matrix of numpy's shape `[n_rows, n_columns]` has
    `(n_columns, n_rows)` here."""
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
    def source_files(self) -> tuple[Path, ...]:
        """The parts of the source, in order; of a source that is not split, itself."""
        return self.source.parts or (self.source.path,)

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
    def data_offset(self) -> int:
        """Bytes before the first tensor: the header and its padding."""
        sizes = (
            len(piece) if isinstance(piece, bytes) else piece.end - piece.start for piece in self.header()
        )
        return self.padded(sum(sizes))

    @property
    def file_bytes(self) -> int:
        """Size of the output."""
        return self.data_offset + sum(self.padded(tensor.n_bytes) for tensor in self.tensors)

    @property
    def bpw(self) -> float:
        """Mean bits per weight; 0 without tensors."""
        count = self.parameter_count
        return 8 * self.weights_bytes / count if count else 0.0

    def padded(self, n_bytes: int) -> int:
        """`n_bytes` rounded up to the alignment of the source, which the output shares."""
        alignment = self.source.alignment
        return -(-n_bytes // alignment) * alignment

    def field_names(self) -> tuple[str, ...]:
        """Every key of the output, in order."""
        return tuple(self._entries())

    def field(self, key: str) -> FieldValue | None:
        """The value of `key` in the output; None when it has none.

        Raises:
            ModelFileError: it is an array of arrays.
        """
        entry = self._entries().get(key)
        return field_value(self._source_fields(), entry) if isinstance(entry, str) else entry

    def model_field(self, suffix: str) -> FieldValue | None:
        """The value of `ARCHITECTURE.suffix` in the output, such as that of `block_count`."""
        return self.field(f"{self.architecture}.{suffix}")

    def integer(self, suffix: str) -> int | None:
        """`model_field` where it is one whole number; None where it is missing, an array or of another type."""
        value = self.model_field(suffix)
        return value.value if value is not None and isinstance(value.value, int) else None

    def header(self) -> Iterator[bytes | FieldSpan]:
        """Everything before the weights and their padding; what the source has is named by its place, not read."""
        entries = self._entries()
        yield types.MAGIC + struct.pack("<IQQ", _VERSION, len(self.tensors), len(entries))
        spans = self._source_fields().spans
        for key, entry in entries.items():
            yield encoded_string(key)
            yield entry.encoded() if isinstance(entry, FieldValue) else spans[entry]
        offset = 0
        for tensor in self.tensors:
            n_dimensions = len(tensor.shape)
            yield encoded_string(tensor.name) + struct.pack(
                f"<I{n_dimensions}QIQ", n_dimensions, *tensor.shape, _TYPE_IDS[tensor.ggml_type], offset
            )
            offset += self.padded(tensor.n_bytes)

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

    def _source_fields(self) -> Fields:
        """The fields with their places in the file."""
        fields = self.source.fields
        return fields if isinstance(fields, Fields) else read_header(self.source.path).fields


def copy_of(source: GgufMetadata) -> GgufPlan:
    """The plan that copies everything into one file: the start of every plan.

    Raises:
        ModelMissingError: a part of a split model is gone.
        ModelFileError: a part is damaged.
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
