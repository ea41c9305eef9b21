"""Arrays of numbers in a header: as Python's own numbers they would take many times their size."""

import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest

from edgespec.catalog.gguf_header import read_header

N_BYTES = 1 << 20


@pytest.mark.parametrize(
    ("item_type", "item_bytes"),
    [(gguf.GGUFValueType.UINT8, 1), (gguf.GGUFValueType.UINT16, 2), (gguf.GGUFValueType.FLOAT32, 4)],
    ids=["bytes", "short", "floats"],
)
def test_a_long_array_is_not_kept_as_numbers_when_a_header_is_read(
    tmp_path: Path, item_type: gguf.GGUFValueType, item_bytes: int
) -> None:
    path = tmp_path / "long.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    count = N_BYTES // item_bytes
    writer.add_key_value("long", [1] * count, gguf.GGUFValueType.ARRAY, sub_type=item_type)
    writer.add_tensor("x.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tracemalloc.start()
    try:
        header = read_header(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < N_BYTES / 4
    assert header.fields.array_length("long") == count
    assert header.fields["long"] == [1] * count
