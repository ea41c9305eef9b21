#!/usr/bin/env bash
# llama-cpp-python 0.3.36, llama_cpp/llama_grammar.py (json_schema_to_gbnf, behind response_format and LlamaGrammar.from_json_schema),
# from its source package; Python 3.11 and later.
# Guessed: the package's converter keeps up with the one of the llama.cpp beside it, which makes rules of a number's bounds.
# Seen: for an integer of 3 to 7 the package's grammar is the one of any integer, sign and sixteen digits, and nothing is said; the
# lengths of lists are heard. The C++ converter in the same archive builds rules from `minimum` and `maximum`. Who needs the bounds
# has to check the answer, or make the grammar elsewhere. Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary :all: -d "$work" llama-cpp-python==0.3.36
tar -xzf "$work"/llama_cpp_python-0.3.36.tar.gz -C "$work"
cd "$work/llama_cpp_python-0.3.36"
"$work/env/bin/python" - <<'PY'
import json
import runpy
import sys
from pathlib import Path

to_gbnf = runpy.run_path("llama_cpp/llama_grammar.py")["json_schema_to_gbnf"]
bounded, free = (
    to_gbnf(json.dumps({"type": "integer"} | bounds)) for bounds in ({"minimum": 3, "maximum": 7}, {})
)
print(bounded)
if bounded != free:
    sys.exit("changed: the bounds make a difference")
pair = {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 2}
if to_gbnf(json.dumps(pair)) == to_gbnf(json.dumps({"type": "array", "items": {"type": "boolean"}})):
    sys.exit("changed: lengths are not heard either")
if "build_min_max_int(i.minimum" not in Path("vendor/llama.cpp/common/json-schema-to-grammar.cpp").read_text():
    sys.exit("changed: llama.cpp's own converter does not know bounds")
PY
