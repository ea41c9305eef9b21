"""Where a written tensor's bytes come from: copied whole, or computed when its turn comes.

Numpy is loaded by what computes: a plain copy starts faster and stays smaller without it.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgespec.errors import ModelFileError
from edgespec.lifetime import Closes
from edgespec.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CHUNK_BYTES = 1 << 18
"""Read and written at once: what fits into a core's cache is copied faster than the kernel's `copy_file_range` does it,
which handles single pages where source and destination do not lie alike."""
_FLUSHED_BYTES = 32 << 20
"""Written between two flushes."""


class TensorSource(Protocol):
    """Puts the bytes of one tensor into the output."""

    def send(self, out: "Output") -> None:
        """Writes all of them, in order."""


class Output(Closes):
    """The file that is being written, at its end, and the files that are copied from.

    Args:
        file: Opened for writing, unbuffered.
        parts: The files of the source.
        progress: Advanced by the bytes written.
    """

    def __init__(self, file: FileIO, parts: Sequence[Path], progress: Progress) -> None:
        self.parts = tuple(parts)
        self.n_bytes = 0
        self._file = file
        self._progress = progress
        self._opened = ExitStack()
        self._sources: dict[int, FileIO] = {}
        self._buffer = memoryview(bytearray(_CHUNK_BYTES))
        self._stopped = False
        self._flushed = 0

    def write(self, data: bytes | memoryview) -> None:
        """Writes a buffer of bytes."""
        rest = memoryview(data)
        while rest:
            written = self._file.write(rest)
            rest = rest[written:]
            self._advance(written)

    def copy(self, part: int, offset: int, n_bytes: int) -> None:
        """Copies a range of a source file.

        Raises:
            ModelFileError: the file ends before the range does.
        """
        source = self._source(part)
        source.seek(offset)
        while n_bytes:
            # Chunks end at multiples of their size in the output, so that no page of it is filled twice.
            wanted = min(n_bytes, _CHUNK_BYTES - self.n_bytes % _CHUNK_BYTES)
            done = source.readinto(self._buffer[:wanted])
            if not done:
                raise ModelFileError(
                    f"{self.parts[part]} ends at byte {offset}, where {n_bytes} more were to be copied",
                    "it was changed while it was read: run again on a file that nothing writes to",
                )
            self.write(self._buffer[:done])
            offset, n_bytes = offset + done, n_bytes - done

    def stop(self) -> None:
        """Makes the thread that writes give up at its next chunk."""
        self._stopped = True

    def close(self) -> None:
        """Closes the source files; the output belongs to who opened it."""
        self._opened.close()

    def _source(self, part: int) -> FileIO:
        if part not in self._sources:
            self._sources[part] = self._opened.enter_context(self.parts[part].open("rb", buffering=0))
        return self._sources[part]

    def _advance(self, n_bytes: int) -> None:
        self.n_bytes += n_bytes
        if self.n_bytes - self._flushed >= _FLUSHED_BYTES:
            self._start_flush()
        if self._stopped:
            raise InterruptedError("the file is not wanted any more")
        self._progress.advance(n_bytes)

    def _start_flush(self) -> None:
        """Has Linux write out what stands, meanwhile: the flush of a gigabyte at the end waits half as long.

        It begins that for pages that are said to be needed no more, and keeps them until it is done (mm/fadvise.c).
        """
        if hasattr(os, "posix_fadvise"):
            n_bytes = self.n_bytes - self._flushed
            os.posix_fadvise(self._file.fileno(), self._flushed, n_bytes, os.POSIX_FADV_DONTNEED)
        self._flushed = self.n_bytes


@dataclass(frozen=True, slots=True)
class CopiedBytes:
    """A whole tensor, byte for byte."""

    part: int
    offset: int
    """From the start of that file."""
    n_bytes: int

    def send(self, out: Output) -> None:
        """Copies the range.

        Raises:
            ModelFileError: the source file ends before the range does.
        """
        out.copy(self.part, self.offset, self.n_bytes)


@dataclass(frozen=True, slots=True, eq=False)
class ComputedTensor:
    """Bytes that are computed when their turn comes, and dropped once written."""

    compute: "Callable[[], NDArray[np.uint8]]"

    def send(self, out: Output) -> None:
        """Computes and writes."""
        import numpy as np

        out.write(np.ascontiguousarray(self.compute()).reshape(-1).view(np.uint8).data)
