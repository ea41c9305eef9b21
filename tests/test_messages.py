"""What the core says: settings by their fields' names, no flags; every front door knows what to call them."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

from edgespec.cli import COMMANDS
from edgespec.cli.flags import FLAGS, with_flags
from edgespec.errors import name_settings
from edgespec.ranges import RANGES

REPOSITORY = Path(__file__).resolve().parents[1]
FOR_OTHER_PROGRAMS = {
    "edgespec/catalog/sources/pip_download.py",
    "edgespec/llama/library.py",
    "quant/convert/from_hf.py",
}
"""Files whose flags are arguments of pip and of llama.cpp's converter."""
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
SETTING = re.compile(r"`([a-z][a-z_]*)`")


def core_files() -> list[Path]:
    files = [*(REPOSITORY / "edgespec").rglob("*.py"), *(REPOSITORY / "quant").rglob("*.py")]
    return [file for file in files if (REPOSITORY / "edgespec" / "cli") not in file.parents]


def strings(file: Path) -> Iterator[str]:
    """The string constants of a file, without its docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    documents = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value


def named_settings() -> set[str]:
    """Those that stand in messages, and those of the table of ranges. The server is a front door: it names fields of requests."""
    files = [file for file in core_files() if REPOSITORY / "edgespec" / "serve" not in file.parents]
    return {name for file in files for text in strings(file) for name in SETTING.findall(text)} | set(RANGES)


def test_no_message_of_the_core_names_a_flag() -> None:
    found = {
        str(file.relative_to(REPOSITORY)): flags
        for file in core_files()
        if (flags := [flag for text in strings(file) for flag in FLAG.findall(text)])
    }
    assert set(found) <= FOR_OTHER_PROGRAMS, found


def test_the_command_line_has_a_flag_for_every_setting_that_a_message_names() -> None:
    assert named_settings() == set(FLAGS)


def command_of(name: str) -> click.Command:
    command: click.Command = import_module(f"edgespec.cli.{name.replace('-', '_')}").command
    return command


def options_of(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        yield from parameter.opts
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from options_of(inner)


def test_every_flag_of_a_message_is_one_that_a_command_takes() -> None:
    taken = {option for name in COMMANDS for option in options_of(command_of(name))} | {"--offline"}
    assert set(FLAGS.values()) <= taken


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("use a smaller `ctx_size`", "use a smaller --ctx-size"),
        ("run `make install`", "run `make install`"),
        ("a model called `ctx`", "a model called `ctx`"),
    ],
)
def test_only_settings_are_put_in(text: str, said: str) -> None:
    assert with_flags(text) == said


def test_each_front_door_has_its_own_names() -> None:
    assert (
        name_settings("a smaller `ctx_size`", {"ctx_size": "context length"}.get)
        == "a smaller context length"
    )
