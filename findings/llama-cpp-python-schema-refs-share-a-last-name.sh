#!/usr/bin/env bash
# llama-cpp-python 0.3.36, llama_cpp/llama_grammar.py (json_schema_to_gbnf, behind response_format and LlamaGrammar.from_json_schema),
# from its source package; Python 3.11 and later.
# Guessed: a $ref means what it points to, so two definitions that are both called `size`, in different places, stay two.
# Seen: the rule of a reference is called after the last part of its path alone, and a name that is there is taken again. The
# second property gets the first one's values: the grammar forces {"y": "small"}, which the schema forbids, and no longer allows
# "red", the only thing it asks for. Definitions have to be given names of their own before. Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary :all: -d "$work" llama-cpp-python==0.3.36
tar -xzf "$work"/llama_cpp_python-0.3.36.tar.gz -C "$work"
cd "$work"
"$work/env/bin/python" - llama_cpp_python-0.3.36/llama_cpp/llama_grammar.py <<'PY'
import json
import runpy
import sys

to_gbnf = runpy.run_path(sys.argv[1])["json_schema_to_gbnf"]
schema = {
    "$defs": {
        "shirt": {"$defs": {"size": {"enum": ["small"]}}},
        "paint": {"$defs": {"size": {"enum": ["red"]}}},
    },
    "type": "object",
    "properties": {"x": {"$ref": "#/$defs/shirt/$defs/size"}, "y": {"$ref": "#/$defs/paint/$defs/size"}},
    "required": ["x", "y"],
    "additionalProperties": False,
}
grammar = to_gbnf(json.dumps(schema))
print(grammar)
rules = dict(line.split(" ::= ", 1) for line in grammar.splitlines())
if rules["x"] != rules["y"] or "red" in grammar:
    sys.exit("changed: the two definitions are two rules")
PY
