"""The layer between a program and the system's calls (`layer.c`): compiled on the spot, loaded by LD_PRELOAD."""

import shutil
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["count", "kill", "fail", "dead", "read", "full", "fsync", "short", "power", "clock"]
"""What the layer does:

- `count`: nothing; it counts.
- `kill`: the process that makes the Nth call is killed (SIGKILL) before it.
- `fail`: the Nth call fails once with EIO.
- `dead`: every call from the Nth on fails with EIO.
- `read`: the Nth read fails once with EIO.
- `full`: nothing can be written after N bytes (ENOSPC); the call that crosses the line writes a part.
- `fsync`: the Nth flush fails with EIO.
- `short`: every write takes half of what it is given.
- `power`: all processes are killed at the Nth call; what was not flushed until then is known by `unflushed`.
- `clock`: the time of day jumps by hours, days and years, from the Nth place of a table on.
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """What the layer saw of a run."""

    calls: int
    """That change the disk."""
    n_bytes: int
    """That were to be written."""
    syncs: int
    reads: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What is to go wrong."""

    kind: Kind = "count"
    at: int = 0

    def __str__(self) -> str:
        return f"{self.kind} at {self.at}"


def is_possible() -> bool:
    """Whether there is a compiler for the layer."""
    return shutil.which("cc") is not None


def compile_layer(folder: Path) -> Path:
    """The library, compiled into a folder.

    Raises:
        CalledProcessError: the compiler refused; it says why on stderr.
    """
    library = folder / "layer.so"
    source = Path(__file__).with_name("layer.c")
    subprocess.run(["cc", "-O1", "-Wall", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


class Layer:
    """The layer over one folder.

    Args:
        library: Compiled by `compile_layer`.
        under: Whose files are met by the faults.
        page: A file for the counts, outside that folder.
    """

    _COUNTS = struct.Struct("5l")
    _FILE = struct.Struct("2l")
    _N_FILES = 4096

    def __init__(self, library: Path, under: Path, page: Path) -> None:
        self._library, self._under, self._page = library, under.resolve(), page
        self._flushed = page.with_name(f"{page.name}.flushed")

    def remove(self) -> None:
        """Deletes what it has counted and kept."""
        self._page.unlink(missing_ok=True)
        shutil.rmtree(self._flushed, ignore_errors=True)

    def environment(self, fault: Fault) -> Mapping[str, str]:
        """Variables for the processes that are to meet the fault; counting begins anew."""
        self.remove()
        self._page.write_bytes(bytes(self._COUNTS.size + self._N_FILES * self._FILE.size))
        self._flushed.mkdir()
        if fault.kind == "power":  # what is there before is on the disk
            for path in (path for path in self._under.rglob("*") if path.is_file() and not path.is_symlink()):
                shutil.copyfile(path, self._flushed / str(path.stat().st_ino))
        return {
            "LD_PRELOAD": str(self._library),
            "FAULTS_UNDER": f"{self._under}/",
            "FAULTS_PAGE": str(self._page),
            "FAULTS_KIND": fault.kind,
            "FAULTS_AT": str(fault.at),
        }

    def counted(self) -> Counted:
        """Since `environment`."""
        calls, n_bytes, syncs, _, reads = self._COUNTS.unpack_from(self._page.read_bytes())
        return Counted(calls, n_bytes, syncs, reads)

    def unflushed(self) -> dict[int, bytes]:
        """Numbers (inodes) of the files with something that was not flushed when the power failed -> what had been flushed of them."""
        files = self._FILE.iter_unpack(self._page.read_bytes()[self._COUNTS.size :])
        kept = ((number, self._flushed / str(number)) for number, is_dirty in files if is_dirty)
        return {number: copy.read_bytes() if copy.exists() else b"" for number, copy in kept}
