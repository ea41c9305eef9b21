"""The worker is a floor of its own: it runs where there is neither a terminal nor an app."""

import subprocess
import sys

_PROBE = """
import importlib, pkgutil, sys
import edgespec.worker
modules = [one.name for one in pkgutil.walk_packages(edgespec.worker.__path__, "edgespec.worker.")]
for name in modules:
    importlib.import_module(name)
front_doors = {"textual", "textual_plot", "textual_serve", "tui", "click", "rich"}
loaded = {name.partition(".")[0] for name in sys.modules} | {name for name in sys.modules if name == "edgespec.cli"}
print(*modules)
print(*sorted(loaded & (front_doors | {"edgespec.cli"})))
"""


def test_the_server_and_every_job_load_nothing_of_a_front_door() -> None:
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, check=True)
    modules, loaded = done.stdout.splitlines()
    assert {"edgespec.worker.server", "edgespec.worker.pair", "edgespec.worker.jobs.plan"} <= set(
        modules.split()
    )
    assert loaded == ""
