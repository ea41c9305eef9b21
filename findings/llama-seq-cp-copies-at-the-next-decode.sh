#!/usr/bin/env bash
# llama.cpp b11549 as built in xllamacpp 2026.10.11549, src/llama-kv-cache.cpp (seq_cp, update, state_write), gguf 0.19.0;
# Linux. llama-cpp-python 0.3.36 does the same. A tiny random llama, two sequences without kv_unified: the default.
# Guessed: after llama_memory_seq_cp(0, 1) sequence 1 is there: it can be saved, and sequence 0 may become something else.
# Seen: its positions are there, its keys and values are copied at the next llama_decode only. A state of sequence 1 that is
# saved before has the right size and positions and none of the content, and if another state is restored into sequence 0
# before, the copy is made of that one. Nothing says so, and the logits are another text's: several spreads off. One decode
# after the copy, of whatever sequence, both are right. Removing sequence 0 does no harm. Fails when this changes.
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

    def save(self, sequence=0):
        size = function("llama_state_seq_get_size", SIZE, POINTER, INT)(self.handle, sequence)
        state = (ctypes.c_uint8 * size)()
        assert (
            function("llama_state_seq_get_data", SIZE, POINTER, POINTER, SIZE, INT)(
                self.handle, state, size, sequence
            )
            == size
        )
        return state

    def restore(self, state, sequence=0):
        set_data = function("llama_state_seq_set_data", SIZE, POINTER, POINTER, SIZE, INT)
        return set_data(self.handle, state, len(state), sequence)


def off(logits, expected):
    """Largest difference in spreads of the expected logits."""
    return float(np.abs(logits - expected).max() / expected.std())


library.llama_log_set(quiet, None)
write_model("model.gguf")
parameters = function("llama_model_default_params", Settings)()
model = function("llama_model_load_from_file", POINTER, ctypes.c_char_p, Settings)(b"model.gguf", parameters)
assert model
tokens = rng.integers(0, VOCABULARY, 60).tolist()


def copied(decode_first):
    """A context with sequence 0 copied to 1, and 0 gone again; perhaps with a decode between the two."""
    context = Context(n_ctx=512, n_seq_max=2)
    context.read(tokens[:20])
    context.change("llama_memory_seq_cp", 0, 1, -1, -1)
    if decode_first:
        context.read([5])
    context.change("llama_memory_seq_rm", 0, -1, -1)
    assert context.span(0) == (-1, -1) and context.span(1) == (0, 19)
    return context


plain, other = Context(n_ctx=512, n_seq_max=2), Context(n_ctx=512, n_seq_max=2)
expected = (plain.read(tokens[:20], 1), plain.read([7], 1))[1]
other.read(tokens[20:40])
foreign = other.save()
measured = {}
for decode_first in (False, True):
    context, reader = copied(decode_first), Context(n_ctx=512, n_seq_max=2)
    state = context.save(1)
    assert reader.restore(state, 1) == len(state) and reader.span(1) == (0, 19)
    measured[decode_first, "saved"] = off(reader.read([7], 1), expected)
    context = copied(decode_first)
    assert context.restore(foreign, 0) == len(foreign)
    measured[decode_first, "0 restored from elsewhere"] = off(context.read([7], 1), expected)
measured[False, "read on"] = off(copied(decode_first=False).read([7], 1), expected)
for (decode_first, what), difference in measured.items():
    print(f"copy, {'a decode, ' * decode_first}{what}: sequence 1 off by {difference:.3f} spreads")
    assert (difference < 0.001) == (decode_first or what == "read on") and (
        difference < 0.001 or difference > 0.1
    ), "changed"
PY
