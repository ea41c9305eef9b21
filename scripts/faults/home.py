"""The home of a trial: all that edgespec may write to, and what has to be true of the files in it."""

import hashlib
import json
import os
import random
import re
import shutil
import sqlite3
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edgespec.catalog.metadata import read_metadata
from edgespec.errors import EdgespecError

REPOSITORY: Final = Path(__file__).resolve().parents[2]
_PRIVATE: Final = (
    "EDGESPEC_",
    "HF_",
    "HUGGING",
    "TRANSFORMERS_",
    "PIP_",
    "FAULTS_",
    "LLAMA_",
    "XDG_",
    "OLLAMA_",
    "COLUMNS",
    "LINES",
)
_ONE_THREAD: Final = {"OMP_THREAD_LIMIT": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Threads that wait for each other on a busy machine make a run ten times as long, and write no other files."""
_UNFINISHED: Final = re.compile(
    r"(^|/)\.[^/]*(-|\.)[^/]*$|\.(part|incomplete|new|tmp)$|(^|/)(prune|tune|probe)-[^/]+/"
)
"""What temporaries are called."""
_CHANGING: Final = re.compile(r"[0-9a-f]{12,40}|\d{8}-\d{6}(-\d+)?")
"""What differs between the names of two runs: identities of files, moments."""
STATE: Final = "state"
"""Among the inputs: settings and conversations of a user who has been here before."""
CONVERSATIONS: Final = "data/chats/conversations.db"
_HINT: Final = "CACHEDIR.TAG"
"""For backup programs: huggingface_hub writes it in place, and once. Nothing of edgespec reads or needs it."""
_BLOCK: Final = 4096
"""Bytes that a disk writes whole."""
_COMPARED: Final = (".gguf",)
"""Files that are the same after every run."""


@dataclass(frozen=True, slots=True)
class Home:
    """A folder with all that a run may touch."""

    folder: Path
    token: str
    """Stands in the environment of every process of the trial."""

    @classmethod
    def make(cls, folder: Path, inputs: Path, names: Sequence[str] = ()) -> "Home":
        """A new one, with copies of inputs, and of the state of a user who has been here before where there is any."""
        for name in ("work", "tmp", "user"):
            (folder / name).mkdir(parents=True)
        if (inputs / STATE).is_dir():
            shutil.copytree(inputs / STATE, folder / "edgespec")
        for name in names:
            source = inputs / name
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            copy(source, folder / "work" / name)
        return cls(folder, os.urandom(8).hex())

    def remove(self) -> None:
        """Deletes it."""
        for folder in (self.folder, self.streams):
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def streams(self) -> Path:
        """A folder for what processes say; no part of the home."""
        return self.folder.with_name(f"{self.folder.name}-streams")

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """For the processes of a run, with what the work gives them."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE)}
        places = {"EDGESPEC_HOME": "edgespec", "HF_HOME": "hub", "HOME": "user", "TMPDIR": "tmp"}
        path = [given.get("PYTHONPATH", ""), str(REPOSITORY)]
        return {
            **kept,
            **_ONE_THREAD,
            **{name: str(self.folder / place) for name, place in places.items()},
            "NO_COLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "FAULTS_TRIAL": self.token,
            **given,
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
        }

    def files(self) -> dict[str, str]:
        """Path below the home -> hash of what is in it, of every file of some use that is not empty."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            with suppress(FileNotFoundError):  # somebody still clears up
                is_plain = path.is_file() and not path.is_symlink() and path.name != _HINT
                if is_plain and path.stat().st_size:
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    found[_blob_name(str(path.relative_to(self.folder)), digest)] = digest
        return found

    def damaged(self, whole: Mapping[str, str]) -> Iterator[str]:
        """What of the files with final names is not whole.

        Args:
            whole: `files` of a run that nothing happened to.
        """
        hashes = {_general(name): digest for name, digest in whole.items()}
        for name, digest in self.files().items():
            wanted = hashes.get(_general(name))
            if wanted is None or digest == wanted:
                continue
            if "/blobs/" in name or (name.endswith(_COMPARED) and name.startswith("work/")):
                yield f"{name} is not what an undisturbed run writes"
            elif why := _unreadable(self.folder / name):
                yield f"{name} is damaged: {why}"

    def unreadable(self) -> Iterator[str]:
        """Files that cannot be read as what their names say."""
        for name in self.files():
            if why := _unreadable(self.folder / name):
                yield f"{name} is damaged: {why}"

    def left_over(self, whole: Mapping[str, str]) -> Iterator[str]:
        """Files that an undisturbed run does not leave."""
        known = Counter(_general(name) for name in whole)
        for name in self.files():
            general = _general(name)
            if known[general]:
                known[general] -= 1
            elif general not in {_general(other) for other in whole} or _UNFINISHED.search(name):
                yield f"{name} was left behind"

    def lost(self, inputs: Path) -> Iterator[str]:
        """What is gone of the settings and conversations that were there before."""
        for before in sorted((inputs / STATE).rglob("*.toml")):
            now = self.folder / "edgespec" / before.relative_to(inputs / STATE)
            if not now.is_file() or before.read_text() not in now.read_text():
                yield f"{now.name} lost what stood in it"
        lines, kept = (
            set(_lines_of(folder / CONVERSATIONS)) for folder in (inputs / STATE, self.folder / "edgespec")
        )
        yield from (f"the conversation lost '{line}'" for line in sorted(lines - kept))

    def forget(self, unflushed: Mapping[int, bytes], chance: random.Random) -> None:
        """What a disk does to files that were not flushed when the power fails.

        Of one that never was, there is nothing, half, or zeros; of another one, every block is what was flushed or what came later.

        Args:
            unflushed: Numbers of the files -> what had been flushed of them before.
            chance: Decides.
        """
        for path in (path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink()):
            before = unflushed.get(path.stat().st_ino)
            if before is None:
                continue
            now = path.read_bytes()
            if before:
                length = chance.choice((len(before), len(now)))
                blocks = (chance.choice((before, now))[at : at + _BLOCK] for at in range(0, length, _BLOCK))
                path.write_bytes(b"".join(block.ljust(_BLOCK, b"\0") for block in blocks)[:length])
            else:
                kept = chance.choice((0, len(now) // 2))
                path.write_bytes(now[:kept].ljust(chance.choice((kept, len(now))), b"\0"))

    def hidden(self) -> set[str]:
        """Scratch folders that lie in no other, by their paths."""
        found = (path for path in self.folder.rglob(".edgespec-*") if path.is_dir())
        return {str(path) for path in found if not path.parent.name.startswith(".edgespec-")}

    def unfinished(self) -> Iterator[str]:
        """Files that are called as temporaries are."""
        for name in self.files():
            if _UNFINISHED.search(name):
                yield f"{name} was left behind"


def _blob_name(name: str, digest: str) -> str:
    """What the hub's cache calls a file where links work; a file of a snapshot itself takes the link's place where none can be made."""
    repository, is_snapshot, _ = name.partition("/snapshots/")
    return f"{repository}/blobs/{digest}" if is_snapshot else name


def _general(name: str) -> str:
    return _CHANGING.sub("*", name)


def _unreadable(path: Path) -> str:
    """Why a file cannot be read as what its name says; empty where it can."""
    try:
        match path.suffix:
            case ".gguf":
                read_metadata(path)
            case ".json":
                json.loads(path.read_bytes())
            case ".toml":
                tomllib.loads(path.read_text(encoding="utf-8"))
            case ".npz":
                with np.load(path, allow_pickle=False) as stored:
                    _ = [stored[name] for name in stored]
            case ".kept":
                return _kept_fault(path)
            case ".db" | ".sqlite" | ".sqlite3":
                return _database_fault(path)
    except (OSError, ValueError, KeyError, EdgespecError, sqlite3.Error) as error:
        return str(error)
    return ""


def _kept_fault(path: Path) -> str:
    """What is wrong with a conversation that a server keeps."""
    head, _, content = path.read_bytes().partition(b"\n")
    is_whole = json.loads(head)["checksum"] == hashlib.blake2b(content).hexdigest()
    return "" if is_whole else "another checksum than it says"


def _database_fault(path: Path) -> str:
    with closing(sqlite3.connect(path)) as database:
        (found,) = database.execute("PRAGMA integrity_check").fetchone()
    return "" if found == "ok" else str(found)


def _lines_of(file: Path) -> Iterator[str]:
    """The messages in a database of conversations."""
    if file.is_file():
        with closing(sqlite3.connect(file)) as database:
            yield from (text for (text,) in database.execute("SELECT text FROM messages"))
