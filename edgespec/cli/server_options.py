"""The options that let a server answer, in the place of an engine on this machine."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click
from click.core import ParameterSource

from edgespec.cli.engine_options import EngineOptions
from edgespec.cli.options import option_group, refuse_group
from edgespec.errors import UsageError

if TYPE_CHECKING:
    from edgespec.worker.remote.address import ServerAddress

_SERVER: Final = (
    click.option(
        "--server",
        metavar="URL",
        help="Let a server answer: edgespec's own, or any of OpenAI's protocol. TARGET is then one of its models.",
    ),
    click.option(
        "--api-key",
        metavar="FILE",
        help="With --server: a file whose first line is its key [default: EDGESPEC_API_KEY].",
    ),
)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What was typed of the server."""

    server: str | None
    api_key: str | None

    def make_address(self) -> "ServerAddress | None":
        """Where the server is; None where none was named.

        Raises:
            UsageError: it is no address, or an option was typed beside it that only an engine on this machine knows.
            OSError: the key's file cannot be read.
        """
        if self.server is None:
            if self.api_key is not None:
                raise UsageError("--api-key goes with --server", "add --server, or leave it out")
            return None
        refuse_group(EngineOptions, "is up to the server with --server")
        if click.get_current_context().get_parameter_source("draft") is not ParameterSource.DEFAULT:
            raise UsageError(
                "--draft is up to the server with --server",
                "start the server with it, or leave it out",
            )
        from edgespec.cli.api_key import read_api_key
        from edgespec.worker.remote.address import parse_server

        return parse_server(self.server, *read_api_key(self.api_key))


server_options: Final = option_group("remote", ServerOptions, _SERVER)
"""Adds the options of the server to a command, which takes them as `remote`."""
