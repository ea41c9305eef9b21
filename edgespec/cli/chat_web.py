"""`edgespec chat --web`: the same app in a browser, through textual-serve."""

import asyncio
import contextlib
import sys

import click
from click.core import ParameterSource

from edgespec.cli.context import Settings
from edgespec.cli.extras import check_extra
from edgespec.errors import ExitCode

_OF_SERVER = ("web", "host", "port")


def serve(ctx: click.Context, host: str, port: int) -> int:
    """Serves until Ctrl-C; returns the exit code.

    Args:
        ctx: Of `edgespec chat`: every visitor's app is started with the same options.
        host: Address to listen on.
        port: Port to listen on.

    Raises:
        UsageError: textual-serve is not installed.
        EdgespecError: the address cannot be listened on.
    """
    check_extra("--web", "web", "textual_serve")
    from edgespec.llama.rpc import Endpoint
    from tui.web.server import AppServer

    settings: Settings = ctx.obj

    def tell(text: str) -> None:
        click.echo(f"edgespec: {text}", err=True)

    def tell_served(url: str) -> None:
        if not (Endpoint(host, port).is_loopback or settings.quiet):
            tell(
                f"warning: other machines may reach {host}, and nothing is encrypted: whoever knows or overhears the address "
                "can use the models of this machine, read and write the chats, and write models"
            )
        # Told with --quiet too: nobody gets in without the token in it.
        tell(f"the app is at {url}; Ctrl-C ends it")

    server = AppServer([sys.executable, "-P", "-m", "edgespec", *app_arguments(ctx)], host, port)
    # Windows raises it here. It is how serving ends, so it is not a failure.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server.run(tell_served))
    return ExitCode.OK


def app_arguments(ctx: click.Context) -> list[str]:
    """What was typed, without what is about the server."""
    settings: Settings = ctx.obj
    typed = ["--verbose"] * settings.verbosity
    typed += [f"--{name}" for name in ("quiet", "debug", "offline") if getattr(settings, name)]
    for parameter in ctx.command.params:
        name = parameter.name or ""
        if name not in ctx.params or name in _OF_SERVER or not isinstance(parameter, click.Option):
            continue
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            flag, value = max(parameter.opts, key=len), ctx.params[name]
            values = value if parameter.multiple else [value]
            typed += [flag] if parameter.is_flag else [f"{flag}={one}" for one in values]
    target = ctx.params["target"]
    return ["chat", *typed, *([] if target is None else ["--", target])]
