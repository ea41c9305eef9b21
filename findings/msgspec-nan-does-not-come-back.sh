#!/usr/bin/env bash
# msgspec 0.23.0 (from the package index), Python >= 3.11.
# Guessed: what msgspec encodes, it decodes again as the same type.
# Seen: a float field that is NaN or infinite is written as null, without a word, and the reader of the very same type then
# refuses it ("Expected `float`, got `null`"). NaN and Infinity as Python's json module writes them are refused as malformed.
# So figures that may be missing need a type of their own (float | None) or another writer: tables of measurements with
# undefined spreads are where this bites. Fails when any of this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check msgspec==0.23.0
"$work/env/bin/python" - <<'PY'
import json
import math
import msgspec


class Row(msgspec.Struct):
    spread: float


written = msgspec.json.encode(Row(math.nan))
print("written:", written)
assert written == b'{"spread":null}'
assert msgspec.json.encode(Row(math.inf)) == written
try:
    msgspec.json.decode(written, type=Row)
except msgspec.ValidationError as error:
    print("read back:", error)
    assert "Expected `float`, got `null`" in str(error)
else:
    raise SystemExit("changed: a NaN comes back")
try:
    msgspec.json.decode(json.dumps({"spread": math.inf}), type=Row)
except msgspec.DecodeError as error:
    print("json's own Infinity:", error)
else:
    raise SystemExit("changed: Infinity is read")
PY
