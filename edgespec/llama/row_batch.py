"""The rows of one decode: a `llama_batch` over numpy arrays, so that a row costs no Python work of its own."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]


class RowBatch:
    """Arrays for `rows` rows, each of one token in one sequence. They are llama.cpp's own input, without copies.

    Tokens 5 and 6 at the end of sequence 0, which holds 10, and token 9 at the end of sequence 1, which holds 3, with
    logits after each sequence's last: `tokens` begins with 5, 6, 9, `positions` with 10, 11, 3, `sequences` with 0, 0, 1
    and `outputs` with 0, 1, 1; then `take(3)`.

    Args:
        lib: llama_cpp's declarations.
        rows: Of the largest batch.
    """

    def __init__(self, lib: Any, rows: int) -> None:
        self.tokens: Ints = np.zeros(rows, np.int32)
        """`[rows]`, as all of them."""
        self.positions: Ints = np.zeros(rows, np.int32)
        self.sequences: Ints = np.zeros(rows, np.int32)
        self.outputs: NDArray[np.int8] = np.zeros(rows, np.int8)
        """1 where logits are wanted."""
        self._counts: Ints = np.ones(rows, np.int32)
        # llama.cpp takes a pointer to the sequences of every row.
        first = self.sequences.ctypes.data
        self._pointers = first + self.sequences.itemsize * np.arange(rows, dtype=np.uintp)
        self.native: Any = lib.llama_batch()
        for field, array in (
            ("token", self.tokens),
            ("pos", self.positions),
            ("n_seq_id", self._counts),
            ("seq_id", self._pointers),
            ("logits", self.outputs),
        ):
            kind = type(getattr(self.native, field))
            setattr(self.native, field, ctypes.cast(array.ctypes.data, kind))

    def fill(self, tokens: Sequence[int], first: int, outputs: int, padded: int) -> None:
        """Rows of one sequence, which holds `first` tokens; those behind `tokens`, up to `padded` in all, repeat the last one.

        Args:
            tokens: Ids.
            first: Position of the first one.
            outputs: How many of `tokens`, at their end, get logits.
            padded: Rows in all.
        """
        if padded == 1:
            # A plain step: a number costs less than an array of one.
            self.tokens[0], self.positions[0], self.outputs[0] = tokens[0], first, outputs
            return
        count = len(tokens)
        self.tokens[:count] = tokens
        self.tokens[count:padded] = tokens[-1]
        self.positions[:padded] = np.arange(first, first + padded, dtype=np.int32)
        self.outputs[:padded] = 0
        self.outputs[count - outputs : count] = 1

    def take(self, rows: int) -> Any:
        """The first `rows` rows as a `llama_batch`; valid while this object is."""
        self.native.n_tokens = rows
        return self.native
