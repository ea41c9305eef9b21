"""Models made of others: one process makes a file, the others wait for it and use it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgespec.catalog.derived import find_or_make
from edgespec.paths import derived_models_dir
from tests.recorded_progress import RecordedProgress

_MAKER = """
import shutil, sys, time
from pathlib import Path
from edgespec.catalog.derived import find_or_make
source, file, go = map(Path, sys.argv[1:])

def make():
    print("making", flush=True)
    while not go.exists():
        time.sleep(0.01)
    shutil.copy(source, file)

find_or_make(file, make)
"""


@pytest.mark.parametrize("first_ends", [True, False])
def test_the_second_process_uses_what_the_first_makes_or_makes_it_where_that_one_died(
    tiny_model: Path, tmp_path: Path, first_ends: bool
) -> None:
    file, go = derived_models_dir() / "made.gguf", tmp_path / "go"
    command = [sys.executable, "-c", _MAKER, str(tiny_model), str(file), str(go)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert first.stdout is not None
    assert first.stdout.readline() == b"making\n"
    made: list[Path] = []

    def go_on(label: str) -> None:
        assert label == "waiting for another process that is making made.gguf"
        if first_ends:
            go.touch()
        else:
            first.kill()

    def make() -> None:
        made.append(Path(shutil.copy(tiny_model, file)))

    progress = RecordedProgress(entered=go_on)
    assert find_or_make(file, make, progress) == file
    first.communicate(timeout=60)
    assert len(progress.labels) == 1
    assert made == ([] if first_ends else [file])
    assert file.read_bytes() == tiny_model.read_bytes()
    assert [one.name for one in file.parent.iterdir()] == ["made.gguf"]


def test_what_is_there_is_not_made_again(tiny_model: Path) -> None:
    def make() -> None:
        raise AssertionError

    assert find_or_make(tiny_model, make) == tiny_model
