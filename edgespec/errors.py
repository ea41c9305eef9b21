"""The one error tree. Every error is a sentence that names the value, a hint that names the way out, and an exit code.

Whoever raises one knows no flags and no forms: a setting stands in backquotes under the name of its field, as in
"use a smaller `ctx_size`", and each front door puts in what the user calls it (`name_settings`).
"""

import errno
import os
import re
from collections.abc import Callable
from enum import IntEnum
from typing import Final

_SETTING: Final = re.compile(r"`([a-z][a-z_]*)`")


class ExitCode(IntEnum):
    """What the process returns. Documented in the README; scripts may rely on it."""

    OK = 0
    FAILED = 1
    """The work was started and did not succeed."""
    USAGE = 2
    """A flag, a file of settings or a combination of them makes no sense."""
    MODEL = 3
    """A model is missing, damaged, of an unknown architecture, or does not fit its partner."""
    MEMORY = 4
    """There is not enough memory for what was asked."""
    INTERRUPTED = 130
    """Ctrl-C; what was finished before is kept."""


def name_settings(text: str, name_of: Callable[[str], str | None]) -> str:
    """A message as one front door says it.

    Args:
        text: With settings in backquotes, under the names of their fields.
        name_of: What the user calls a field; None for what is not a setting, which stays as it is.
    """
    return _SETTING.sub(lambda found: name_of(found[1]) or found[0], text)


def os_error_words(error: OSError, otherwise: str) -> tuple[str, str]:
    """What the system refused, and what to do about it.

    Args:
        error: With its number; the file it is about is named where the system says which.
        otherwise: What to do where the number tells nothing.
    """
    hints = {
        errno.ENOSPC: "free some space or choose another folder",
        errno.EACCES: "check its permissions or choose another place",
        errno.EPERM: "check its permissions or choose another place",
        errno.ENOENT: "check the spelling and that its folder exists",
        errno.EISDIR: "name a file, not a folder",
    }
    reason = (error.strerror or "failed").lower()
    # What is written to a stream, or to a file that is open already, fails without a name.
    what = "a file or the output" if error.filename is None else f"'{os.fsdecode(error.filename)}'"
    return f"cannot use {what}: {reason}", hints.get(error.errno or 0, otherwise)


class EdgespecError(Exception):
    """Base of all errors that a user can meet.

    Args:
        message: One sentence naming the value that is wrong; settings stand in backquotes.
        hint: What to do about it, likewise; empty when there is nothing to do.
    """

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(EdgespecError):
    """A setting or an argument that makes no sense."""

    exit_code = ExitCode.USAGE


class ConfigError(EdgespecError):
    """A settings or catalogue file with something unknown or wrong in it."""

    exit_code = ExitCode.USAGE


class ModelMissingError(EdgespecError):
    """A model that is neither in the catalogue nor on disk, or cannot be fetched now."""

    exit_code = ExitCode.MODEL


class ModelFileError(EdgespecError):
    """A file that is not a GGUF, is truncated, or carries something that this build cannot load or that is not asked for."""

    exit_code = ExitCode.MODEL


class HashMismatchError(ModelFileError):
    """A download whose bytes are not the published ones."""


class IncompatibleDraftError(EdgespecError):
    """A draft that cannot serve this target."""

    exit_code = ExitCode.MODEL


class DownloadError(EdgespecError):
    """The network or the other side failed; what arrived is kept for resuming."""


class DiskSpaceError(EdgespecError):
    """The disk has no room for what would be written."""


class NotEnoughMemoryError(EdgespecError):
    """The models, their KV caches and buffers do not fit this machine."""

    exit_code = ExitCode.MEMORY


class ContextOverflowError(EdgespecError):
    """A prompt longer than the context.

    Args:
        message: As of all errors.
        hint: Likewise.
        n_tokens: Of the prompt, where it is a prompt that is too long.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, hint: str = "", *, n_tokens: int = 0) -> None:
        super().__init__(message, hint)
        self.n_tokens = n_tokens


class EngineError(EdgespecError):
    """llama.cpp returned a failure."""


class ServerError(EdgespecError):
    """A server that cannot be reached, or that refuses or breaks off what it is asked for."""


class InterruptedRunError(EdgespecError):
    """Ctrl-C. The message says what was kept."""

    exit_code = ExitCode.INTERRUPTED
