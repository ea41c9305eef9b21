"""Requests to a server, with limits to what is believed and waited for; what goes wrong becomes one sentence."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from edgespec.errors import ContextOverflowError, EdgespecError, ServerError, UsageError
from edgespec.text import one_line
from edgespec.worker.remote.address import ServerAddress

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

DONE: Final = "[DONE]"
"""What a stream ends with."""
_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 10.0
"""For a list or for figures. The text of an answer may take any time."""
_PATIENCE_S: Final = 120.0
"""How long a busy server is asked again: a model of some gigabytes is loaded by then."""
_RETRY_S: Final = 1.0
"""Where a busy server does not say when."""
_LONGEST_BYTES: Final = 16 << 20
"""Of an event, and of an answer that is read whole."""
_LONGEST_WORDS: Final = 300
_TOO_LONG: Final = ("exceed_context_size_error", "context_length_exceeded")
"""Types and codes of errors about a prompt that does not fit: llama-server's, and OpenAI's."""


class ServerConnection:
    """Speaks HTTP with one server, in the event loop in which it is first used.

    Args:
        address: Of the server.
        tell: Hears why it takes longer.
    """

    def __init__(self, address: ServerAddress, tell: Callable[[str], None]) -> None:
        self.address = address
        self._tell = tell
        self._client: AsyncClient | None = None

    async def close(self) -> None:
        """Ends it."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def get(self, path: str, **params: str) -> object:
        """What lies at a path, as JSON; None where there is nothing, or something else.

        Raises:
            ServerError: the server cannot be reached, or fails.
            UsageError: it wants a key.
        """
        async with self._request("GET", path, params=params, timeout_s=_ANSWER_S) as response:
            if response.status_code == 404:
                return None
            await self._check(response)
            return _as_json(await self._read_whole(response))

    async def look(self, path: str, **params: str) -> object:
        """As `get`, for what not every server has, or not now: None then, without waiting.

        Raises:
            ServerError: the server cannot be reached.
        """
        async with self._request("GET", path, params=params, timeout_s=_ANSWER_S, patience_s=0) as response:
            return _as_json(await self._read_whole(response)) if response.status_code == 200 else None

    @asynccontextmanager
    async def post(self, path: str, body: Mapping[str, object]) -> AsyncIterator["Response"]:
        """An answer whose text is still to come; leaving the block closes the stream, which ends the work for it.

        Raises:
            ServerError: as of `get`, or the server refuses the request.
            ContextOverflowError: the prompt does not fit the server's context.
        """
        async with self._request("POST", path, body=body, timeout_s=None) as response:
            await self._check(response)
            yield response

    async def read_events(self, response: "Response") -> AsyncGenerator[object, None]:
        """The JSON of every event of a stream, and `DONE` as its last; of a server that does not stream, all at once.

        Raises:
            ServerError: it is no JSON, or the connection is lost.
        """
        import httpx2

        if "text/event-stream" not in response.headers.get("content-type", "").lower():
            yield await self._read_json(response)
            return
        try:
            async for event in httpx2.EventSource(response, max_event_size=_LONGEST_BYTES):
                data = event.data.strip()
                found = DONE if data == DONE else _as_json(data.encode())
                if found is None and data:  # an event without any is a sign of life
                    raise self.stranger()
                yield found
                if found == DONE:
                    return
        except httpx2.HTTPError as error:
            raise self.broke_off(str(error)) from error

    async def _read_json(self, response: "Response") -> object:
        found = _as_json(await self._read_whole(response))
        if found is None:
            raise self.stranger()
        return found

    def stranger(self) -> ServerError:
        """The error for an answer of another protocol."""
        return ServerError(
            f"what answers at {self.address} does not speak OpenAI's protocol",
            "check `server`: the address is the one below which /v1 lies",
        )

    def broke_off(self, reason: str) -> ServerError:
        """The error for an answer that has no end."""
        return ServerError(
            f"the server at {self.address} broke off ({one_line(reason) or 'the connection is lost'})",
            "its own log may say why; ask again",
        )

    def failed(self, found: object, status: int = 0) -> EdgespecError:
        """The error that a server tells of.

        Args:
            found: Its JSON, if it is any.
            status: Of HTTP; 0 in the middle of an answer.
        """
        error = found.get("error", found) if isinstance(found, Mapping) else None
        if isinstance(error, Mapping) and {error.get("type"), error.get("code")} & set(_TOO_LONG):
            return _overflow(error)
        what = f" (HTTP {status})" if status else ""
        words = _words_of(error) or "nothing about the reason"
        return ServerError(f"the server at {self.address} failed and says: {words}{what}")

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        timeout_s: float | None,
        patience_s: float = _PATIENCE_S,
    ) -> AsyncIterator["Response"]:
        """Asks until the server is not busy any more, or for as long as `patience_s`; with 0 whatever comes is the answer."""
        import httpx2

        client = self._client = self._client or self._make_client()
        timeout = httpx2.Timeout(timeout_s, connect=_CONNECT_S)
        left_s = patience_s
        try:
            while True:
                async with client.stream(
                    method, f"{self.address.url}{path}", params=params or None, json=body, timeout=timeout
                ) as response:
                    wait_s = _wait_of(response)
                    if wait_s is None or not patience_s:
                        yield response
                        return
                    if wait_s > left_s:
                        raise self._busy(_words_of(_as_json(await self._read_whole(response))), wait_s)
                self._tell(f"the server is busy: asking again in {wait_s:.0f} s")
                await asyncio.sleep(wait_s)
                left_s -= max(wait_s, _RETRY_S)
        except httpx2.ConnectError as error:
            raise ServerError(
                f"nobody answers at {self.address} ({one_line(str(error)) or 'no connection'})",
                "start a server there, such as `edgespec serve`, or check `server`",
            ) from error
        except httpx2.TimeoutException as error:
            raise ServerError(
                f"the server at {self.address} does not answer", "see whether it runs, or check `server`"
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self.broke_off(str(error)) from error

    def _make_client(self) -> "AsyncClient":
        import httpx2

        key = self.address.api_key
        return httpx2.AsyncClient(
            headers={
                # What arrives has the size that was sent.
                "Accept-Encoding": "identity",
                **({"Authorization": f"Bearer {key}"} if key else {}),
            },
            trust_env=not self.address.is_loopback,
        )

    def _busy(self, words: str, wait_s: float) -> ServerError:
        reason = f": {words}" if words else ""
        return ServerError(
            f"the server at {self.address} is busy{reason}",
            f"ask again in {wait_s:.0f} s, or take another `server`",
        )

    async def _check(self, response: "Response") -> None:
        status, address = response.status_code, self.address
        if status == 200:
            return
        if status in (401, 403):
            if not address.api_key:
                raise UsageError(f"the server at {address} wants an API key", "give it with `api_key`")
            raise UsageError(
                f"the server at {address} refuses the API key of {address.key_name}",
                "give the right one with `api_key`",
            )
        if 300 <= status < 400:
            raise ServerError(
                f"the server at {address} sends on to another address (HTTP {status})",
                "name that one as `server`",
            )
        raise self.failed(_as_json(await self._read_whole(response)), status)

    async def _read_whole(self, response: "Response") -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > _LONGEST_BYTES:
                raise ServerError(
                    f"the server at {self.address} sent more than {_LONGEST_BYTES >> 20} MiB at once"
                )
        return bytes(body)


def _as_json(body: bytes) -> object:
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found


def _wait_of(response: "Response") -> float | None:
    """After how many seconds a busy server wants to be asked again; None where it is not busy."""
    after = response.headers.get("retry-after", "")
    if response.status_code != 503 and not (response.status_code == 429 and after):
        return None
    if after.strip().isdecimal():
        return float(after)
    try:
        moment = parsedate_to_datetime(after)
    except (ValueError, OverflowError):
        return _RETRY_S
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _words_of(error: object) -> str:
    """What an error says: OpenAI's form, ollama's, FastAPI's, or a bare text."""
    while isinstance(error, Mapping):
        error = next((error[key] for key in ("error", "message", "detail") if error.get(key)), None)
    words = one_line(error if isinstance(error, str) else json.dumps(error) if error else "")
    # What stands in backquotes would pass for a setting of ours.
    words = words.replace("`", "'").removesuffix(".")
    return words if len(words) <= _LONGEST_WORDS else f"{words[:_LONGEST_WORDS]}…"


def _overflow(error: Mapping[str, object]) -> ContextOverflowError:
    prompt_n, n_ctx = error.get("n_prompt_tokens"), error.get("n_ctx")
    if isinstance(prompt_n, int) and isinstance(n_ctx, int):
        message = f"the prompt has {prompt_n} tokens and the server's context {n_ctx}"
    else:
        message = f"the prompt does not fit the server's context: {_words_of(error)}"
    return ContextOverflowError(message, "start the server with a larger context, or shorten the prompt")
