"""`/props` and `/slots`: what a model was opened with, and what is being written, under llama-server's names."""

from typing import Final

from edgespec.llama.sampler import Sampling
from edgespec.serve.answering import FINGERPRINT
from edgespec.serve.errors import ApiError
from edgespec.serve.exchange import Exchange
from edgespec.serve.generation_settings import settings_of
from edgespec.serve.registry import Served
from edgespec.serve.service import Service
from edgespec.session.shared.asked import Place

_CAPS: Final = (
    "supports_string_content",
    "supports_system_role",
    "supports_tools",
    "supports_tool_calls",
    "supports_parallel_tool_calls",
    "supports_object_arguments",
)
"""What a chat may hold whatever the template takes: what one lacks is written in words that the model reads (`edgespec.chat`)."""


def _not_loaded(served: Served) -> ApiError:
    said = f"{served.id} is not loaded; the first answer loads it"
    return ApiError(503, said, "model", "not_loaded", retry_after_s=1)


async def props(service: Service, exchange: Exchange) -> None:
    """What a model was opened with, perhaps before it was unloaded; nothing is loaded to tell it."""
    served = await service.registry.find(exchange.request.query_params.get("model"))
    opened = service.pool.opened_as(served)
    if opened is None:
        raise _not_loaded(served)
    has_template = bool(opened.chat_template)
    await exchange.reply(
        {
            "default_generation_settings": {"n_ctx": opened.n_ctx, "params": settings_of(opened.sampling)},
            "total_slots": opened.n_parallel,
            "model_alias": served.id,
            "model_path": opened.path,
            "model_ftype": opened.quantization,
            "draft": opened.draft,
            "chat_template": opened.chat_template,
            "chat_template_caps": dict.fromkeys(_CAPS, has_template) | {"supports_typed_content": False},
            "bos_token": opened.bos_text,
            "eos_token": opened.eos_text,
            "modalities": {"vision": False, "video": False, "audio": False},
            "endpoint_slots": True,
            "endpoint_props": False,
            "endpoint_metrics": True,
            "ui": False,
            "ui_settings": {},
            "build_info": FINGERPRINT,
            "is_sleeping": served.id not in service.pool.loaded(),
            "cors_proxy_enabled": False,
        }
    )


async def slots(service: Service, exchange: Exchange) -> None:
    """What each place does. Prompts and answers are shown where the server was started so that they are written anyway."""
    query = exchange.request.query_params
    served = await service.registry.find(query.get("model"))
    engine = service.pool.loaded().get(served.id)
    if engine is None or engine.opened is None:
        raise _not_loaded(served)
    opened = engine.opened
    told = await engine.look_at_answers(with_texts=service.logs_prompts)
    idle_n = max(0, opened.n_parallel - len(told.places))
    if query.get("fail_on_no_slot", "") not in ("", "0") and not idle_n:
        raise ApiError(503, "no slot available", None, "queue_full", retry_after_s=1)
    usual = {"n_ctx": opened.n_ctx, "speculative": told.drafts}
    busy = [
        {
            "id": number,
            **usual,
            **_described(opened.sampling, place, drafts=told.drafts, with_texts=service.logs_prompts),
        }
        for number, place in enumerate(told.places)
    ]
    idle = [{"id": len(busy) + number, **usual, "is_processing": False} for number in range(idle_n)]
    await exchange.reply([*busy, *idle])


def _described(own: Sampling, place: Place, *, drafts: bool, with_texts: bool) -> dict[str, object]:
    ask = place.ask
    left = -1 if ask.max_tokens is None else ask.max_tokens - place.predicted_n
    described: dict[str, object] = {
        "is_processing": True,
        "id_task": ask.id,
        "n_prompt_tokens": place.prompt_n,
        "n_prompt_tokens_processed": place.read_n,
        "n_prompt_tokens_cache": place.cached_n,
        "params": settings_of(own, ask, streams=ask.in_pieces, drafts=drafts),
        "next_token": [
            {
                "has_next_token": True,
                "has_new_line": place.has_new_line,
                "n_remain": left,
                "n_decoded": place.predicted_n,
            }
        ],
    }
    return described | ({"prompt": place.prompt, "generated": place.text} if with_texts else {})
