"""Values over a pipe, whole or not at all."""

import io

import pytest

from edgespec.worker.frames import FrameReader, pack, read_frame


def test_values_come_out_as_they_went_in() -> None:
    stream = io.BytesIO(pack(("a", 1)) + pack(None) + pack("b" * 100_000))
    assert [read_frame(stream) for _ in range(3)] == [("a", 1), None, "b" * 100_000]


@pytest.mark.parametrize(
    "n_bytes", [0, 3, 4, 9], ids=["nothing", "half a length", "a length", "half a value"]
)
def test_what_breaks_off_is_the_end_of_the_other_side(n_bytes: int) -> None:
    part = pack("a value")[:n_bytes]
    with pytest.raises(EOFError):
        read_frame(io.BytesIO(part))
    assert not list(FrameReader().feed(part))


def test_what_is_no_value_is_the_end_of_the_other_side_too() -> None:
    frame = b"\x05\x00\x00\x00what?" + pack("never reached")
    with pytest.raises(EOFError):
        read_frame(io.BytesIO(frame))
    with pytest.raises(EOFError):
        list(FrameReader().feed(frame))
