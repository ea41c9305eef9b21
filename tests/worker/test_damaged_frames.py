"""Frames of the worker protocol in streams that break off: all whole values come, and then the end."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgespec.worker.frames import pack, read_frame
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
