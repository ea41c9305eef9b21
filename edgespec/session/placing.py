"""Where models go before they are loaded: how long their contexts are, which layers devices take, whether the rest fits."""

import logging
from dataclasses import replace

from edgespec.catalog.memory import MemoryEstimate, check_fits
from edgespec.catalog.model_file import ModelFile
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.devices import Device, default_devices, list_devices
from edgespec.llama.placement import Placement, PlacementRequest, check_request, place_model
from edgespec.llama.rpc import connect_servers
from edgespec.session.context_choice import cautions, choose_n_ctx
from edgespec.session.memory_needs import draft_context, estimate_context, measure_context, target_context
from edgespec.session.settings import EngineSettings

log = logging.getLogger(__name__)


def settle_context(target: ModelFile, drafts: list[ModelFile], settings: EngineSettings) -> EngineSettings:
    """The settings with a context length; what is doubtful of what was asked is said in the log.

    Raises:
        EngineError: an RPC server cannot be reached.
        UsageError: there is no such device, or no share of the layers.
    """
    connect_servers(settings.rpc)
    devices = list_devices()
    # Both, although there may be no draft yet: one that is added later has this placement too.
    for request in (settings.placement, settings.draft_placement):
        check_request(request, devices)
    for file in (target, *drafts):
        for caution in cautions(file, settings, is_target=file is target):
            log.warning("%s", caution)
    return replace(settings, n_ctx=choose_n_ctx(target, settings, drafts, devices))


def check_memory(target: ModelFile, drafts: list[ModelFile], settings: EngineSettings) -> None:
    """Compares what all of them need with what the machine has, before anything is loaded.

    Args:
        target: Its file.
        drafts: Their files. What devices with memory of their own take does not count.
        settings: Placement, context, type of the cache.

    Raises:
        EngineError: an RPC server cannot be reached.
        NotEnoughMemoryError: they do not fit.
    """
    n_ctx = choose_n_ctx(target, settings)
    contexts = [(target, target_context(settings, n_ctx))]
    contexts += [(draft, draft_context(settings, n_ctx)) for draft in drafts]
    check_contexts(contexts, settings, first_alone="`draft` none")


def check_contexts(
    contexts: list[tuple[ModelFile, ContextSettings]],
    settings: EngineSettings,
    *,
    has_target: bool = True,
    first_alone: str = "",
) -> None:
    """Checks that models with these contexts fit.

    Args:
        contexts: Models with how their contexts are made.
        settings: Placement; name RPC servers.
        has_target: Whether the first is the target, and not a draft as the others are.
        first_alone: What the user may set to have the first without the others; in the error's hint.

    Raises:
        EngineError: an RPC server cannot be reached.
        NotEnoughMemoryError: they do not.
    """

    def measure() -> list[tuple[str, MemoryEstimate]]:
        return [(file.name, measure_context(file, context)) for file, context in contexts]

    estimates = []
    for place, (file, context) in enumerate(contexts):
        share = share_here(file, context, settings, is_target=has_target and not place)
        whole = estimate_context(file.meta, context)
        estimates.append(whole.share(share) if context.kv_offload else whole.share_weights(share))
    # Where devices take a part, what llama.cpp says of all buffers is not of this machine's own memory.
    check_fits(
        [(file.name, estimate) for (file, _), estimate in zip(contexts, estimates, strict=True)],
        first_alone=first_alone,
        measure=measure if all(device.kind == "cpu" for device in list_devices()) else None,
    )


def share_here(
    file: ModelFile, context: ContextSettings, settings: EngineSettings, *, is_target: bool
) -> float:
    """Share of a model's blocks that this machine's own memory holds, 0 to 1.

    The others go to devices with memory of their own. Where there is one without, which layers it takes is not foreseen: then
    all of them count.

    Args:
        file: The model.
        context: How its context is made.
        settings: Placement; name RPC servers.
        is_target: Whether it is the target.

    Raises:
        EngineError: an RPC server cannot be reached.
    """
    connect_servers(settings.rpc)
    devices = list_devices()
    if not any(device.has_own_memory for device in devices):
        return 1
    request = settings.placement if is_target else settings.draft_placement
    placement = _place(file, request, context, devices, takes_remote=is_target)
    names = placement.devices or [device.name for device in default_devices(devices)]
    if not all(device.has_own_memory for device in devices if device.name in names):
        return 1
    return 1 - placement.gpu_layers / ((file.meta.block_count or 0) + 1)


def check_draft_memory(draft: ModelFile, n_ctx: int, settings: EngineSettings) -> None:
    """Compares what a draft for a target that is loaded already needs with what is left.

    Args:
        draft: Its file.
        n_ctx: Tokens of the target's context, which it gets too.
        settings: Say the type of the cache.

    Raises:
        NotEnoughMemoryError: it does not fit.
    """
    check_contexts([(draft, draft_context(settings, n_ctx))], settings, has_target=False)


def place_file(
    file: ModelFile,
    request: PlacementRequest,
    context: ContextSettings,
    settings: EngineSettings,
    *,
    takes_remote: bool = True,
) -> Placement:
    """Where the layers of a model go, and beside them what its context keeps of them.

    Args:
        file: The model.
        request: What was asked for it.
        context: How its context is made: its cells, and the states of all its sequences with their snapshots.
        settings: Name RPC servers, whose devices come last.
        takes_remote: Whether these count where none is named.

    Raises:
        UsageError: there is no such device, no share of the layers, or more shares than devices.
        EngineError: an RPC server cannot be reached.
    """
    connect_servers(settings.rpc)
    placement = _place(file, request, context, list_devices(), takes_remote=takes_remote)
    if request.gpu_layers not in ("auto", 0) and not placement.gpu_layers:
        log.warning("%s: %s", file.name, placement.reason)
    return placement


def _place(
    file: ModelFile,
    request: PlacementRequest,
    context: ContextSettings,
    devices: tuple[Device, ...],
    *,
    takes_remote: bool,
) -> Placement:
    estimate = estimate_context(file.meta, context)
    return place_model(
        request,
        devices,
        block_count=file.meta.block_count or 0,
        weights_bytes=file.meta.weights_bytes,
        kv_bytes=estimate.kv_bytes + estimate.state_bytes if context.kv_offload else 0,
        takes_remote=takes_remote,
    )
