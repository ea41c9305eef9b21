"""What the user set in the app, kept as TOML beside the catalogue; unknown keys and comments survive."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import tomlkit

from edgespec.documents import build, read_text, read_toml
from edgespec.errors import ConfigError, EdgespecError, UsageError
from edgespec.files import written_whole
from edgespec.llama.kv_types import KvType
from edgespec.llama.placement import PlacementRequest, parse_gpu_layers
from edgespec.paths import app_settings_file
from edgespec.ranges import check_ranges
from edgespec.session.settings import EngineSettings


@dataclass(frozen=True, slots=True)
class AppSettings:
    """One field per key of the file."""

    theme: str = "edgespec"
    show_rail: bool = True
    tint_drafted: bool = False
    system_prompt: str = ""
    max_tokens: int = 1024
    threads: int = 0
    """0 takes the physical cores."""
    ctx_size: int = 0
    """0 takes what the model was trained with, as far as that takes little memory."""
    gpu_layers: str = "auto"
    kv_type_k: str = "f16"
    kv_type_v: str = "f16"
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


def save_settings(settings: AppSettings) -> None:
    """Writes what differs from the defaults, and what was in the file.

    Raises:
        EdgespecError: the file cannot be written.
    """
    path = app_settings_file()
    try:
        text = read_text(path) if path.exists() else ""
        document = tomlkit.parse(text)
        defaults = AppSettings()
        for one in fields(AppSettings):
            value = getattr(settings, one.name)
            if value != getattr(defaults, one.name) or one.name in document:
                document[one.name] = dict(value) if isinstance(value, Mapping) else value
        with written_whole(path) as unfinished:
            unfinished.write_text(tomlkit.dumps(document), encoding="utf-8")
    except OSError as error:
        raise EdgespecError(f"{path} cannot be written: {error.strerror or error}") from error
