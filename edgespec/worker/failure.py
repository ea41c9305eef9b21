"""What an exception is for whoever asked a process that computes."""

import logging
from dataclasses import dataclass

from edgespec.errors import EdgespecError, ExitCode, os_error_words

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """A sentence, the way out, and the exit code that a command has of it."""

    message: str
    hint: str
    exit_code: ExitCode


def failure_of(
    error: Exception,
    *,
    memory_hint: str = "take a smaller model or a shorter context",
    log_hint: str = "the log has the details",
) -> Failure:
    """What to say of an error; one that nobody expected is logged with its traceback.

    Args:
        error: What was raised.
        memory_hint: What to do where memory ran out.
        log_hint: Where an unexpected one is found.
    """
    match error:
        case EdgespecError():
            return Failure(error.message, error.hint, error.exit_code)
        case MemoryError():
            return Failure("the machine ran out of memory", memory_hint, ExitCode.MEMORY)
        case OSError() if error.strerror:
            return Failure(*os_error_words(error, "check the disk and its permissions"), ExitCode.FAILED)
    log.error("unexpected", exc_info=error)
    return Failure(f"{type(error).__name__}: {error}", log_hint, ExitCode.FAILED)
