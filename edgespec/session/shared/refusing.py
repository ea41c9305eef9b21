"""What whoever asked is told of an error."""

from edgespec.errors import (
    ContextOverflowError,
    EdgespecError,
    ModelFileError,
    NotEnoughMemoryError,
    UsageError,
)
from edgespec.session.shared.asked import RefusalKind, Refused


def refusal_of(number: int, error: EdgespecError, n_ctx: int) -> Refused:
    """The refusal.

    Args:
        number: The id of what was asked.
        error: What was raised.
        n_ctx: Tokens that a text may have.
    """
    if isinstance(error, ContextOverflowError):
        return Refused(number, "context", error.message, error.hint, error.n_tokens, n_ctx)
    return Refused(number, _kind_of(error), error.message, error.hint)


def _kind_of(error: EdgespecError) -> RefusalKind:
    if isinstance(error, UsageError):
        return "request"
    if isinstance(error, ModelFileError):
        return "model"
    if isinstance(error, NotEnoughMemoryError):
        return "memory"
    return "engine"
