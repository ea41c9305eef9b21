"""Texts as windows of tokens."""

from pathlib import Path

import numpy as np
import pytest

from edgespec.errors import UsageError
from edgespec.llama.model import Model
from quant.text.windows import N_CTX as LONG
from quant.text.windows import split_windows, spread_windows, whole_windows

TEXT = "the rain in the land of the hen and the ant is on the tree; " * 12
N_CTX = 64


def test_chunks_begin_with_bos_where_the_vocabulary_wants_one(tiny_model: Path, tiny_bpe: Path):
    with Model(tiny_model) as model:
        tokens = model.tokenize(TEXT)
        windows = split_windows(model, TEXT, n_ctx=N_CTX)
        assert len(windows) == len(tokens) // N_CTX
        assert (windows[:, 0] == model.added_bos).all()
        assert windows[1, 1:].tolist() == tokens[N_CTX + 1 : 2 * N_CTX]
        assert windows[1, 0] != tokens[N_CTX]
    with Model(tiny_bpe) as model:
        assert model.added_bos is None
        windows = split_windows(model, TEXT, n_ctx=N_CTX, n_chunks=2)
        assert windows.ravel().tolist() == model.tokenize(TEXT)[: 2 * N_CTX]


def test_control_tokens_in_a_text_are_text(tiny_bpe: Path):
    text = "<|endoftext|>" * 20
    with Model(tiny_bpe) as model:
        special = model.tokenize("<|endoftext|>")
        assert len(special) == 1
        assert special[0] not in split_windows(model, text, n_ctx=16)


def test_a_text_of_two_chunks_is_enough_and_less_is_not(tiny_bpe: Path):
    with Model(tiny_bpe) as model:
        assert split_windows(model, "x" * 64, n_ctx=32).shape == (2, 32)
        with pytest.raises(UsageError) as caught:
            split_windows(model, "x" * 59, n_ctx=32)
    assert caught.value.message == "the text has 59 tokens, 5 fewer than two chunks of 32"


def test_windows_to_calibrate_on_are_spread_over_the_whole_text(tiny_bpe: Path):
    text = "".join(chr(ord("a") + number % 26) for number in range(5 * LONG))
    with Model(tiny_bpe) as model:
        tokens = model.tokenize(text, parse_special=False)
        windows = spread_windows(model, text, 3)
        assert windows.shape == (3, LONG)
        assert windows[0].tolist() == tokens[:LONG]
        assert windows[2].tolist() == tokens[-LONG:]


def test_a_shorter_text_gives_the_windows_that_it_fills_and_says_so(
    tiny_bpe: Path, caplog: pytest.LogCaptureFixture
):
    text = "".join(chr(ord("a") + number % 26) for number in range(3 * LONG))
    with Model(tiny_bpe) as model:
        tokens = model.tokenize(text, parse_special=False)
        windows = spread_windows(model, text, 9)
        assert windows.shape == (len(tokens) // LONG, LONG)
        assert windows[0].tolist() == tokens[:LONG]
        assert windows[-1].tolist() == tokens[-LONG:]
        said = f"the calibration text has {len(tokens)} tokens: {len(windows)} windows of {LONG} are read in place of 9"
        assert caplog.messages == [said]
        with pytest.raises(UsageError, match="has 4 tokens, and a window takes 512"):
            spread_windows(model, "abcd", 1)


def test_what_does_not_fill_a_window_is_left_out(tiny_bpe: Path):
    with Model(tiny_bpe) as model:
        assert whole_windows(model, np.arange(11, dtype=np.int32), 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
