"""Runs `scripts/install_llama.py` where no package can be had: a build that begins fails at once."""

import os
import subprocess
import sys

from tests.conftest import REPOSITORY


def run_installer(**given: str) -> "subprocess.CompletedProcess[str]":
    """Has it build anew, with further variables of the environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "install_llama.py"), "--rebuild"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**kept, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, **given},
    )
