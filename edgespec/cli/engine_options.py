"""The options that say how models are placed and opened, the same for every command that loads one."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edgespec.llama.sampler import Sampling
    from edgespec.session.settings import EngineSettings

_ENGINE = (
    click.option("-t", "--threads", type=click.IntRange(1), help="Threads [default: the physical cores]."),
    click.option(
        "-c", "--ctx-size", type=click.IntRange(64), help="Context in tokens [default: 4096 at most]."
    ),
    click.option("-ngl", "--gpu-layers", default="auto", show_default=True, help="auto, all or a number."),
    click.option("--draft-gpu-layers", default="auto", show_default=True, help="The same for the draft."),
    click.option("--device", multiple=True, help="Only this device; may be repeated. See edgespec doctor."),
    click.option("--draft-device", multiple=True, help="The same for the draft."),
    click.option("--rpc", default="", help="Also the devices of these RPC servers: HOST:PORT,..."),
    click.option("--tensor-split", default="", help="Share of the layers for each device, such as 3,1."),
    click.option(
        "--kv-type", default="f16", show_default=True, help="Type of the KV cache: f16, q8_0, q4_0 ..."
    ),
    click.option(
        "--flash-attn",
        type=click.Choice(["auto", "on", "off"]),
        default="auto",
        show_default=True,
        help="Flash attention.",
    ),
    click.option(
        "--draft-type",
        type=click.Choice(["auto", "as-is"]),
        default="auto",
        show_default=True,
        help="auto: draft with a Q4_0 copy where that is faster.",
    ),
)
_SAMPLING = (
    click.option("--temperature", default=0.0, show_default=True, help="0 is greedy."),
    click.option("--top-k", default=40, show_default=True, help="0 is off."),
    click.option("--top-p", default=0.95, show_default=True),
    click.option("--min-p", default=0.05, show_default=True),
    click.option("--repeat-penalty", default=1.0, show_default=True, help="1 is off."),
    click.option("--presence-penalty", default=0.0, show_default=True),
    click.option("--frequency-penalty", default=0.0, show_default=True),
    click.option("--seed", default=0, show_default=True),
)
Command = Callable[..., Any]


def engine_options(command: Command) -> Command:
    """Adds the options of `make_engine_settings`."""
    for option in reversed(_ENGINE):
        command = option(command)
    return command


def sampling_options(command: Command) -> Command:
    """Adds the options of `make_sampling`."""
    for option in reversed(_SAMPLING):
        command = option(command)
    return command


def make_engine_settings(values: dict[str, Any]) -> "EngineSettings":
    """Takes the engine options out of a command's arguments.

    Raises:
        UsageError: a value that makes no sense.
    """
    from edgespec.llama.kv_types import KvType
    from edgespec.llama.placement import PlacementRequest, parse_gpu_layers
    from edgespec.llama.rpc import parse_endpoints
    from edgespec.session.settings import DraftType, EngineSettings

    split = _parse_split(values.pop("tensor_split"))
    draft_devices = values.pop("draft_device")
    return EngineSettings(
        n_ctx=values.pop("ctx_size") or 0,
        n_threads=values.pop("threads") or 0,
        placement=PlacementRequest(parse_gpu_layers(values.pop("gpu_layers")), values.pop("device"), split),
        draft_placement=PlacementRequest(
            # The shares are those of the target's devices; a draft on devices of its own has others.
            parse_gpu_layers(values.pop("draft_gpu_layers")),
            draft_devices,
            () if draft_devices else split,
        ),
        kv_type=KvType.parse(values.pop("kv_type")),
        flash_attention=values.pop("flash_attn"),
        draft_type=DraftType(values.pop("draft_type")),
        rpc=parse_endpoints(values.pop("rpc")),
    )


def make_sampling(values: dict[str, Any]) -> "Sampling":
    """Takes the sampling options out of a command's arguments.

    Raises:
        UsageError: a value outside its range.
    """
    from edgespec.llama.sampler import Sampling

    names = (
        "temperature",
        "top_k",
        "top_p",
        "min_p",
        "repeat_penalty",
        "presence_penalty",
        "frequency_penalty",
        "seed",
    )
    return Sampling(**{name: values.pop(name) for name in names})


def _parse_split(text: str) -> tuple[float, ...]:
    from edgespec.errors import UsageError

    try:
        shares = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        shares = (-1.0,)
    if not all(0 <= share < math.inf for share in shares):
        raise UsageError(f"--tensor-split {text!r} is not a list of shares", "use numbers such as 3,1")
    return shares
