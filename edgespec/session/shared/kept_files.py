"""Conversations of a shared session on disk, so that the next run of the same pair need not read them again."""

import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from edgespec.decode.shared.kept import KeptText
from edgespec.files import written_whole
from edgespec.llama.build import native_kernels, native_version
from edgespec.llama.context import SavedCache
from edgespec.llama.slots import Slots
from edgespec.session.loading import LoadedAs

log = logging.getLogger(__name__)

_SUFFIX: Final = ".kept"
_MOST_HEADER: Final = 1 << 16


class KeptFiles:
    """The files of one model. Those of another one, of another llama.cpp or of other types of cache are not touched.

    A file has a line of JSON with its lengths and a checksum, then the tokens in 32 bits, then the bytes of `read_sequence`.

    Args:
        folder: Where they lie.
        loaded: The target.
    """

    def __init__(self, folder: Path, loaded: LoadedAs[Slots]) -> None:
        settings, path = loaded.context.settings, loaded.file.path
        stat = path.stat()
        parts = [path.resolve(), stat.st_size, stat.st_mtime_ns, native_version(), native_kernels()]
        parts += [settings.type_k, settings.type_v, settings.flash_attention, loaded.model.placement]
        self._folder = folder
        self._key = hashlib.sha256("|".join(map(repr, parts)).encode()).hexdigest()[:16]

    def read(self) -> list[KeptText]:
        """What is there, the oldest first; the copies themselves are read when they are wanted. Damaged files are left out."""
        found = []
        for path in self._paths():
            try:
                with path.open("rb") as file:
                    header = json.loads(file.readline(_MOST_HEADER))
                    count = int(header["tokens"])
                    size = path.stat().st_size - file.tell()
                    if not 0 < count <= size // 4 or size - 4 * count != int(header["bytes"]):
                        raise ValueError("another length than it says")
                    tokens = np.frombuffer(file.read(4 * count), np.int32).tolist()
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.info("not taking %s: %s", path.name, error)
                continue
            found.append(KeptText(tokens, 0, lambda path=path: self._load(path)))  # type: ignore[misc]
        return found

    def _paths(self) -> list[Path]:
        try:
            paths = list(self._folder.glob(f"{self._key}-*{_SUFFIX}"))
            return sorted(paths, key=lambda path: path.stat().st_mtime_ns)
        except OSError:
            return []

    def _load(self, path: Path) -> SavedCache | None:
        try:
            with path.open("rb") as file:
                header = json.loads(file.readline(_MOST_HEADER))
                content = file.read()
            if hashlib.blake2b(content).hexdigest() != header["checksum"]:
                raise ValueError("another checksum than it says")
            count = int(header["tokens"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.info("not taking %s: %s", path.name, error)
            return None
        tokens = np.frombuffer(content, np.int32, count).tolist()
        return SavedCache(tuple(tokens), np.frombuffer(content, np.uint8, offset=4 * count).copy())

    def write(self, texts: Iterable[SavedCache], limit_bytes: int) -> None:
        """Keeps these, and of the files that are there already the newest ones that still fit the limit.

        A disk that refuses costs the next run some reading: it is only logged.

        Args:
            texts: The most recently used last.
            limit_bytes: Of all files of this model.
        """
        written: set[Path] = set()
        left = limit_bytes
        for saved in reversed(list(texts)):
            left -= saved.data.nbytes
            if left < 0:
                break
            tokens = np.array(saved.tokens, np.int32).tobytes()
            path = self._folder / f"{self._key}-{hashlib.sha256(tokens).hexdigest()[:16]}{_SUFFIX}"
            written.add(path)
            try:
                self._write(path, tokens, saved)
            except OSError as error:
                log.warning("the conversation is not kept: %s", error)
                return
        for path in reversed(self._paths()):
            if path not in written:
                left -= path.stat().st_size
                if left < 0:
                    path.unlink(missing_ok=True)

    def _write(self, path: Path, tokens: bytes, saved: SavedCache) -> None:
        content = tokens + saved.data.tobytes()
        checksum = hashlib.blake2b(content).hexdigest()
        header = {"tokens": len(saved.tokens), "bytes": int(saved.data.nbytes), "checksum": checksum}
        # A conversation is nobody else's to read.
        with written_whole(path, private=True) as unfinished:
            unfinished.write_bytes(json.dumps(header).encode() + b"\n" + content)
