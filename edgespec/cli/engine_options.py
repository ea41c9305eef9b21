"""The options that say how models are placed and opened, the same for every command that loads one."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Literal

import click

from edgespec.cli.options import option_group
from edgespec.errors import UsageError

if TYPE_CHECKING:
    from edgespec.llama.sampler import Sampling
    from edgespec.llama.sampling_wish import SamplingWish
    from edgespec.session.settings import EngineSettings

_ENGINE: Final = (
    click.option("-t", "--threads", type=click.IntRange(1), help="Threads [default: the physical cores]."),
    click.option(
        "-c",
        "--ctx-size",
        type=click.IntRange(64),
        help="Context in tokens [default: as trained, while small].",
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
    click.option("--kv-type-k", default="", help="Of its keys alone [default: --kv-type]."),
    click.option("--kv-type-v", default="", help="Of its values alone [default: --kv-type]."),
    click.option(
        "--flash-attn",
        type=click.Choice(["auto", "on", "off"]),
        default="auto",
        show_default=True,
        help="Flash attention.",
    ),
    click.option(
        "--no-kv-offload",
        "kv_offload",
        flag_value=False,
        default=True,
        type=bool,
        help="Keep the KV cache in this machine's memory.",
    ),
    click.option(
        "--draft-type",
        type=click.Choice(["auto", "as-is"]),
        default="auto",
        show_default=True,
        help="auto: draft with a Q4_0 copy where that is faster.",
    ),
)
_SAMPLING: Final = (
    click.option("--temperature", type=float, help="0 is greedy [default: the model's own, else 0]."),
    click.option("--top-k", type=int, help="0 is off [default: the model's own, else 40]."),
    click.option("--top-p", type=float, help="[default: the model's own, else 0.95]"),
    click.option("--min-p", type=float, help="[default: the model's own, else 0.05]"),
    click.option("--repeat-penalty", type=float, help="1 is off [default: the model's own, else 1]."),
    click.option("--presence-penalty", type=float, help="[default: 0]"),
    click.option("--frequency-penalty", type=float, help="[default: 0]"),
    click.option("--seed", type=int, help="[default: 0]"),
)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What was typed of the engine."""

    threads: int | None
    ctx_size: int | None
    gpu_layers: str
    draft_gpu_layers: str
    device: tuple[str, ...]
    draft_device: tuple[str, ...]
    rpc: str
    tensor_split: str
    kv_type: str
    kv_type_k: str
    kv_type_v: str
    flash_attn: Literal["auto", "on", "off"]
    kv_offload: bool
    draft_type: Literal["auto", "as-is"]

    def make_settings(self) -> "EngineSettings":
        """The settings that a pair is opened with.

        Raises:
            UsageError: a value that makes no sense.
        """
        from edgespec.llama.kv_types import KvType
        from edgespec.llama.placement import PlacementRequest, parse_gpu_layers
        from edgespec.llama.rpc import parse_endpoints
        from edgespec.session.settings import DraftType, EngineSettings

        split = _parse_split(self.tensor_split)
        # The shares are those of the target's devices; a draft on devices of its own has others.
        draft_split = () if self.draft_device else split
        return EngineSettings(
            n_ctx=self.ctx_size or 0,
            n_threads=self.threads or 0,
            placement=PlacementRequest(parse_gpu_layers(self.gpu_layers), self.device, split),
            draft_placement=PlacementRequest(
                parse_gpu_layers(self.draft_gpu_layers, "draft"), self.draft_device, draft_split
            ),
            kv_type_k=KvType.parse(self.kv_type_k or self.kv_type),
            kv_type_v=KvType.parse(self.kv_type_v or self.kv_type),
            flash_attention=self.flash_attn,
            kv_offload=self.kv_offload,
            draft_type=DraftType(self.draft_type),
            rpc=parse_endpoints(self.rpc),
        )


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """What was typed of the sampling."""

    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repeat_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    seed: int | None

    def make_wish(self) -> "SamplingWish":
        """How tokens are picked, as far as it was said.

        Raises:
            UsageError: a value outside its range.
        """
        from edgespec.llama.sampling_wish import SamplingWish

        return SamplingWish(**asdict(self))

    def make_sampling(self) -> "Sampling":
        """How tokens are picked, the same for all models: greedily unless a temperature was typed.

        Raises:
            UsageError: a value outside its range.
        """
        from edgespec.llama.sampler import Sampling

        return self.make_wish().over(Sampling())


engine_options: Final = option_group("engine", EngineOptions, _ENGINE)
"""Adds the options of the engine to a command, which takes them as `engine`."""
sampling_options: Final = option_group("sampling", SamplingOptions, _SAMPLING)
"""Adds the options of the sampling to a command, which takes them as `sampling`."""


def _parse_split(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise UsageError(
            f"`tensor_split` {text!r} is not a list of shares", "use numbers such as 3,1"
        ) from None
