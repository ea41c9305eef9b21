"""Files are tried by a helper before this process gives them to llama.cpp; here helpers end in every way, and files are sound.

What ends llama.cpp for real is made by `make fuzz`, in processes that may end, and is never kept.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from edgespec.errors import ExitCode, ModelFileError
from edgespec.llama import trial
from edgespec.llama.model import Model
from edgespec.llama.quantizer import QuantizeSettings, planned_types
from edgespec.llama.trial import check_survived
from edgespec.llama.trial_process import EVERY_BYTE
from edgespec.paths import survived_dir
from tests.conftest import RunCli

ENDS = "import os; input(); os.abort()"
SAYS_WHY = 'input(); print(\'{"ended": "a size is wrong"}\', flush=True)'
NEVER_ENDS = "while True: pass"
FILLS_MEMORY = "kept = bytearray(300 << 20)\nwhile True: pass"


@pytest.fixture
def file(tiny_model: Path, tmp_path: Path) -> Path:
    """One that nobody has tried."""
    return Path(shutil.copyfile(tiny_model, tmp_path / "model.gguf"))


@pytest.fixture
def helper(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has another program try files from here on."""

    def use(program: str) -> None:
        monkeypatch.setattr(trial, "_helper", None)
        monkeypatch.setattr(trial, "_COMMAND", (sys.executable, "-c", program))

    return use


def helpers() -> list[psutil.Process]:
    found = psutil.Process().children()
    return [child for child in found if "edgespec.llama.trial_process" in child.cmdline()]


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (ENDS, r"the process that does it crashed \(SIGABRT\)"),
        (SAYS_WHY, "a size is wrong"),
        (NEVER_ENDS, r"it takes longer than 0\.\d+ seconds"),
        (FILLS_MEMORY, r"it takes more than 100\.\d MiB of memory"),
    ],
    ids=["a crash", "an assertion", "no end", "memory"],
)
def test_a_file_that_its_helper_does_not_survive_is_refused(
    program: str, why: str, file: Path, helper: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "LIMIT_S", 0.3)
    monkeypatch.setattr(trial, "LIMIT_BYTES", 100 << 20)
    if program is FILLS_MEMORY:
        monkeypatch.setattr(trial, "LIMIT_S", 60)
    helper(program)
    for use in (lambda: Model(file), lambda: planned_types(file, QuantizeSettings("Q8_0"))):
        with pytest.raises(ModelFileError, match=rf"llama\.cpp does not survive model\.gguf: {why}"):
            use()
    assert not list(survived_dir().glob("*"))


@pytest.mark.parametrize(
    "command",
    [
        ("run", "{}", "-p", "hi"),
        ("eval", "{}"),
        ("quantize", "{}", "--type", "Q8_0", "--dry-run"),
        ("prune", "{}", "--remove", "0", "--no-repair", "-o", "{}.pruned"),
    ],
)
def test_commands_say_so_in_one_line(
    run_cli: RunCli, command: tuple[str, ...], file: Path, helper: Callable[[str], None]
) -> None:
    helper(SAYS_WHY)
    result = run_cli(*(word.format(file) for word in command))
    assert result.code == ExitCode.MODEL
    assert len(result.err.splitlines()) == 1
    assert "a size is wrong" in result.err
    assert list(file.parent.iterdir()) == [file]


def test_what_survived_once_is_not_tried_again_until_it_changes(
    file: Path, helper: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    Model(file).close()
    monkeypatch.setattr(trial, "_survived", set())  # as in another process
    helper(ENDS)
    Model(file).close()
    copy = file.rename(file.with_name("another.gguf"))
    Model(copy).close()
    os.utime(copy, ns=(0, 0))
    with pytest.raises(ModelFileError, match="does not survive"):
        Model(copy)


def test_a_model_and_the_source_of_another_file_are_tried_each_in_their_own_way(file: Path) -> None:
    check_survived(file)
    assert len(list(survived_dir().iterdir())) == 1
    check_survived(file, "quantize")
    check_survived(file, "header")
    assert len(list(survived_dir().iterdir())) == 3


def test_what_llama_cpp_refuses_in_words_passes(tmp_path: Path) -> None:
    """The caller gets these words."""
    file = tmp_path / "none.gguf"
    file.write_bytes(b"GGUF")
    check_survived(file)
    with pytest.raises(ModelFileError, match=r"llama\.cpp cannot load none\.gguf"):
        Model(file)
    check_survived(tmp_path / "not there.gguf")


def test_a_helper_is_kept_where_several_files_are_tried_and_ends_then(
    tiny_model: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_keepers", 0)  # of this test's session
    trial._end_helper()
    check_survived(file)
    assert helpers() == []
    with trial.kept_helper():
        os.utime(file, ns=(0, 0))
        check_survived(file)
        (kept,) = helpers()
        os.utime(file, ns=(1, 1))
        check_survived(file)
        assert helpers() == [kept]
    assert helpers() == []


def test_texts_are_tried_with_every_byte_that_a_text_can_have():
    tried = {byte for text in EVERY_BYTE for byte in text.encode()}
    assert tried == set(range(1, 0x100)) - {0xC0, 0xC1, *range(0xF5, 0x100)}
