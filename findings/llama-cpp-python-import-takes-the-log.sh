#!/usr/bin/env bash
# llama-cpp-python 0.3.36, llama_cpp/_logger.py, with the llama.cpp in it, gguf 0.19.0; Python 3.11 and later.
# Guessed: importing a package changes nothing in a library that the process uses already; at most Llama(verbose=...) does.
# Seen: the import itself sets llama.cpp's log callback, one of the whole process, so whoever set one before (through ctypes, an
# extension module) hears nothing from then on, and the lines go to standard error instead. Who sets a callback has to do it after
# the import, or once more. Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check llama-cpp-python==0.3.36 gguf==0.19.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" - <<'PY'
import ctypes
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np

WIDTH, VOCABULARY = 64, 32
rng = np.random.default_rng(0)
heard = []


class Params(ctypes.Structure):
    """Room enough for the real structure, of which nothing is looked at."""

    _fields_ = [("room", ctypes.c_uint64 * 64)]


def write_model(path, blocks):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(blocks)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("no_vocab")
    matrices = {"token_embd": VOCABULARY, "output": VOCABULARY}
    norms = ["output_norm"]
    for block in range(blocks):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            matrices[f"blk.{block}.{name}"] = WIDTH
        norms += [f"blk.{block}.attn_norm", f"blk.{block}.ffn_norm"]
    for name, rows in matrices.items():
        writer.add_tensor(f"{name}.weight", rng.standard_normal((rows, WIDTH), dtype=np.float32))
    for name in norms:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def listen(level, text, _):
    heard.append(text)


def quantize():
    """How many lines the callback hears, and how many go to standard error."""
    heard.clear()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        code = library.llama_model_quantize(b"model.gguf", b"result.gguf", ctypes.byref(params))
        os.dup2(saved, 2)
        assert code == 0
        caught.seek(0)
        return len(heard), len(caught.readlines())


write_model("model.gguf", 1)
folder = Path(importlib.util.find_spec("llama_cpp").origin).parent / "lib"
endings = {"darwin": "dylib", "win32": "dll"}
library = ctypes.CDLL(str(folder / f"libllama.{endings.get(sys.platform, 'so')}"))
library.llama_model_quantize_default_params.restype = Params
params = library.llama_model_quantize_default_params()
library.llama_log_set(listen, None)
before = quantize()
import llama_cpp

after = quantize()
library.llama_log_set(listen, None)
again = quantize()
print("lines heard and lines on standard error of the same call")
print("callback set:", *before)
print(f"llama_cpp {llama_cpp.__version__} imported:", *after)
print("callback set again:", *again)
assert before[0] > 0 and before[1] == 0 and after[0] == 0 and after[1] > 0 and again == before, "changed"
PY
