"""Why a connection failed, in words for people."""

import re
import socket
import ssl
from typing import Final

_REASONS: Final = (
    (socket.gaierror, "its host is not known here, there may be no network"),
    (ConnectionRefusedError, "the connection was refused"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (TimeoutError, "there was no answer in time"),
)
"""Of what the transport raises, which wraps the system's errors, the words for the usual ones."""
_ERRNO: Final = re.compile(r"\[(?:Errno|WinError) -?\d+\] ?")


def reason_of(error: BaseException) -> str:
    """A clause on what the transport raised: plain words for the usual reasons, else the first line of what it says."""
    cause: BaseException | None = error
    while cause is not None:
        for kinds, words in _REASONS:
            if isinstance(cause, kinds):
                return words
        cause = cause.__cause__ or cause.__context__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _ERRNO.sub("", lines[0]).rstrip(".")
