"""What the user set in the app, kept as TOML beside the catalogue; unknown keys and comments survive."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import tomlkit
from tomlkit.exceptions import TOMLKitError

from edgespec.documents import build, read_text, read_toml
from edgespec.errors import ConfigError, EdgespecError, UsageError
from edgespec.files import changing, written_whole
from edgespec.llama.kv_types import KvType
from edgespec.llama.placement import PlacementRequest, parse_gpu_layers
from edgespec.llama.sampling_wish import SamplingWish
from edgespec.paths import app_settings_file
from edgespec.ranges import check_ranges
from edgespec.session.settings import EngineSettings

ContextEnd = Literal["ask", "drop", "summarize", "stop"]
"""What is done where a conversation has outgrown its context: ask, leave out the oldest turns, have them summarized, or nothing."""


@dataclass(frozen=True, slots=True)
class AppSettings:
    """One field per key of the file."""

    theme: str = "edgespec"
    show_rail: bool = True
    tint_drafted: bool = False
    wrap_code: bool = False
    """Long lines of code wrap; they scroll sideways otherwise."""
    system_prompt: str = ""
    max_tokens: int = 1024
    threads: int = 0
    """0 takes the physical cores."""
    ctx_size: int = 0
    """0 takes what the model was trained with, as far as that takes little memory."""
    context_end: ContextEnd = "ask"
    """`ask` until a choice was made."""
    gpu_layers: str = "auto"
    kv_type_k: str = "f16"
    kv_type_v: str = "f16"
    workshop_folder: str = ""
    """Where the workshop writes; empty takes edgespec's own folder (`edgespec.paths.made_dir`)."""
    sampling: Mapping[str, SamplingWish] = field(default_factory=dict)
    """Model -> how its answers are sampled, as far as that was set."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Id of a binding -> keys, as F1 lists them."""

    def check(self) -> None:
        """Refuses what makes no sense.

        Raises:
            UsageError: a number outside its range, or a value that llama.cpp does not know.
        """
        check_ranges(max_tokens=self.max_tokens)
        self.engine()

    def engine(self) -> EngineSettings:
        """As the engine takes them.

        Raises:
            UsageError: a number outside its range, or a value that llama.cpp does not know.
        """
        layers = PlacementRequest(parse_gpu_layers(self.gpu_layers))
        return EngineSettings(
            n_ctx=self.ctx_size,
            n_threads=self.threads,
            placement=layers,
            draft_placement=layers,
            kv_type_k=KvType.parse(self.kv_type_k),
            kv_type_v=KvType.parse(self.kv_type_v),
        )


def load_settings() -> AppSettings:
    """What is in the file, and defaults for the rest.

    Raises:
        ConfigError: it is not TOML, or holds a value of the wrong kind, out of its range, or that llama.cpp does not know.
    """
    path = app_settings_file()
    if not path.exists():
        return AppSettings()
    settings = build(AppSettings, read_toml(path), str(path), hint="mend it, or move it away")
    try:
        settings.check()
    except UsageError as error:
        # In the file a setting is called as its field is.
        raise ConfigError(f"{path}: {error.message.replace('`', '')}", error.hint.replace("`", "")) from None
    return settings


def save_settings(settings: AppSettings, before: AppSettings | None = None) -> None:
    """Writes what was changed; what else is in the file stays, such as what another app has changed meanwhile.

    Args:
        settings: As they are now.
        before: As they were; None for the defaults.

    Raises:
        EdgespecError: the file cannot be read or written.
    """
    path, before = app_settings_file(), before or AppSettings()
    try:
        with changing(path, private=True) as own:
            document = tomlkit.parse(read_text(own) if own.exists() else "")
            for one in fields(AppSettings):
                value, old = getattr(settings, one.name), getattr(before, one.name)
                if isinstance(value, Mapping):
                    _change_table(document, one.name, value, old)
                elif value != old:
                    document[one.name] = value
            with written_whole(own, private=True) as unfinished:
                unfinished.write_text(tomlkit.dumps(document), encoding="utf-8")
    except TOMLKitError as error:
        raise EdgespecError(f"{path} cannot be read: {error}", "mend it, or move it away") from error
    except OSError as error:
        raise EdgespecError(f"{path} cannot be written: {error.strerror or error}") from error


def _change_table(
    document: tomlkit.TOMLDocument, name: str, now: Mapping[str, object], before: Mapping[str, object]
) -> None:
    changed = {key: _as_toml(value) for key, value in now.items() if before.get(key) != value}
    gone = [key for key in before if key not in now]
    if not changed and not gone:
        return
    table: Any = document.setdefault(name, tomlkit.table())
    table.update(changed)
    for key in gone:
        table.pop(key, None)


def _as_toml(value: object) -> object:
    return dict(value.given) if isinstance(value, SamplingWish) else value
