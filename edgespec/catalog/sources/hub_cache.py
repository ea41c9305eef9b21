"""The cache of Hugging Face's hub that all programs of this user share, looked into without its library.

Its layout is documented (https://huggingface.co/docs/huggingface_hub/guides/manage-cache): a folder for each repository,
in it `blobs` by hash, `snapshots` by commit that show them by name, and `refs` that name commits.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

from edgespec.catalog.entries import ModelEntry
from edgespec.catalog.gguf_names import is_model
from edgespec.catalog.sources.hub_partial import find_partials
from edgespec.locks import locked

_COMMIT = re.compile(r"[0-9a-f]{40}")


def cache_dir() -> Path:
    """The shared cache: HF_HUB_CACHE, else `hub` under HF_HOME, else under the user's cache folder."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return Path(os.path.expandvars(os.environ[name])).expanduser()
    home = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return Path(os.path.expandvars(home)).expanduser() / "hub"


def find_cached(entry: ModelEntry, root: Path | None = None) -> list[Path]:
    """The entry's files in the cache, in order; empty unless all of them are there with the published size."""
    files = _snapshot_files(entry, root)
    if not all(file.is_file() for file in files):
        return []
    if entry.size_bytes is not None and sum(file.stat().st_size for file in files) != entry.size_bytes:
        return []
    return files


def _snapshot_files(entry: ModelEntry, root: Path | None = None) -> list[Path]:
    """Where the cache shows the entry's files; empty when it knows no commit to show."""
    if entry.repo is None or entry.file is None:
        return []
    snapshot = _snapshot(entry.repo, entry.revision, root)
    return [] if snapshot is None else [snapshot / file for file in entry.repo_files]


def _snapshot(repo: str, revision: str | None, root: Path | None = None) -> Path | None:
    """Where the cache shows a revision; None when it knows no commit of that name."""
    folder = repo_folder(repo, root)
    commit = revision or "main"
    if not _COMMIT.fullmatch(commit):
        reference = folder / "refs" / commit
        if not reference.is_file():
            return None
        commit = reference.read_text(encoding="utf-8").strip()
    return folder / "snapshots" / commit


def list_files(repo: str, revision: str | None) -> list[str]:
    """Paths inside a repository of all files that the cache shows of a revision, None being the newest it has."""
    snapshot = _snapshot(repo, revision)
    if snapshot is None:
        return []
    return [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]


def list_cached(root: Path | None = None) -> list[tuple[str, Path]]:
    """Every GGUF model that a cache shows, whoever fetched it: what to call it (`owner/repo:file`), and its first file."""
    root = root or cache_dir()
    found: list[tuple[str, Path]] = []
    for path in sorted(root.glob("models--*/snapshots/*/**/*.gguf")):
        folder, _, commit, *inside = path.relative_to(root).parts
        owner, _, name = folder.removeprefix("models--").partition("--")
        if name and is_model(path.name) and path.is_file():
            newest = root / folder / "refs" / "main"
            is_newest = newest.is_file() and newest.read_text(encoding="utf-8").strip() == commit
            found.append((f"{owner}/{name}{'' if is_newest else '@' + commit}:{'/'.join(inside)}", path))
    return found


def find_arrived(entry: ModelEntry) -> list[Path]:
    """What a download that broke off has left: whole parts of a split model, and the file that it was at."""
    if entry.repo is None or find_cached(entry):
        return []
    blobs = repo_folder(entry.repo) / "blobs"
    whole = [file for file in _snapshot_files(entry) if file.is_file()] if len(entry.repo_files) > 1 else []
    return whole + [partial for file in entry.repo_files for partial in find_partials(blobs, file)]


def discard_arrived(entry: ModelEntry) -> None:
    """Remove what a download that broke off has left, but not what another process is still fetching.

    Raises:
        OSError: a file cannot be removed.
    """
    for path in find_arrived(entry):
        etag = path.resolve().name.split(".")[0]  # of the blob, or of what will be one
        with (
            suppress(BlockingIOError),
            locked(lock_file(entry, etag), wait_s=0, keep=True),
        ):
            remove(path)


def lock_file(entry: ModelEntry, etag: str) -> Path:
    """What the library locks, and so do we, while it fetches a file of that ETag."""
    return cache_dir() / ".locks" / repo_folder(entry.repo or "").name / f"{etag}.lock"


def repo_folder(repo: str, root: Path | None = None) -> Path:
    """Where the cache keeps a repository: `models--owner--name` for `owner/name`."""
    return (root or cache_dir()) / f"models--{repo.replace('/', '--')}"


def remove(path: Path) -> int:
    """Remove one file from the cache, with its blob unless another snapshot shows it too; returns the bytes freed.

    Raises:
        OSError: it cannot be removed.
    """
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
