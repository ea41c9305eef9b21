"""`edgespec chat`, and plain `edgespec` on a terminal: the app."""

import os
import sys
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from edgespec.cli.context import Settings
from edgespec.cli.engine_options import EngineOptions, SamplingOptions, engine_options, sampling_options
from edgespec.cli.server_options import ServerOptions, server_options
from edgespec.cli.thinking_options import ThinkingOptions, thinking_options
from edgespec.errors import UsageError

if TYPE_CHECKING:
    from edgespec.session import EngineSettings
    from tui.services.launch import Launch
    from tui.services.settings import AppSettings

_KEPT_IN_APP = ("threads", "ctx_size", "gpu_layers", "kv_type_k", "kv_type_v")
"""Options that are also fields of the app's own settings, which hold where nothing is typed."""


@click.command("chat")
@click.argument("target", required=False)
@click.option("--draft", default="auto", show_default=True, help="A model, ngram, auto or none.")
@click.option("--system", help="A system prompt [default: the app's setting].")
@click.option(
    "-n", "--max-tokens", type=click.IntRange(1), help="Longest answer [default: the app's setting]."
)
@click.option("--continue", "resume_last", is_flag=True, help="Reopen the newest conversation.")
@click.option(
    "--web", is_flag=True, help="Serve the app to browsers; each visitor loads models of their own."
)
@click.option("--host", help="With --web: the address to listen on [default: 127.0.0.1].")
@click.option("--port", type=click.IntRange(1, 65535), help="With --web: the port [default: 8000].")
@thinking_options
@sampling_options
@engine_options
@server_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    target: str | None,
    draft: str,
    system: str | None,
    max_tokens: int | None,
    resume_last: bool,
    web: bool,
    host: str | None,
    port: int | None,
    thinking: ThinkingOptions,
    sampling: SamplingOptions,
    engine: EngineOptions,
    remote: ServerOptions,
) -> int:
    """Chat with TARGET, a pair's or model's name or a GGUF file [default: the embedded model]."""
    if not web and (host is not None or port is not None):
        raise UsageError("--host and --port go with --web", "add --web, or leave them out")

    from tui.services.launch import Launch

    settings: Settings = ctx.obj
    # Made for --web too: what is wrong is told here, and not to every visitor.
    launch = Launch(
        target=target,
        draft=draft,
        system=system,
        max_tokens=max_tokens,
        resume_last=resume_last,
        offline=settings.offline,
        sampling=sampling.make_wish(),
        thinking=thinking.make_thinking(),
        engine=typed_engine_settings(ctx, engine),
        server=remote.make_address(),
    )
    if web:
        from edgespec.cli.chat_web import serve

        return serve(ctx, host or "127.0.0.1", port or 8000)
    return start_app(settings, launch)


def start_app(settings: Settings, launch: "Launch") -> int:
    """Runs the app in this terminal.

    Raises:
        UsageError: this is not a terminal, or one that cannot be drawn on.
    """
    if os.environ.get("TERM") == "dumb" and not os.environ.get("TEXTUAL_DRIVER"):
        raise UsageError(
            "the app cannot be drawn on this terminal: TERM is dumb",
            "`edgespec run -p TEXT` answers here; elsewhere set TERM to what the terminal is, such as xterm-256color",
        )
    if not is_terminal():
        raise UsageError(
            "the app needs a terminal",
            "without one, `edgespec run -p TEXT` answers and `edgespec bench` measures",
        )
    from tui.app import run_app

    return run_app(launch, load_app_settings())


def is_terminal() -> bool:
    """Whether the app can be drawn: Textual reads stdin and draws on stderr, or a browser does it."""
    return bool(os.environ.get("TEXTUAL_DRIVER")) or all(
        stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)
    )


def load_app_settings() -> "AppSettings":
    """The app's own settings.

    Raises:
        ConfigError: their file holds something wrong.
    """
    from tui.services.settings import load_settings

    return load_settings()


def default_launch(settings: Settings) -> "Launch":
    """Of plain `edgespec`."""
    from tui.services.launch import Launch

    return Launch(offline=settings.offline)


def typed_engine_settings(ctx: click.Context, engine: EngineOptions) -> "EngineSettings | None":
    """The engine's settings as typed, the app's own for the rest; None when nothing was typed."""
    names = [one.name for one in fields(engine)]
    typed = {name for name in names if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT}
    if not typed:
        return None
    if "kv_type" in typed:
        typed |= {"kv_type_k", "kv_type_v"}
    kept = load_app_settings()
    untyped = {name: getattr(kept, name) for name in _KEPT_IN_APP if name not in typed}
    return replace(engine, **untyped).make_settings()
