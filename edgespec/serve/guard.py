"""Who gets in: keys, names and origins, before a route sees anything of a request."""

import hashlib
import hmac
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgespec.page_origin import is_own_name, is_same_origin
from edgespec.serve.errors import ApiError
from edgespec.serve.exchange import ANTHROPIC, OPENAI, Exchange
from edgespec.text import one_line

log = logging.getLogger(__name__)

OPEN_TO_ALL: Final = ("/health", "/v1/health")
_ID: Final = "x-request-id"


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use the server."""

    host: str
    """The address that it listens on."""
    keys: tuple[str, ...] = ()
    """One of them opens it; without any it is open."""
    origins: tuple[str, ...] = ()
    """Of pages of other sites that may use it; `*` for all."""


class Guard:
    """Refuses strangers, and gives every request an id.

    Args:
        app: What is behind it.
        access: Who may use it.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access
        self._keys = [_digest(key.encode()) for key in access.keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            return
        number = f"req_{secrets.token_hex(8)}"
        began_s, status = monotonic(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[_ID] = number
            await send(message)

        error = self._why_not(scope)
        if error is None:
            await self._app(scope, receive, send_with_id)
        else:
            form = ANTHROPIC if scope["path"].startswith("/v1/messages") else OPENAI
            await Exchange(scope, receive, send_with_id, form).fail(error)
        log.info(
            "%s %s %s: %s in %.3f s",
            number,
            scope["method"],
            one_line(scope["path"])[:200],
            status or "caller gone",
            monotonic() - began_s,
        )

    def _why_not(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        origin, host = headers.get("origin"), headers.get("host", "")
        if origin is not None and not self._may_come_from(origin, host):
            said = f"pages of {origin[:200]} may not use this server: it was not started with that origin"
            return ApiError(403, said, None, "origin_not_allowed")
        if scope["path"] in OPEN_TO_ALL:
            return None
        if self._keys:
            return None if self._has_key(headers) else _no_key(headers)
        if not is_own_name(host, self._access.host):
            said = f"this server is not called {host[:200]!r}: use this machine's address, or the name it was started with"
            return ApiError(403, said, None, "host_not_allowed")
        return None

    def _may_come_from(self, origin: str, host: str) -> bool:
        return is_same_origin(origin, host) or origin in self._access.origins or "*" in self._access.origins

    def _has_key(self, headers: Headers) -> bool:
        found = False
        for said in said_keys(headers):
            # Headers are bytes, which come as Latin-1.
            digest = _digest(said.encode("latin-1"))
            for key in self._keys:
                found |= hmac.compare_digest(digest, key)
        return found


def said_keys(headers: Headers) -> Sequence[str]:
    """The keys in a request's headers, in OpenAI's and Anthropic's way."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = [token.strip()] if scheme.lower() == "bearer" else []
    return [*bearer, *([headers["x-api-key"]] if "x-api-key" in headers else [])]


def _digest(key: bytes) -> bytes:
    # As long for every key, so that comparing tells nothing of lengths either.
    return hashlib.sha256(key).digest()


def _no_key(headers: Headers) -> ApiError:
    what = "is none of this server's" if said_keys(headers) else "is missing"
    said = f"the key {what}; send one as Authorization: Bearer KEY, or as x-api-key"
    return ApiError(401, said, None, "invalid_api_key")
