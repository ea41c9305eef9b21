"""Where a written tensor's bytes come from: copied whole, copied by rows, or computed when its turn comes."""

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from edgespec.errors import ModelFileError
from edgespec.lifetime import Closes

_COPY_BYTES = 64 << 20
"""Between two reports of progress, which is also when Ctrl-C is noticed."""
_READ_BYTES = 4 << 20
_NO_FAST_COPY = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})
"""What a kernel says when it cannot copy between these two files itself."""


class TensorSource(Protocol):
    """Puts the bytes of one tensor into the output."""

    def send(self, out: "Output") -> None:
        """Writes all of them, in order."""


class Output(Closes):
    """The file that is being written, at its end, and the files that are copied from.

    Args:
        file: Opened for writing, unbuffered.
        parts: The files of the source.
        progress: Called with the bytes written so far.
    """

    def __init__(self, file: BinaryIO, parts: Sequence[Path], progress: Callable[[int], None]) -> None:
        self.parts = tuple(parts)
        self.n_bytes = 0
        self._file = file
        self._progress = progress
        self._opened = ExitStack()
        self._sources: dict[int, BinaryIO] = {}
        self._fast_copy: Callable[[int, int, int, int], int] | None = getattr(os, "copy_file_range", None)

    def write(self, data: bytes | memoryview) -> None:
        """Writes a buffer of bytes."""
        rest = memoryview(data)
        while rest:
            written = self._file.write(rest)
            rest = rest[written:]
            self._advance(written)

    def copy(self, part: int, offset: int, n_bytes: int) -> None:
        """Copies a range of a source file; inside the kernel where it can.

        Raises:
            ModelFileError: The file ends before the range does.
        """
        source = self._source(part)
        while n_bytes:
            done = self._copied_some(source, offset, n_bytes)
            if not done:
                raise ModelFileError(
                    f"{self.parts[part]} ends at byte {offset}, where {n_bytes} more were to be copied.",
                    "It was changed while it was read: run again on a file that nothing writes to.",
                )
            offset, n_bytes = offset + done, n_bytes - done

    def close(self) -> None:
        """Closes the source files; the output belongs to who opened it."""
        self._opened.close()

    def _copied_some(self, source: BinaryIO, offset: int, n_bytes: int) -> int:
        if self._fast_copy is not None:
            try:
                done = self._fast_copy(
                    source.fileno(), self._file.fileno(), min(n_bytes, _COPY_BYTES), offset
                )
            except OSError as error:
                if error.errno not in _NO_FAST_COPY:
                    raise
                self._fast_copy = None
            else:
                self._advance(done)
                return done
        source.seek(offset)
        data = source.read(min(n_bytes, _READ_BYTES))
        self.write(data)
        return len(data)

    def _source(self, part: int) -> BinaryIO:
        if part not in self._sources:
            self._sources[part] = self._opened.enter_context(self.parts[part].open("rb", buffering=0))
        return self._sources[part]

    def _advance(self, n_bytes: int) -> None:
        self.n_bytes += n_bytes
        self._progress(self.n_bytes)


@dataclass(frozen=True, slots=True)
class CopiedBytes:
    """A whole tensor, byte for byte."""

    part: int
    offset: int
    """From the start of that file."""
    n_bytes: int

    def send(self, out: Output) -> None:
        """Copies the range."""
        out.copy(self.part, self.offset, self.n_bytes)


@dataclass(frozen=True, slots=True, eq=False)
class CopiedRows:
    """A choice of a matrix's rows, in any order; exact in every type, because no quantized block spans two rows."""

    part: int
    offset: int
    """Of the matrix, from the start of that file."""
    row_bytes: int
    rows: NDArray[np.int64]

    def send(self, out: Output) -> None:
        """Gathers the rows, a few megabytes at a time."""
        if not self.rows.size:
            return
        matrix = np.memmap(
            out.parts[self.part],
            np.uint8,
            "r",
            offset=self.offset,
            shape=(int(self.rows.max()) + 1, self.row_bytes),
        )
        n_rows = max(1, _READ_BYTES // self.row_bytes)
        for start in range(0, len(self.rows), n_rows):
            chosen = np.ascontiguousarray(matrix[self.rows[start : start + n_rows]])
            out.write(chosen.reshape(-1).data)


@dataclass(frozen=True, slots=True, eq=False)
class ComputedTensor:
    """Bytes that are computed when their turn comes, and dropped once written."""

    compute: Callable[[], NDArray[np.uint8]]

    def send(self, out: Output) -> None:
        """Computes and writes."""
        out.write(np.ascontiguousarray(self.compute()).reshape(-1).view(np.uint8).data)
