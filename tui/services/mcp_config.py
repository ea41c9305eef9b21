"""Which MCP servers the user has set up, in the file form that other clients share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgespec.documents import build, parse_json, read_text
from edgespec.errors import ConfigError, UsageError

_FORM: Final = '{"mcpServers": {"NAME": {"command": "...", "args": [], "env": {}}}}'


@dataclass(frozen=True, slots=True)
class ServerSetup:
    """One server: a program that is started, or an address."""

    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those that programs need to find their way (PATH, HOME and such)."""
    url: str = ""
    """Of a server that speaks streamable HTTP."""
    headers: Mapping[str, str] = field(default_factory=dict)
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class _File:
    mcpServers: Mapping[str, ServerSetup]  # noqa: N815  # as the file has it


def load_servers(path: Path) -> dict[str, ServerSetup]:
    """By their names, those that are disabled left out. What the file says besides is other clients' affair.

    Raises:
        ConfigError: the file is no JSON, or a server in it has neither a command nor an address, or both.
        UsageError: there is no such file, or no server in it.
    """
    if not path.exists():
        raise UsageError("no MCP server is set up", f"write {_FORM} into {path}")
    label = str(path)
    found = build(_File, parse_json(read_text(path), label), label, hint=f"the form is {_FORM}").mcpServers
    for name, setup in found.items():
        if bool(setup.command) is bool(setup.url):
            raise ConfigError(
                f"{label}: server {name!r} needs either a command or a url", f"the form is {_FORM}"
            )
    servers = {name: setup for name, setup in found.items() if not setup.disabled}
    if not servers:
        raise UsageError(f"{path} names no server that is switched on", f"the form is {_FORM}")
    return servers
