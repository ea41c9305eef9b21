"""llama.cpp's last words, in processes that it ends."""

import subprocess
import sys

import pytest

_ENDED = """
import os, sys
from edgespec.llama.library import ggml_function
from edgespec.llama.native_end import on_native_end
def tell(words):
    print("ended:", words, flush=True)
    os._exit(7)
on_native_end(tell)
ggml_function(sys.argv[1], None)()
"""


def end_by(function: str) -> tuple[int, str]:
    """Exit code and output of a process that calls a function of C++'s own library, which does not return."""
    ran = subprocess.run(
        [sys.executable, "-c", _ENDED, function], capture_output=True, text=True, timeout=120, check=False
    )
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="these are functions of libstdc++")
@pytest.mark.parametrize(
    ("function", "words"),
    [("_ZSt17__throw_bad_allocv", "std::bad_alloc"), ("_ZSt9terminatev", "an error")],
)
def test_an_exception_that_nobody_catches_is_named_before_the_end(function: str, words: str):
    assert end_by(function) == (7, f"ended: {words}\n")
