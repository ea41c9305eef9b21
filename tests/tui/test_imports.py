"""Commands that need no terminal never load the app."""

import subprocess
import sys
from pathlib import Path

import pytest

_PROBE = """
import sys
from edgespec.cli import main
code = main(sys.argv[1:])
loaded = sorted({name.partition(".")[0] for name in sys.modules} & {"textual", "textual_plot", "textual_serve", "tui"})
print(code, loaded, file=sys.stderr)
"""


def last_line(*arguments: str) -> str:
    """What the command loaded of the app, after its exit code."""
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, *arguments], capture_output=True, text=True, input="", check=True
    )
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("run", "--help"),
        ("bench", "--help"),
        ("chat", "--help"),
        ("models",),
        ("results",),
    ],
    ids=" ".join,
)
def test_a_headless_command_never_loads_the_app(arguments: tuple[str, ...]) -> None:
    assert last_line(*arguments) == "0 []"


def test_an_answer_never_loads_the_app(tiny_model: Path) -> None:
    arguments = ("--offline", "run", str(tiny_model), "--draft", "none", "-p", "once", "-n", "4")
    assert last_line(*arguments) == "0 []"


def test_without_a_terminal_the_app_is_not_even_loaded() -> None:
    assert last_line() == "2 []"
