"""Addresses of this machine's servers, and whether a browser's request may come in: any site can make a browser connect here.

What counts is where the browser says that the page comes from, and under which name it found this machine.
"""

import contextlib
import ipaddress
import socket
from urllib.parse import urlsplit


def is_same_origin(origin: str, host: str) -> bool:
    """Whether a page comes from where the request goes.

    Args:
        origin: The header `Origin`.
        host: The header `Host`.
    """
    with contextlib.suppress(ValueError):
        return urlsplit(origin).netloc == host
    return False


def is_own_name(host: str, listening: str) -> bool:
    """Whether a request goes to this machine's address or name, and not to another site's name that was made to point here.

    Args:
        host: The header `Host`.
        listening: The address that the server was told to listen on.
    """
    with contextlib.suppress(ValueError):
        name = urlsplit(f"//{host}").hostname or ""
        with contextlib.suppress(ValueError):
            return bool(ipaddress.ip_address(name))
        machine = socket.gethostname().lower()
        return name in ("localhost", listening.lower(), machine, f"{machine}.local")
    return False


def address_of(host: str, port: int) -> str:
    """Where a browser or a client finds what listens there."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
