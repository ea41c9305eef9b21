"""What the core says: settings by their fields' names, no flags; every front door knows what to call them."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TypeGuard

import click
import pytest

import edgespec.errors
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


def words_of_errors(file: Path) -> Iterator[str]:
    """Messages and hints of a file's errors, with `{}` where a value stands."""
    errors = {name for name, one in vars(edgespec.errors).items() if isinstance(one, type)}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in errors:
            for words in node.args[:2]:
                parts = words.values if isinstance(words, ast.JoinedStr) else [words]
                yield "".join(part.value if is_text(part) else "{}" for part in parts)


def is_text(part: ast.expr) -> TypeGuard[ast.Constant]:
    return isinstance(part, ast.Constant) and isinstance(part.value, str)


def test_errors_of_the_core_begin_in_lower_case_and_have_no_stop_for_front_doors_join_them() -> None:
    words = [(file.name, said) for file in core_files() for said in words_of_errors(file)]
    assert len(words) > 500
    assert [one for one in words if re.match(r"[A-Z][a-z ]", one[1]) or one[1].endswith(".")] == []


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
