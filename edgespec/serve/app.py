"""The routes, in llama-server's and OpenAI's places."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from edgespec.serve import chat, messages, responses, status, texts
from edgespec.serve.completions import completions
from edgespec.serve.errors import ApiError, openai_error
from edgespec.serve.exchange import ANTHROPIC, OPENAI, RESPONSES, Endpoint, Exchange, Form
from edgespec.serve.guard import Access, Guard
from edgespec.serve.native_completions import native_completions
from edgespec.serve.service import Service

_Work = Callable[[Service, Exchange], Awaitable[None]]

_POSTED: Final[tuple[tuple[_Work, Form, tuple[str, ...]], ...]] = (
    (chat.chat_completions, OPENAI, ("/v1/chat/completions", "/chat/completions")),
    (chat.count_tokens, OPENAI, ("/v1/chat/completions/input_tokens", "/chat/completions/input_tokens")),
    (completions, OPENAI, ("/v1/completions",)),
    (native_completions, OPENAI, ("/completion", "/completions")),
    (responses.responses, RESPONSES, ("/v1/responses", "/responses")),
    (responses.count_tokens, OPENAI, ("/v1/responses/input_tokens", "/responses/input_tokens")),
    (messages.messages, ANTHROPIC, ("/v1/messages",)),
    (messages.count_tokens, ANTHROPIC, ("/v1/messages/count_tokens",)),
    (texts.embeddings, OPENAI, ("/v1/embeddings", "/embeddings", "/embedding")),
    (texts.tokenize, OPENAI, ("/tokenize",)),
    (texts.detokenize, OPENAI, ("/detokenize",)),
    (texts.apply_template, OPENAI, ("/apply-template",)),
)
_GOT: Final[tuple[tuple[_Work, tuple[str, ...]], ...]] = (
    (status.health, ("/health", "/v1/health")),
    (status.models, ("/v1/models", "/models")),
    (status.model, ("/v1/models/{name:path}",)),
    (status.props, ("/props",)),
    (status.metrics, ("/metrics",)),
)


def make_app(service: Service, access: Access) -> ASGIApp:
    """The ASGI application.

    Args:
        service: What the routes work with.
        access: Who may use it.
    """
    routes = [
        _route(service, path, work, "POST", form) for work, form, paths in _POSTED for path in paths
    ] + [_route(service, path, work, "GET", OPENAI) for work, paths in _GOT for path in paths]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=access.origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=["x-request-id", "retry-after"],
        allow_private_network=True,
    )
    return Starlette(
        routes=routes,
        # A browser asks first, and without a key.
        middleware=[*([cors] if access.origins else []), Middleware(Guard, access=access)],
        exception_handlers={HTTPException: _refuse},
    )


def _route(service: Service, path: str, work: _Work, method: str, form: Form) -> Route:
    def count(exchange: Exchange) -> None:
        service.requests[path, exchange.status] += 1

    endpoint = Endpoint(partial(work, service), reads_body=method == "POST", form=form, ended=count)
    return Route(path, endpoint, methods=[method])


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    """What no route takes."""
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    said = {
        404: f"there is nothing at {path}",
        405: f"{request.method} does not go with {path}",
    }.get(error.status_code, str(error.detail))
    refused = ApiError(error.status_code, said, None, None)
    return JSONResponse(openai_error(refused), error.status_code, headers=error.headers)
