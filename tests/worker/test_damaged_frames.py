"""Frames of the worker protocol in streams that break off or are damaged: all whole values come, and then the end."""

import contextlib
import io
import struct
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgespec.worker.frames import FrameReader, pack, read_frame
from edgespec.worker.protocol import Logged, Pause, Piece, RequestFailed, TokensArrived

VALUES = st.one_of(
    st.just(Pause()),
    st.builds(Logged, st.text(max_size=40)),
    st.builds(RequestFailed, st.text(max_size=40), st.text(max_size=40), st.booleans()),
    st.builds(
        lambda text, count: TokensArrived((Piece(text, "target"),), count, 0.5, 0, 0, count, 1.0, 1),
        st.text(max_size=40),
        st.integers(0, 2**40),
    ),
)


@settings(derandomize=True, database=None, deadline=None)
@given(st.lists(VALUES, max_size=6), st.integers(0, 4000))
def test_of_a_stream_that_breaks_off_anywhere_the_whole_values_come(sent: list[object], end: int) -> None:
    frames = [pack(value) for value in sent]
    stream = io.BytesIO(b"".join(frames)[:end])
    sizes = [len(frame) for frame in frames]
    whole = [value for place, value in enumerate(sent) if sum(sizes[: place + 1]) <= end]
    assert [read_frame(stream) for _ in whole] == whole
    with pytest.raises(EOFError):
        read_frame(stream)


@settings(derandomize=True, database=None, deadline=None)
@given(st.lists(VALUES, max_size=6), st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_in_pieces_of_any_size_the_values_that_were_sent_come(sent: list[object], sizes: list[int]) -> None:
    reader, data, place = FrameReader(), b"".join(map(pack, sent)), 0
    came: list[object] = []
    for size in cycle(sizes):
        if place >= len(data):
            break
        came += reader.feed(data[place : place + size])
        place += size
    assert came == sent


@settings(derandomize=True, database=None, deadline=None)
@given(VALUES, st.integers(0, 4000), st.binary(min_size=1, max_size=4), st.integers(0, 4))
def test_damaged_bytes_are_some_value_or_the_end(sent: object, place: int, more: bytes, cut: int) -> None:
    body = pack(sent)[4:]
    place %= len(body)
    # One opcode of pickles asks for as much memory as the number behind it says; our own frames do not have it.
    damaged = body[:place] + more.replace(b"r", b"s") + body[place + cut :]
    stream = io.BytesIO(struct.pack("<I", len(damaged)) + damaged + pack("after"))
    with contextlib.suppress(EOFError):
        read_frame(stream)
        assert read_frame(stream) == "after"
