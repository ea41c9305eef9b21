"""Executes on an accelerator what edgespec does there, and prints a table of what was seen. Returns 1 where something is wrong.

python3 -m scripts.check_gpu --backend vulkan --build .venv-vulkan          # builds llama.cpp for it first, or finds it built
python3 -m scripts.check_gpu --backend cuda --build .venv-cuda --speeds     # also benches the 1.5B pair, and judges speeds
.venv-cuda/bin/python -m scripts.check_gpu --backend cuda --only placements # in an environment that has it

Without a network: `--wheels FOLDER` with all packages, and `EDGESPEC_HOME` with the models. CMAKE_ARGS is added to the flags.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from .build import build
from .machine import REPOSITORY


def main() -> int:
    """Builds if asked to, and runs the checks there. Returns 0, or 1 where one went wrong."""
    arguments = _parse()
    if arguments.build is None:
        from .run import run  # needs what is built

        return run(arguments)
    try:
        python = build(arguments.backend, arguments.build.absolute(), arguments.wheels)
    except subprocess.CalledProcessError as failed:
        print(f"the build ended with {failed.returncode}", file=sys.stderr)
        return 1
    command = [str(python), "-m", "scripts.check_gpu", *_without_build(sys.argv[1:])]
    return subprocess.run(command, cwd=REPOSITORY, check=False).returncode


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--backend", choices=("vulkan", "cuda", "cpu"), required=True, help="which devices")
    parser.add_argument("--build", type=Path, metavar="VENV", help="first build an environment for it there")
    parser.add_argument(
        "--wheels", type=Path, metavar="FOLDER", help="of packages, for --build without a network"
    )
    parser.add_argument("--target", help="a small model, by name or path [default: smollm2-135m]")
    parser.add_argument("--draft", help="a draft for it [default: the target itself, which guesses right]")
    parser.add_argument("--tokens", type=int, default=24, help="of every answer that is compared")
    parser.add_argument("--only", action="append", metavar="CHECK", help="only this one; may be repeated")
    parser.add_argument("--speeds", action="store_true", help="also bench the 1.5B pair, and judge speeds")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a .png or .svg for the cost curves")
    return parser.parse_args()


def _without_build(words: list[str]) -> list[str]:
    """The flags that the second process gets."""
    kept: list[str] = []
    skipped = False
    for word in words:
        if skipped:
            skipped = False
        elif word in {"--build", "--wheels"}:
            skipped = True
        elif not word.startswith(("--build=", "--wheels=")):
            kept.append(word)
    return kept


if __name__ == "__main__":
    sys.exit(main())
