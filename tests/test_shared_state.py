"""What two processes change at once, and what a kill leaves of commands that write: nothing is lost, nothing stays."""

import json
import os
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgespec.catalog.toml_file import load_catalog
from edgespec.files import find_leftovers
from edgespec.paths import app_settings_file, costs_dir, derived_models_dir, user_catalog_file
from tests.cli.processes import start
from tests.conftest import Outcome
from tests.leftovers import leave_behind
from tests.test_files import run_together
from tests.tiny import TinyShape, make_tiny_model
from tui.services.settings import AppSettings, load_settings, save_settings

_SAVES_PAIRS = """
import sys
from pathlib import Path
from edgespec.catalog.model_file import open_file
from edgespec.tune.save_pair import save_pair
from edgespec.tune.variants import PUBLISHED, PairVariant, TargetVariant

for number in range(15):
    target = open_file(f"{sys.argv[2]}-{number}", Path(sys.argv[1]))
    save_pair(target, PairVariant(TargetVariant(PUBLISHED, target.path), None), "why")
"""


def test_two_searches_that_save_their_pairs_at_once_lose_none(tiny_model: Path) -> None:
    user_catalog_file().parent.mkdir(parents=True)
    user_catalog_file().write_text("# mine\n")
    run_together(_SAVES_PAIRS, (str(tiny_model), "a"), (str(tiny_model), "b"))
    names = {f"{name}-{number}" for name in "ab" for number in range(15)}
    catalog = load_catalog()
    assert names <= catalog.models.keys()
    assert {f"{name}-tuned" for name in names} <= catalog.pairs.keys()
    assert user_catalog_file().read_text().startswith("# mine\n")
    assert list(user_catalog_file().parent.iterdir()) == [user_catalog_file()]


def test_two_apps_keep_what_each_of_them_changed() -> None:
    first = second = load_settings()
    save_settings(replace(first, threads=3, keys={"chat.mode": "f3"}), first)
    save_settings(replace(second, theme="nord", keys={"app.help": "f4"}), second)
    assert load_settings() == AppSettings(threads=3, theme="nord", keys={"chat.mode": "f3", "app.help": "f4"})
    now = load_settings()
    save_settings(replace(now, threads=0, keys={"chat.mode": "f3"}), now)
    assert load_settings() == AppSettings(theme="nord", keys={"chat.mode": "f3"})


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_the_apps_settings_are_the_users_own() -> None:
    save_settings(AppSettings(system_prompt="a secret"))
    assert stat.S_IMODE(app_settings_file().stat().st_mode) == 0o600
    assert stat.S_IMODE(app_settings_file().parent.stat().st_mode) == 0o700


_MEASURES = """
import sys
from edgespec.paths import costs_dir
from edgespec.plan.probe import PROBED_ROWS, TypeSpeed
from edgespec.plan.this_machine import _Speeds, _save

curve = dict.fromkeys(PROBED_ROWS, 1.0)
speeds = _Speeds(curve, {})
for number in range(30):
    speeds.types[f"{sys.argv[1]}{number}"] = TypeSpeed(1, curve, 2, curve)
    _save(costs_dir() / "machine.json", speeds)
"""


def test_what_two_processes_measure_of_a_machine_is_kept() -> None:
    run_together(_MEASURES, ("a",), ("b",))
    kept = json.loads((costs_dir() / "machine.json").read_text())["types"]
    assert set(kept) == {f"{name}{number}" for name in "ab" for number in range(30)}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough that its work takes longer than a look at the folder."""
    shape = TinyShape(blocks=4, embedding=256, heads=4, kv_heads=2, feed_forward=2048)
    return make_tiny_model(tmp_path_factory.mktemp("large") / "large.gguf", shape=shape)


def killed_while_it_writes(folder: Path, *arguments: str | Path) -> None:
    """Kills a command as soon as it has something unfinished in a folder."""
    process: subprocess.Popen[bytes] = start(*arguments)
    while not any(path.is_file() and path.stat().st_size for path in folder.glob(".*/*.gguf")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    process.kill()
    process.communicate()


def test_a_pull_that_finds_all_there_clears_what_an_earlier_one_left(
    run_cli: Callable[..., Outcome], large: Path, tmp_path: Path
) -> None:
    left = leave_behind(tmp_path / "models")
    outcome = run_cli("models", "pull", large)
    assert (outcome.code, outcome.out) == (0, f"large: {large}\n")
    assert not left.exists()
    assert find_leftovers(left.parent) == []


@pytest.mark.parametrize("command", ["quantize", "prune"])
def test_what_a_killed_command_left_goes_with_the_next_one(
    run_cli: Callable[..., Outcome], large: Path, tmp_path: Path, command: str
) -> None:
    options = {"quantize": ("--type", "Q8_0"), "prune": ("--remove", "1", "--no-repair")}[command]
    folder = tmp_path / "out"
    folder.mkdir()
    killed_while_it_writes(folder, command, large, *options, "-o", folder / "out.gguf")
    assert {path.name[:10] for path in folder.iterdir()} == {".edgespec-"}
    left = json.loads(run_cli("doctor", "--json").out)["leftovers"]
    assert str(folder) in {str(Path(one["path"]).parent) for one in left}
    outcome = run_cli("quantize", large, "--type", "Q8_0", "-o", tmp_path / "other.gguf")
    assert outcome.code == 0, outcome.err
    assert find_leftovers(folder, derived_models_dir()) == []
    assert list(folder.iterdir()) == []
