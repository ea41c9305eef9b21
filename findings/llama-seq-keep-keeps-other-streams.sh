#!/usr/bin/env bash
# llama.cpp b11549 as built in xllamacpp 2026.10.11549, src/llama-kv-cache.cpp (llama_kv_cache::seq_keep), gguf 0.19.0; Linux.
# llama-cpp-python 0.3.36 does the same. A tiny random llama.
# Guessed: llama_memory_seq_keep does what llama.h says: it removes all tokens that do not belong to the sequence.
# Seen: it goes through one stream only, the one of that sequence. Without kv_unified, as a context is by default, every
# sequence has a stream of its own, so the call removes nothing at all and says nothing: all three sequences are as long as
# before, and their cells stay taken. With kv_unified the others go. Who keeps one of several branches has to call
# llama_memory_seq_rm for each of the others. Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check xllamacpp==2026.10.11549 gguf==0.19.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" - <<'PY'
import ctypes
import importlib.util

import gguf
import numpy as np

WIDTH, VOCABULARY = 64, 96
rng = np.random.default_rng(0)


class Settings(ctypes.Structure):
    """Parameters of a model or a context: room enough for either, of which only a context's first four figures are set."""

    _fields_ = [(name, ctypes.c_uint32) for name in ("n_ctx", "n_batch", "n_ubatch", "n_seq_max")]
    _fields_ += [("room", ctypes.c_uint64 * 64)]


class Batch(ctypes.Structure):
    _fields_ = [
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    ]


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def quiet(*_):
    pass


def write_model(path):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(1024)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("no_vocab")
    rows, norms = {"token_embd": VOCABULARY, "output": VOCABULARY}, ["output_norm"]
    for block in (0, 1):
        names = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
        rows |= {f"blk.{block}.{name}": WIDTH for name in names}
        norms += [f"blk.{block}.attn_norm", f"blk.{block}.ffn_norm"]
    for name, count in rows.items():
        writer.add_tensor(f"{name}.weight", rng.standard_normal((count, WIDTH), dtype=np.float32) / 4)
    for name in norms:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def function(name, result, *arguments):
    found = getattr(library, name)
    found.restype, found.argtypes = result, arguments
    return found


library = ctypes.CDLL(importlib.util.find_spec("xllamacpp.xllamacpp").origin)
POINTER, INT, SIZE = ctypes.c_void_p, ctypes.c_int32, ctypes.c_size_t


class Context:
    """Reads tokens of any of its sequences."""

    def __init__(self, n_ctx, n_seq_max=1):
        settings = function("llama_context_default_params", Settings)()
        settings.n_ctx, settings.n_seq_max = n_ctx, n_seq_max
        self.handle = function("llama_init_from_model", POINTER, POINTER, Settings)(model, settings)
        assert self.handle
        function("llama_set_n_threads", None, POINTER, INT, INT)(self.handle, 1, 1)
        self.memory = function("llama_get_memory", POINTER, POINTER)(self.handle)

    def span(self, sequence=0):
        return tuple(self.change(f"llama_memory_seq_pos_{end}", sequence) for end in ("min", "max"))

    def change(self, name, *arguments):
        """Call a llama_memory function of sequences and positions."""
        return function(name, INT, POINTER, *[INT] * len(arguments))(self.memory, *arguments)

    def read(self, tokens, sequence=0):
        """Logits after the last of the tokens."""
        first, batch = (
            self.span(sequence)[1] + 1,
            function("llama_batch_init", Batch, INT, INT, INT)(len(tokens), 0, 1),
        )
        batch.n_tokens = len(tokens)
        for row, token in enumerate(tokens):
            batch.token[row], batch.pos[row], batch.n_seq_id[row], batch.logits[row] = (
                token,
                first + row,
                1,
                1,
            )
            batch.seq_id[row][0] = sequence
        assert function("llama_decode", INT, POINTER, Batch)(self.handle, batch) == 0
        function("llama_batch_free", None, Batch)(batch)
        values = function("llama_get_logits_ith", ctypes.POINTER(ctypes.c_float), POINTER, INT)(
            self.handle, -1
        )
        return np.ctypeslib.as_array(values, (VOCABULARY,)).copy()


library.llama_log_set(quiet, None)
write_model("model.gguf")
parameters = function("llama_model_default_params", Settings)()
model = function("llama_model_load_from_file", POINTER, ctypes.c_char_p, Settings)(b"model.gguf", parameters)
assert model
tokens = rng.integers(0, VOCABULARY, 60).tolist()


context = Context(n_ctx=768, n_seq_max=3)
for sequence in range(3):
    context.read(tokens[: 10 + sequence], sequence)
before = [context.span(sequence) for sequence in range(3)]
context.change("llama_memory_seq_keep", 1)
after = [context.span(sequence) for sequence in range(3)]
print("first and last position of sequences 0, 1 and 2:", before)
print("sequence 1 kept:", after)
assert after == before == [(0, 9), (0, 10), (0, 11)], "changed"
for sequence in (0, 2):
    context.change("llama_memory_seq_rm", sequence, -1, -1)
print("0 and 2 removed:", last := [context.span(sequence) for sequence in range(3)])
assert last == [(-1, -1), (0, 10), (-1, -1)], "changed"
PY
