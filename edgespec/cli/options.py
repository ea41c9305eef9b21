"""The global flags, understood before and after the name of a command, and options that come in groups."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import click
from click.core import ParameterSource

from edgespec.cli.context import Settings
from edgespec.errors import UsageError

Command = Callable[..., Any]

_FLAGS: dict[str, tuple[tuple[str, ...], str]] = {
    "verbose": (("-v", "--verbose"), "Say more on stderr; twice: everything, llama.cpp's log included."),
    "quiet": (("-q", "--quiet"), "No progress and no warnings."),
    "debug": (("--debug",), "Show the traceback of an error."),
    "offline": (("--offline",), "Fetch nothing."),
}


def add_global_options(command: click.Command, *, hidden: bool = True) -> None:
    """Adds the global flags to a command and to those inside it; a command's own option of the same name wins.

    Args:
        command: The command; adding twice changes nothing.
        hidden: Leave them out of its help.
    """
    taken = {name for parameter in command.params for name in parameter.opts}
    for name, (declarations, text) in _FLAGS.items():
        free = [declaration for declaration in declarations if declaration not in taken]
        if free:
            command.params.append(_make_flag(name, free, text, hidden=hidden))
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            add_global_options(inner, hidden=hidden)


def _make_flag(name: str, declarations: list[str], text: str, *, hidden: bool) -> click.Option:
    counted = name == "verbose"

    def take(ctx: click.Context, _parameter: click.Parameter, value: int) -> None:
        if value:
            flags: dict[str, Any] = {name: value}
            _use(ctx, ctx.ensure_object(Settings).with_flags(**flags))

    return click.Option(
        [*declarations, f"global_{name}"],
        is_flag=not counted,
        count=counted,
        expose_value=False,
        hidden=hidden,
        help=text,
        callback=take,
    )


def _use(ctx: click.Context, settings: Settings) -> None:
    inner: click.Context | None = ctx
    while inner is not None:
        inner.obj = settings
        inner = inner.parent
    if ctx.parent is not None:
        # The group set up logging before it could see a flag that stands after the command.
        from edgespec.cli.log import configure_logging

        configure_logging(settings)


def refuse_group(kind: type[Any], why: str) -> None:
    """Refuses options that another kind of work knows, in the command that is running.

    Args:
        kind: Of an option group: none of its options may have been typed.
        why: Such as "goes with --throughput".

    Raises:
        UsageError: names the first one that was typed.
    """
    ctx = click.get_current_context()
    for name in (one.name for one in fields(kind)):
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            flags = [parameter.opts[-1] for parameter in ctx.command.params if parameter.name == name]
            written = " or ".join(part for part in (", ".join(flags[:-1]), flags[-1]) if part)
            raise UsageError(f"{written} {why}", "see the command's --help")


def option_group(
    argument: str, kind: type[Any], options: Sequence[Callable[[Command], Command]]
) -> Callable[[Command], Command]:
    """Options that several commands have, handed to each of them as one typed value.

    Args:
        argument: The name under which the command takes the value.
        kind: A dataclass with a field for every option, named like the option's parameter.
        options: Made by `click.option`, in the order of the help.

    Returns:
        A decorator for the function of a command.
    """
    names = [one.name for one in fields(kind)]

    def add(command: Command) -> Command:
        @functools.wraps(command)
        def with_group(*arguments: Any, **values: Any) -> Any:
            group = kind(**{name: values.pop(name) for name in names})
            return command(*arguments, **values, **{argument: group})

        decorated: Command = with_group
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return add
