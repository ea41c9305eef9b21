"""Packages that only some commands need."""

import importlib.util
import sys

from edgespec.errors import UsageError


def check_extra(what: str, extra: str, *modules: str) -> None:
    """Whether the modules of an extra are there.

    The way out names this very Python: the `pip` of the path may be another one's, as in a clone after `make install`.

    Raises:
        UsageError: some are missing.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        packages = " and ".join(name.replace("_", "-") for name in missing)
        raise UsageError(
            f"{what} needs {packages}",
            f"install what is missing with {sys.executable} -m pip install 'edgespec[{extra}]'",
        )
