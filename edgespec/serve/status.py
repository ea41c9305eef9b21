"""How the server is doing: `/health`, `/v1/models`, `/metrics`."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from edgespec.serve.engine import Engine
from edgespec.serve.errors import ApiError
from edgespec.serve.exchange import Exchange
from edgespec.serve.registry import Served
from edgespec.serve.service import Service
from edgespec.session.shared.asked import Figures

_METRICS_KIND = "text/plain; version=0.0.4; charset=utf-8"
_LOOK_S = 5.0
"""Prometheus gives up after ten, unless told otherwise."""


async def health(service: Service, exchange: Exchange) -> None:
    """Whether the first model is loaded; open to all."""
    if not service.is_ready:
        raise ApiError(503, "Loading model", None, "loading", retry_after_s=1)
    await exchange.reply({"status": "ok"})


async def models(service: Service, exchange: Exchange) -> None:
    """Every model that a request may name."""
    served = await service.registry.all_here()
    await exchange.reply({"object": "list", "data": [_described(service, one) for one in served]})


async def model(service: Service, exchange: Exchange) -> None:
    """One of them."""
    name = unquote(str(exchange.request.path_params["name"]))
    await exchange.reply(_described(service, await service.registry.find(name)))


def _described(service: Service, served: Served) -> dict[str, object]:
    engine = service.pool.loaded().get(served.id)
    opened = engine.opened if engine else None
    described: dict[str, object] = {
        "id": served.id,
        "object": "model",
        # As Anthropic has it.
        "type": "model",
        "display_name": served.id,
        "created": _changed_s(served.path),
        "owned_by": "edgespec",
        "aliases": list(service.registry.aliases_of(served)),
        "status": {"value": service.pool.state_of(served)},
        "meta": None,
    }
    if opened is not None:
        described["meta"] = {
            "n_vocab": opened.n_vocab,
            "n_ctx": opened.n_ctx,
            "n_ctx_train": opened.n_ctx_train,
            "n_embd": opened.n_embd,
            "n_params": opened.n_params,
            "size": opened.file_bytes,
            "ftype": opened.quantization,
            "draft": opened.draft,
            "pooling": opened.pooling or None,
        }
    return described


def _changed_s(path: Path | None) -> int:
    try:
        return int(path.stat().st_mtime) if path else 0
    except OSError:
        return 0


async def metrics(service: Service, exchange: Exchange) -> None:
    """Figures in Prometheus's text form."""
    lines = [*_of_server(service)]
    engines = service.pool.loaded()
    figures = await asyncio.gather(*map(_look, engines.values()))
    for (name, engine), found in zip(engines.items(), figures, strict=True):
        up = "Whether the engine tells its figures"
        lines.append(("edgespec_engine_up", up, {"model": name}, int(found is not None)))
        if found is not None:
            lines += _of_engine(name, engine, found)
    await exchange.reply_bytes("".join(_with_heads(lines)).encode(), _METRICS_KIND)


async def _look(engine: Engine) -> Figures | None:
    """None of one that has hung or died: the others are still of interest."""
    try:
        async with asyncio.timeout(_LOOK_S):
            return await engine.look()
    except (TimeoutError, ApiError):
        return None


Sample = tuple[str, str, dict[str, str], float]
"""Name, help, labels and value; a counter's name ends with `_total`."""


def _of_server(service: Service) -> Iterator[Sample]:
    for (route, status), count in sorted(service.requests.items()):
        yield (
            "edgespec_requests_total",
            "Requests that were answered",
            {"route": route, "status": str(status)},
            count,
        )
    yield "edgespec_models_loaded", "Models that are loaded", {}, len(service.pool.loaded())


def _of_engine(name: str, engine: Engine, figures: Figures) -> Iterator[Sample]:
    labels = {"model": name}
    opened = engine.opened
    plain_s = figures.plain_step_s * figures.predicted_n
    read_n = figures.prompt_n - figures.cached_n
    for key, text, value in (
        ("prompt_tokens_total", "Tokens of prompts that were read", read_n),
        ("prompt_tokens_cached_total", "Tokens of prompts that were held already", figures.cached_n),
        ("prompt_seconds_total", "Time that reading took", figures.prefill_s),
        ("prompt_tokens_per_second", "Speed of reading", _ratio(read_n, figures.prefill_s)),
        ("predicted_tokens_total", "Tokens that were written", figures.predicted_n),
        ("predicted_seconds_total", "Time that writing took", figures.decode_s),
        ("predicted_tokens_per_second", "Speed of writing", _ratio(figures.predicted_n, figures.decode_s)),
        (
            "speed_against_plain",
            "Speed of writing over that of plain steps one by one",
            _ratio(plain_s, figures.decode_s),
        ),
        ("target_passes_total", "Passes of the target that wrote", figures.target_passes),
        ("requests_processing", "Answers under way", figures.answering_n),
        ("requests_waiting", "Answers that wait for a place", figures.waiting_n),
        ("cache_tokens", "Tokens that the cache has room for", figures.cells_n),
        ("cache_tokens_used", "Tokens in the cache", figures.cells_used_n),
        ("cache_conversations", "Conversations that are held for their next turn", figures.held_n),
        ("cache_outside_bytes", "Of those that lie outside the cache", figures.held_bytes),
        ("memory_bytes", "Resident memory of the engine", figures.memory_bytes),
        ("context_tokens", "Tokens that a conversation may have", opened.n_ctx if opened else 0),
    ):
        yield f"edgespec_{key}", text, labels, value
    for source, (tested, accepted) in sorted(figures.by_source.items()):
        by = {**labels, "source": str(source)}
        yield "edgespec_draft_tokens_total", "Draft tokens that were tested", by, tested
        yield "edgespec_draft_tokens_accepted_total", "Draft tokens that were accepted", by, accepted


def _with_heads(samples: list[Sample]) -> Iterator[str]:
    """All lines of a metric stand together, below its kind."""
    for name in dict.fromkeys(sample[0] for sample in samples):
        ours = [sample for sample in samples if sample[0] == name]
        kind = "counter" if name.endswith("_total") else "gauge"
        yield f"# HELP {name} {ours[0][1]}\n# TYPE {name} {kind}\n"
        for _, _, labels, value in ours:
            inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            yield f"{name}{{{inside}}} {value}\n" if inside else f"{name} {value}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _ratio(above: float, below: float) -> float:
    return above / below if below else 0.0
