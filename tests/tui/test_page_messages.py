"""What comes over the socket of a page: its own messages are understood, and nothing else does any harm."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui.web.page_messages import FocusChanged, Pinged, Resized, Typed, read_message

PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
JSON = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["width", "height", "x"]), inner, max_size=3),
    ),
    max_leaves=8,
)
KINDS = st.sampled_from(["stdin", "resize", "ping", "focus", "blur", "quit", ""])
ENVELOPES = st.one_of(JSON, st.tuples(KINDS, JSON), st.tuples(KINDS), st.tuples(KINDS, JSON, JSON))


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        (["stdin", "é\x1b[A"], Typed("é\x1b[A".encode())),
        (["resize", {"width": 80, "height": 24.0}], Resized(80, 24)),
        (["ping", 17], Pinged(17)),
        (["focus"], FocusChanged(True)),
        (["blur"], FocusChanged(False)),
        (["stdin", "\ud800"], Typed(b"?")),
    ],
)
def test_the_messages_of_the_page_are_understood(said: list[object], understood: object) -> None:
    assert read_message(json.dumps(said)) == understood


@pytest.mark.parametrize(
    "text",
    [
        *("", "stdin", "{}", "[]", '["stdin"]', '["stdin", 1]', '["resize", {"width": "8", "height": 1}]'),
        *(
            '["resize", {"width": NaN, "height": 1}]',
            '["resize", {"width": true, "height": 1}]',
            "[" * 100_000,
        ),
    ],
)
def test_what_no_page_says_is_left_out(text: str) -> None:
    assert read_message(text) is None


@settings(derandomize=True, database=None, deadline=None)
@given(st.one_of(ENVELOPES.map(json.dumps), st.text(max_size=60)))
def test_any_text_is_a_message_or_none(text: str) -> None:
    match read_message(text):
        case Typed(data):
            assert isinstance(data, bytes)
        case Resized(width, height):
            assert (type(width), type(height)) == (int, int)
        case Pinged(data):
            assert json.dumps(["pong", data])
        case FocusChanged(has_focus):
            assert has_focus in (True, False)
        case other:
            assert other is None
