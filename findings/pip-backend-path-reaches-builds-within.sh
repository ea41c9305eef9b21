#!/usr/bin/env bash
# pip 26.1 (its copy of pyproject_hooks) and idna 3.10 (built with flit_core) as the inner project; Python >= 3.11.
# Guessed: a build backend that lies in its own project (`backend-path` of PEP 517) may run pip for another project: that one is
# built in an isolated environment of its own.
# Seen: pip tells the outer backend where it lies by the variable _PYPROJECT_HOOKS_BACKEND_PATH, and the inner pip hands it on, because it
# sets its own only for projects that have a `backend-path` too. The inner backend is then looked for in the outer project's
# folder and nowhere else: "Cannot find module 'flit_core.buildapi' in [...]", although the isolated environment has it. Without these variables
# the same build succeeds. Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check pip==26.1
mkdir "$work/outer" "$work/wheels"
cat > "$work/outer/pyproject.toml" <<'TOML'
[build-system]
requires = ["pip==26.1"]
build-backend = "outer_backend"
backend-path = ["."]
[project]
name = "outer"
version = "1"
TOML
cat > "$work/outer/outer_backend.py" <<'PY'
import os
import subprocess
import sys
import zipfile
from pathlib import Path

COMMAND = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "--no-binary", "idna", "idna==3.10"]


def build_wheel(folder, config_settings=None, metadata_directory=None):
    own = {name: value for name, value in os.environ.items() if not name.startswith("_PYPROJECT_HOOKS_")}
    seen = Path(os.environ["SEEN"])
    cases = {} if seen.exists() else {"as it was called": dict(os.environ), "without these variables": own}
    for case, env in cases.items():
        ran = subprocess.run([*COMMAND, "--wheel-dir", folder], env=env, capture_output=True, text=True)
        reason = next((line for line in ran.stderr.splitlines() if "BackendUnavailable:" in line), "built")
        with seen.open("a") as file:
            print(f"{case}: pip exits with {ran.returncode}, {reason}", file=file)
    name = "outer-1-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder) / name, "w") as wheel:
        wheel.writestr("outer-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: outer\nVersion: 1\n")
        wheel.writestr("outer-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("outer-1.dist-info/RECORD", "")
    return name
PY
SEEN="$work/seen" "$work/env/bin/pip" wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work/wheels" "$work/outer" >/dev/null
cat "$work/seen"
grep -q "^as it was called: pip exits with [1-9].*Cannot find module 'flit_core.buildapi' in .*outer" "$work/seen" || { echo changed; exit 1; }
grep -q "^without these variables: pip exits with 0, built" "$work/seen" || { echo changed; exit 1; }
