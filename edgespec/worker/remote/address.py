"""Where a server is, and what opens it."""

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from edgespec.errors import UsageError

_EXAMPLE = "name one such as http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A server, as `parse_server` makes it."""

    url: str
    """Scheme, host and port, and the path below which `/v1` lies, where there is one."""
    api_key: str = field(default="", repr=False)
    key_name: str = ""
    """Where the key comes from, for messages."""

    def __str__(self) -> str:
        return self.url

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, where no proxy leads."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")


def parse_server(text: str, api_key: str = "", key_name: str = "") -> ServerAddress:
    """Reads an address as it is typed: `127.0.0.1:8080`, `https://host/path`, with or without the `/v1` of clients.

    Args:
        text: The address.
        api_key: Sent with every request, if there is one.
        key_name: Where it comes from.

    Raises:
        UsageError: it is no such address, or a key that no header can carry.
    """
    whole = text.strip()
    whole = whole if "://" in whole else f"http://{whole}"
    try:
        parts = urlsplit(whole)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        known = False
    if known and "@" in parts.netloc:
        raise UsageError(
            "`server` has a password in it", "leave it out, and put the key into a file for `api_key`"
        )
    if not known or parts.query or parts.fragment or not whole.isprintable() or " " in whole:
        raise UsageError(f"`server` {text!r} is not the address of a server", _EXAMPLE)
    if not (api_key.isascii() and api_key.isprintable()):
        raise UsageError(
            f"the API key of {key_name} is no text that a header can carry", "write the key alone into it"
        )
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return ServerAddress(f"{parts.scheme}://{parts.netloc}{path}", api_key, key_name)
