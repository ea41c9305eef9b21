"""Text on its way to a terminal."""

from unicodedata import bidirectional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgespec.text import human_bytes, one_line, plain_text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain text, \u00e9\u65e5\U0001f600", "plain text, \u00e9\u65e5\U0001f600"),
        ("a\n\tb", "a\n\tb"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("over\rwritten\x08", "over\\x0dwritten\\x08"),
        ("\x9b31m\x7f\x00", "\\x9b31m\\x7f\\x00"),
        ("\u202etxt.exe\u2066", "\\u202etxt.exe\\u2066"),
        ("\udc80", "\\udc80"),
    ],
)
def test_control_characters_become_visible(raw: str, shown: str):
    assert plain_text(raw) == shown


PIECES = st.one_of(
    st.text(alphabet=st.characters(codec=None), max_size=5),
    st.sampled_from("\x1b\x9b\x7f\r\u202a\u202e\u2066\u2069\udfff"),
)
TEXTS = st.lists(PIECES).map("".join)
REORDERING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(TEXTS, st.integers(min_value=0))
def test_any_text_in_any_pieces_is_harmless_and_the_same(text: str, cut: int):
    shown = plain_text(text)
    assert plain_text(text[:cut]) + plain_text(text[cut:]) == shown
    assert not any(bidirectional(character) in REORDERING for character in shown)
    assert all(
        character in "\n\t" or character.isprintable() or ord(character) >= 0xA0 for character in shown
    )
    shown.encode("utf-8")


def test_one_line_joins_lines_and_keeps_nothing_dangerous():
    assert one_line("  two\n\n lines\tand \x1b[0m ") == "two lines and \\x1b[0m"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (98362432, "93.8 MiB"),
        (5 * 1024**4, "5.0 TiB"),
    ],
)
def test_sizes_are_in_binary_units(count: int, text: str):
    assert human_bytes(count) == text
