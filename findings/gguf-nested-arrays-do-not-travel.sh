#!/usr/bin/env bash
# gguf 0.19.0 (gguf_writer.py, gguf_reader.py, scripts/gguf_new_metadata.py) against llama.cpp b11549 as built in xllamacpp
# 2026.10.11549 (ggml/src/gguf.cpp); Linux. The GGUF specification allows arrays of arrays.
# Guessed: a key with an array of arrays, which GGUFWriter takes and writes, comes back from GGUFReader as it was, is copied by
# gguf-new-metadata and is passed over by llama.cpp, which does not need it.
# Seen: all three otherwise. The reader gives one flat list ([[1, 2], [3]] is [1, 2, 3]; the types still say array of array),
# gguf-new-metadata writes that flat list as the key's value, and llama.cpp refuses the whole model for a key that it never asks
# for; the flattened copy loads. An empty list is not written at all. Keep lists of lists in a string. Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check xllamacpp==2026.10.11549 gguf==0.19.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" - <<'PY'
import ctypes
import importlib.util
import subprocess
import sys

import gguf
import numpy as np

WIDTH, VOCABULARY = 32, 32
POINTER = ctypes.c_void_p
library = ctypes.CDLL(importlib.util.find_spec("xllamacpp.xllamacpp").origin)


class Settings(ctypes.Structure):
    """Room enough for the real structure, of which nothing is looked at."""

    _fields_ = [("room", ctypes.c_uint64 * 64)]


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def listen(level, text, _):
    if level == 4:
        heard.append(text.decode().strip())


def write_model(path, key, value):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("no_vocab")
    writer.add_array(key, value)
    rows = {"token_embd": VOCABULARY, "output": VOCABULARY}
    rows |= {f"blk.0.attn_{name}": WIDTH for name in ("q", "k", "v", "output")}
    rows |= {f"blk.0.ffn_{name}": WIDTH for name in ("gate", "up", "down")}
    for name, count in rows.items():
        writer.add_tensor(f"{name}.weight", np.ones((count, WIDTH), np.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def function(name, result, *arguments):
    found = getattr(library, f"llama_{name}")
    found.restype, found.argtypes = result, arguments
    return found


def loads(path):
    """Whether llama.cpp takes the file; its errors are in `heard`."""
    heard.clear()
    parameters = function("model_default_params", Settings)()
    return bool(
        function("model_load_from_file", POINTER, ctypes.c_char_p, Settings)(path.encode(), parameters)
    )


def read(path, key):
    field = gguf.GGUFReader(path).get_field(key)
    return field and ([kind.name for kind in field.types], field.contents())


heard = []
function("log_set", None, type(listen), POINTER)(listen, None)
write_model("nested.gguf", "notes.pairs", [[1, 2], [3]])
write_model("empty.gguf", "notes.pairs", [])
rename = [
    sys.executable,
    "-m",
    "gguf.scripts.gguf_new_metadata",
    "nested.gguf",
    "copy.gguf",
    "--general-name",
    "copy",
]
subprocess.run(rename, check=True, capture_output=True)
seen = {
    name: (read(f"{name}.gguf", "notes.pairs"), loads(f"{name}.gguf")) for name in ("empty", "copy", "nested")
}
for name, (field, is_loaded) in seen.items():
    print(f"{name}: read as {field}, llama.cpp loads it: {is_loaded}")
print("\n".join(heard))
assert seen == {
    "empty": (None, True),
    "copy": ((["ARRAY", "INT32"], [1, 2, 3]), True),
    "nested": ((["ARRAY", "ARRAY", "INT32"], [1, 2, 3]), False),
}, "changed"
PY
