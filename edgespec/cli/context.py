"""What the flags before and after a command name say, as one value that every command reads."""

import os
from dataclasses import dataclass, replace

_NO = {"", "0", "false", "no", "off"}


def is_set(name: str) -> bool:
    """Whether the environment variable `name` says yes; empty, 0, false, no and off say no."""
    return os.environ.get(name, "").strip().lower() not in _NO


@dataclass(frozen=True, slots=True)
class Settings:
    """The global flags. A command gets them with `@click.pass_obj`."""

    verbosity: int = 0
    """0: warnings; 1: progress in words; 2: everything, llama.cpp's own log included."""
    quiet: bool = False
    """No progress and no warnings; results and errors stay."""
    debug: bool = False
    """Errors come with their traceback."""
    offline: bool = False
    """Nothing may be fetched."""

    @classmethod
    def from_environment(cls) -> "Settings":
        """The defaults, with EDGESPEC_DEBUG and HF_HUB_OFFLINE read."""
        return cls(debug=is_set("EDGESPEC_DEBUG"), offline=is_set("HF_HUB_OFFLINE"))

    def with_flags(
        self, *, verbose: int = 0, quiet: bool = False, debug: bool = False, offline: bool = False
    ) -> "Settings":
        """These settings with some flags added; a flag can be given twice and none takes another back."""
        return replace(
            self,
            verbosity=self.verbosity + verbose,
            quiet=self.quiet or quiet,
            debug=self.debug or debug,
            offline=self.offline or offline,
        )
