"""Why a connection failed, in words for people."""

import socket
import ssl
import urllib.error
import urllib.request

import pytest

from edgespec.catalog.sources.network_reason import reason_of


def test_a_refused_connection_is_said_in_words() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(urllib.error.URLError) as failed:
            urllib.request.urlopen(address, timeout=10)
    assert reason_of(failed.value) == "the connection was refused"


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (
            socket.gaierror(-2, "Name or service not known"),
            "its host is not known here, there may be no network",
        ),
        (TimeoutError("timed out"), "there was no answer in time"),
        (ssl.SSLCertVerificationError("self-signed"), "its certificate is not trusted"),
        (OSError(113, "No route to host"), "No route to host"),
        (RuntimeError("503 Service Unavailable.\nFor more see"), "503 Service Unavailable"),
        (RuntimeError(), "RuntimeError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_transport_raises_is_said_in_words(cause: Exception, said: str) -> None:
    assert reason_of(cause) == said


def test_what_the_transport_wraps_is_found() -> None:
    try:
        try:
            raise socket.gaierror(-2, "Name or service not known")
        except OSError as error:
            raise RuntimeError("ConnectError") from error
    except RuntimeError as wrapped:
        assert reason_of(wrapped).startswith("its host is not known here")


def test_a_number_of_the_system_is_left_out() -> None:
    assert reason_of(RuntimeError("[Errno 104] Connection reset by peer")) == "Connection reset by peer"
