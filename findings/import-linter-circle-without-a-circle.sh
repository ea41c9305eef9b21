#!/usr/bin/env bash
# import-linter 2.17 (from the package index), contract type `acyclic_siblings`, Python >= 3.11.
# Guessed: it is broken only where modules import each other in a loop.
# Seen: siblings are taken whole, packages with all that is in them. Here no module is on any loop (a `layers` contract over the
# same four files is kept), but a package holds both a file that others stand on and a file that stands on them, and the
# contract is broken. The advice it prints names one import of that loop, which is not the one to remove: the way out is to
# split the package into what is below and what is above. Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check import-linter==2.17
mkdir -p "$work/tree/house/reports"
cd "$work/tree"
touch house/__init__.py house/reports/__init__.py
echo "VALUE = 1" > house/reports/values.py
echo "from house.reports.values import VALUE" > house/document.py
echo "from house import document" > house/store.py
echo "from house import store" > house/reports/run.py
cat > contracts.ini <<'INI'
[importlinter]
root_package = house
[importlinter:contract:circles]
name = no circles
type = acyclic_siblings
ancestors = house
[importlinter:contract:files]
name = the four files stand on each other
type = layers
layers =
  house.reports.run
  house.store
  house.document
  house.reports.values
INI
if "$work/env/bin/lint-imports" contracts.ini > said.txt; then
  echo "changed: the contract is kept"
  exit 1
fi
grep -E "KEPT|BROKEN|import\)" said.txt
grep -q "no circles BROKEN" said.txt
grep -q "the four files stand on each other KEPT" said.txt
