import pytest

from edgespec.bench.throughput.shapes import (
    DEFAULT_BATCHES,
    DEFAULT_SHAPES,
    Shape,
    parse_batches,
    parse_shapes,
)
from edgespec.errors import UsageError


def test_shapes_keep_their_order_and_come_once() -> None:
    assert parse_shapes("82x512, 12X128,82x512") == (Shape(82, 512), Shape(12, 128))
    assert len(parse_shapes(DEFAULT_SHAPES)) == 4


@pytest.mark.parametrize(
    "text", ["", "12", "12x", "x128", "0x128", "12x1", "12x128x2", "-1x5", "a x b", "12x128,"]
)
def test_no_shape(text: str) -> None:
    with pytest.raises(UsageError, match=r"`shape` .* is not a shape"):
        parse_shapes(text)


def test_batches_are_sorted_and_come_once() -> None:
    assert parse_batches("8,1, 2,8") == (1, 2, 8)
    assert parse_batches(DEFAULT_BATCHES)[-1] == 32


@pytest.mark.parametrize("text", ["", "0", "257", "1,,2", "two", "1.5", "-1"])
def test_no_batch_size(text: str) -> None:
    with pytest.raises(UsageError, match=r"`batch` .* is not a batch size"):
        parse_batches(text)
