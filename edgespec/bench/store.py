"""Saved runs: one JSON document per run in one folder, written so that an interruption loses nothing."""

import difflib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edgespec.bench.document import Result, from_json, to_json
from edgespec.errors import ConfigError, EdgespecError, UsageError
from edgespec.files import written_whole

LATEST: Final = "latest"
"""Stands for the newest run that can be read."""

_SUFFIX: Final = ".json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the store."""

    run_id: str
    path: Path
    result: Result | None
    """None when the file is damaged."""
    damage: str = ""
    """What is wrong with a damaged file."""


def new_run_id(now: datetime | None = None) -> str:
    """An id that sorts by time, such as `20260102-030405-1f9a`; the time is UTC."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return f"{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


class ResultStore:
    """The runs in a folder, which is made when the first one is saved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, result: Result) -> Path:
        """Write a run, in place of what was saved of it before; readers see the old file or the new one.

        Raises:
            EdgespecError: the folder or the file cannot be written; the file from before is whole.
        """
        path = self.folder / (result.run_id + _SUFFIX)
        try:
            with (
                written_whole(path, private=True) as unfinished,
                unfinished.open("w", encoding="utf-8", newline="\n") as file,
            ):
                file.write(to_json(result))
        except OSError as error:
            raise EdgespecError(
                f"cannot save the result {path}: {error.strerror or error}",
                "free some space, or set EDGESPEC_HOME to a folder that can be written to",
            ) from error
        return path

    def entries(self) -> tuple[Entry, ...]:
        """All runs, oldest first; a damaged file is an entry without a result."""
        if not self.folder.is_dir():
            return ()
        return tuple(_read(self.folder / name) for name in self._names())

    def delete(self, run_id: str) -> None:
        """Delete a run's file, damaged or not; one that is gone already is not an error.

        Raises:
            EdgespecError: the file cannot be deleted.
        """
        path = self.folder / (run_id + _SUFFIX)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise EdgespecError(
                f"cannot delete the result {path}: {error.strerror or error}",
                "close whatever has it open, or look at the folder's rights",
            ) from error

    def load(self, name: str) -> Result:
        """The run with this id, with an id that begins so, or the newest one for `latest`.

        Raises:
            UsageError: no run or several runs fit (the message names the nearest or the candidates).
            EdgespecError: the file of the run is damaged.
        """
        if name == LATEST:
            return self._latest()
        ids = [file.removesuffix(_SUFFIX) for file in self._names()]
        fits = [name] if name in ids else [run_id for run_id in ids if name and run_id.startswith(name)]
        if len(fits) > 1:
            raise UsageError(f"{name!r} fits {len(fits)} saved runs", f"they are: {', '.join(fits[-8:])}")
        if not fits:
            raise UsageError(f"no saved run is called {name!r}", _unknown_hint(name, ids))
        entry = _read(self.folder / (fits[0] + _SUFFIX))
        if entry.result is None:
            raise EdgespecError(
                f"the saved run {entry.path} cannot be read: {entry.damage}", "delete the file or restore it"
            )
        return entry.result

    def _latest(self) -> Result:
        for name in reversed(self._names()):
            result = _read(self.folder / name).result
            if result is not None:
                return result
        raise UsageError(f"there is no saved run in {self.folder}", "run `edgespec bench` first")

    def _names(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(
            path.name
            for path in self.folder.iterdir()
            if path.suffix == _SUFFIX and not path.name.startswith(".") and path.is_file()
        )


def _read(path: Path) -> Entry:
    """A run is known by its file name, so that a copied or renamed file can still be told apart."""
    run_id = path.name.removesuffix(_SUFFIX)
    try:
        return Entry(run_id, path, from_json(path.read_text(encoding="utf-8")))
    except ConfigError as error:
        return Entry(run_id, path, None, error.message)
    except UnicodeDecodeError:
        return Entry(run_id, path, None, "not UTF-8 text")
    except OSError as error:
        return Entry(run_id, path, None, error.strerror or str(error))


def _unknown_hint(name: str, ids: list[str]) -> str:
    if not ids:
        return "there are none yet; `edgespec bench` makes the first one"
    near = difflib.get_close_matches(name, ids, n=1, cutoff=0.4)
    return (
        f"did you mean {near[0]!r}?"
        if near
        else f"the newest is {ids[-1]!r}; `edgespec results list` shows all"
    )
