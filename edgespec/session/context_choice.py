"""How long a context is where nobody says, and what is to be known of a length or a type of cache that was asked for."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from edgespec.catalog.memory import available_memory_bytes, estimate_memory
from edgespec.catalog.metadata import GgufMetadata
from edgespec.catalog.model_file import ModelFile
from edgespec.llama.devices import Device
from edgespec.llama.placement import place_model
from edgespec.session.settings import DEFAULT_N_CTX, EngineSettings

_SMALL_BYTES: Final = 256 << 20
"""Of caches that any model may have: llama.cpp writes zeros into them when it loads, 0.4 ms a MiB on two cores of Zen 3."""
_WEIGHTS_SHARE: Final = 4
"""A cache of a quarter of the weights does not lengthen by much how long these take to load."""
_MEMORY_SHARE: Final = 8
"""Of what is free beside the weights, caches that nobody asked for take an eighth."""
_KEY_BIAS: Final = re.compile(r"blk\.\d+\.attn_k\.bias")


def choose_n_ctx(
    target: ModelFile,
    settings: EngineSettings,
    drafts: Sequence[ModelFile] = (),
    devices: tuple[Device, ...] = (),
) -> int:
    """The context length: what was asked, or as much of what the target was trained with as costs little.

    That is the trained length, halved until the caches of all models are small beside their weights and beside what is
    free, and push no layer off a GPU; `DEFAULT_N_CTX` is never too much.

    Args:
        target: Its file.
        settings: Length where one was asked, types of the cache, placement.
        drafts: Files of the models that get as long a context beside it.
        devices: What llama.cpp reports; none where layers stay on the CPU.
    """
    trained = target.meta.context_length or DEFAULT_N_CTX
    if settings.n_ctx or trained <= DEFAULT_N_CTX:
        return settings.n_ctx or trained
    files = (target, *drafts)
    weights = sum(file.meta.weights_bytes for file in files)
    free = max(0, available_memory_bytes() - weights)
    most = min(max(_SMALL_BYTES, weights // _WEIGHTS_SHARE), free // _MEMORY_SHARE)
    layers = _layers_on_devices(files, DEFAULT_N_CTX, settings, devices)
    for n_ctx in _halves(trained):
        caches = _caches_bytes(files, n_ctx, settings)
        if caches <= most and _layers_on_devices(files, n_ctx, settings, devices) == layers:
            return n_ctx
    return DEFAULT_N_CTX


def cautions(file: ModelFile, settings: EngineSettings, *, is_target: bool) -> list[str]:
    """What a model does badly with these settings, a clause each.

    Keys in a type of four or five bits: perplexity of Qwen2.5 0.5B rose from 19.0 to 40.8 with Q4_0, and not at all with values
    alone in it; Qwen2.5 1.5B picked the same token as with F16 in 17 % of the places with Q4_0, in 51 % with Q5_0.

    Args:
        file: The model.
        settings: As they were asked for.
        is_target: Whether its context length is the one that was asked for.
    """
    said = []
    trained = file.meta.context_length
    if is_target and trained and settings.n_ctx > trained:
        said.append(
            f"{file.name} was trained with {trained} tokens: in the {settings.n_ctx} of `ctx_size` its text may fall apart"
        )
    if settings.kv_type_k.bytes_per_element < 1 and _has_biased_keys(file.meta):
        kind = settings.kv_type_k.name.lower()
        said.append(f"{file.name} has biased keys, which `kv_type_k` {kind} spoils: keep f16 or q8_0")
    return said


def _has_biased_keys(meta: GgufMetadata) -> bool:
    return any(_KEY_BIAS.fullmatch(tensor.name) for tensor in meta.tensors)


def _halves(trained: int) -> Iterator[int]:
    while trained > DEFAULT_N_CTX:
        yield trained
        trained //= 2


def _caches_bytes(files: Sequence[ModelFile], n_ctx: int, settings: EngineSettings) -> int:
    estimates = (
        estimate_memory(
            file.meta,
            n_ctx=n_ctx,
            kv_bytes_per_element_k=settings.kv_type_k.bytes_per_element,
            kv_bytes_per_element_v=settings.kv_type_v.bytes_per_element,
            n_outputs=1,
        )
        for file in files
    )
    return sum(estimate.context_bytes for estimate in estimates)


def _layers_on_devices(
    files: Sequence[ModelFile], n_ctx: int, settings: EngineSettings, devices: tuple[Device, ...]
) -> int:
    """Layers of the target that would go to devices which hold the drafts too."""
    return place_model(
        settings.placement,
        devices,
        block_count=files[0].meta.block_count or 0,
        weights_bytes=sum(file.meta.weights_bytes for file in files),
        kv_bytes=_caches_bytes(files, n_ctx, settings) if settings.kv_offload else 0,
    ).gpu_layers
