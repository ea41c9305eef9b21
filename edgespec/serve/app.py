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

from edgespec import __version__
from edgespec.serve import chat, messages, responses, slots, status, texts
from edgespec.serve.completions import completions
from edgespec.serve.embeddings import embeddings, native_embeddings
from edgespec.serve.errors import ApiError, openai_error
from edgespec.serve.exchange import ANTHROPIC, OPENAI, RESPONSES, Endpoint, Exchange, Form
from edgespec.serve.guard import Access, Guard
from edgespec.serve.native_completions import infill, native_completions
from edgespec.serve.rerank import rerank
from edgespec.serve.service import Service
from edgespec.text import nearest

_Work = Callable[[Service, Exchange], Awaitable[None]]

_POSTED: Final[tuple[tuple[_Work, Form, tuple[str, ...]], ...]] = (
    (chat.chat_completions, OPENAI, ("/v1/chat/completions", "/chat/completions")),
    (chat.count_tokens, OPENAI, ("/v1/chat/completions/input_tokens", "/chat/completions/input_tokens")),
    (completions, OPENAI, ("/v1/completions",)),
    (native_completions, OPENAI, ("/completion", "/completions")),
    (infill, OPENAI, ("/infill",)),
    (responses.responses, RESPONSES, ("/v1/responses", "/responses")),
    (responses.count_tokens, OPENAI, ("/v1/responses/input_tokens", "/responses/input_tokens")),
    (messages.messages, ANTHROPIC, ("/v1/messages",)),
    (messages.count_tokens, ANTHROPIC, ("/v1/messages/count_tokens",)),
    (embeddings, OPENAI, ("/v1/embeddings",)),
    (native_embeddings, OPENAI, ("/embedding", "/embeddings")),
    (rerank, OPENAI, ("/v1/rerank", "/v1/reranking", "/rerank", "/reranking")),
    (texts.tokenize, OPENAI, ("/tokenize",)),
    (texts.detokenize, OPENAI, ("/detokenize",)),
    (texts.apply_template, OPENAI, ("/apply-template",)),
)
_ALIKE: Final = 0.7
"""Paths look alike sooner than names do."""
DOCUMENTS: Final = "docs/serve.md"
"""Of edgespec's repository; it has a section for every route."""
_GOT: Final[tuple[tuple[_Work, tuple[str, ...]], ...]] = (
    (status.health, ("/health", "/v1/health")),
    (status.models, ("/v1/models", "/models")),
    (status.model, ("/v1/models/{name:path}",)),
    (slots.props, ("/props",)),
    (slots.slots, ("/slots",)),
    (status.metrics, ("/metrics",)),
)


_ROUTES: Final = [f"POST {path}" for _, _, paths in _POSTED for path in paths] + [
    f"GET {path.partition('{')[0]}" for _, paths in _GOT for path in paths
]


def make_app(service: Service, access: Access) -> ASGIApp:
    """The ASGI application.

    Args:
        service: What the routes work with.
        access: Who may use it.
    """
    routes = [
        _route(service, path, work, "POST", form) for work, form, paths in _POSTED for path in paths
    ] + [_route(service, path, work, "GET", OPENAI) for work, paths in _GOT for path in paths]
    routes.append(_route(service, "/", _tell_what_this_is, "GET", OPENAI))
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


async def _tell_what_this_is(service: Service, exchange: Exchange) -> None:
    """`/`: for whoever opens the address in a browser."""
    await exchange.reply(
        {
            "name": "edgespec",
            "version": __version__,
            "about": "answers programs that speak OpenAI's or Anthropic's protocol, or llama-server's",
            "model": service.registry.default.id,
            "documentation": f"{DOCUMENTS} in edgespec's repository",
            "routes": _ROUTES,
        }
    )


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    """What no route takes."""
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    code = None
    match error.status_code:
        case 404:
            near = nearest(path, [route.partition(" ")[2] for route in _ROUTES], least_alike=_ALIKE)
            hint = f"did you mean {' or '.join(near)}?" if near else "/ lists what there is"
            said, code = f"there is nothing at {path}; {hint}", "route_not_found"
        case 405:
            allowed = (error.headers or {}).get("Allow", "")
            said = f"{request.method} does not go with {path}; it takes {allowed or 'another method'}"
        case _:
            said = str(error.detail)
    refused = ApiError(error.status_code, said, None, code)
    return JSONResponse(openai_error(refused), error.status_code, headers=error.headers)
