"""Which windows of the calibration text are fitted on, and which judge."""

import numpy as np
import pytest

from quant.text.calibration import split_calibration
from quant.text.windows import Tokens, short_windows


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
