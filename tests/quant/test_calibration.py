"""Which windows of the calibration text are fitted on, and which judge."""

from pathlib import Path

import numpy as np
import pytest

from edgespec.errors import UsageError
from edgespec.llama.model import Model
from quant.text.calibration import read_calibration, split_calibration
from quant.text.calibration_source import OWN_ANSWERS, source_of
from quant.text.windows import N_CTX, Tokens, short_windows


def windows_in_turn(n_texts: int, n_each: int) -> Tokens:
    """Windows of one token: its text's number in the hundreds, its place in that text in the units."""
    return np.array([[100 * text + place] for place in range(n_each) for text in range(n_texts)], np.int32)


@pytest.mark.parametrize(
    ("n_texts", "n_each", "judges"),
    [
        (1, 2, [1]),
        (1, 8, [6]),
        (1, 14, [6, 13]),
        (2, 4, [3, 103]),
        (2, 8, [6, 106]),
        (3, 14, [6, 106, 206, 13, 113, 213]),
    ],
)
def test_every_text_judges(n_texts: int, n_each: int, judges: list[int]):
    windows = windows_in_turn(n_texts, n_each)
    found = split_calibration(windows, n_texts)
    assert found.held_out[:, 0].tolist() == judges
    assert sorted([*found.fit[:, 0], *found.held_out[:, 0]]) == sorted(windows[:, 0])
    assert len(found.fit) >= len(found.held_out)
    assert found.n_texts == n_texts


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (2, [[0, 1, 2], [10, 11, 12]]),
        (3, [[0, 1, 2], [10, 11, 12], [3, 4, 5]]),
        (9, [[0, 1, 2], [10, 11, 12], [3, 4, 5], [13, 14, 15]]),
    ],
)
def test_few_windows_give_several_short_ones_each(count: int, expected: list[list[int]]):
    windows = np.array([range(7), range(10, 17)], np.int32)
    assert short_windows(windows, count, 3).tolist() == expected


def test_texts_take_turns_and_each_is_read_in_equal_parts(tiny_bpe: Path, tmp_path: Path):
    texts = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for text, letter in zip(texts, "xy", strict=True):
        text.write_text(letter * 3 * N_CTX)
    found = read_calibration(tiny_bpe, texts, 4 * N_CTX)
    with Model(tiny_bpe) as model:
        of_x, of_y = (model.tokenize(letter)[0] for letter in "xy")
    assert (found.fit.shape, found.held_out.shape, found.n_texts) == ((2, N_CTX), (2, N_CTX), 2)
    for windows in (found.fit, found.held_out):
        assert [set(window.tolist()) for window in windows] == [{of_x}, {of_y}]


def test_the_shortest_of_several_texts_says_how_much_is_read_of_each(tiny_bpe: Path, tmp_path: Path):
    texts = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for text, letter, n_windows in zip(texts, "xy", (2, 9), strict=True):
        text.write_text(letter * n_windows * N_CTX)
    found = read_calibration(tiny_bpe, texts, 16 * N_CTX)
    assert (len(found.fit), len(found.held_out)) == (2, 2)


def test_one_window_is_too_little_to_fit_and_to_judge(tiny_bpe: Path, tmp_path: Path):
    text = tmp_path / "short.txt"
    text.write_text("x" * (2 * N_CTX - 1))
    with pytest.raises(UsageError, match="fills one window of 512 tokens, and two are needed"):
        read_calibration(tiny_bpe, [text], 16 * N_CTX)


def test_a_text_that_cannot_be_read_is_named(tiny_bpe: Path, tmp_path: Path):
    (tmp_path / "bytes.txt").write_bytes(b"abc\xff")
    for name in ("absent.txt", "bytes.txt"):
        with pytest.raises(UsageError, match=rf"the calibration text .*{name} cannot be read"):
            read_calibration(tiny_bpe, [tmp_path / name], 1024)


def test_a_source_is_the_models_own_answers_or_a_file():
    assert source_of("self") == OWN_ANSWERS
    assert source_of("heron.txt") == Path("heron.txt")
