#!/usr/bin/env bash
# llama-cpp-python 0.3.36 with its llama.cpp, src/llama-quant.cpp (prune_layers) and its loader, gguf 0.19.0; Python 3.11 and
# later.
# Guessed: prune_layers (--prune-layers of llama-quantize) takes blocks out of any model that has more than one.
# Seen: the tensors are renumbered and block_count is lowered, but keys that hold one figure per block keep all of them. The
# return code is that of success, and llama.cpp then refuses its own file. LFM2 says with such a list which blocks have a cache,
# so it cannot be pruned this way without mending the header. Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check llama-cpp-python==0.3.36 gguf==0.19.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" - <<'PY'
import ctypes

import gguf
import llama_cpp
import numpy as np

WIDTH, VOCABULARY, CACHE = 64, 96, 3
rng = np.random.default_rng(0)
errors = []


def matrix(rows, columns, gain=1.0):
    return (rng.standard_normal((rows, columns)) * gain / columns**0.5).astype(np.float32)


def write_lfm2(path):
    writer = gguf.GGUFWriter(path, "lfm2")
    writer.add_block_count(2)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(4)
    writer.add_head_count_kv([0, 4])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_shortconv_l_cache(CACHE)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("no_vocab")
    tensors = {"token_embd": matrix(VOCABULARY, WIDTH, 8), "token_embd_norm": np.ones(WIDTH, np.float32)}
    tensors |= {
        "blk.0.shortconv.in_proj": matrix(3 * WIDTH, WIDTH, 1.5),
        "blk.0.shortconv.conv": matrix(WIDTH, CACHE, 1.5),
        "blk.0.shortconv.out_proj": matrix(WIDTH, WIDTH),
        "blk.1.attn_q_norm": np.ones(WIDTH // 4, np.float32),
        "blk.1.attn_k_norm": np.ones(WIDTH // 4, np.float32),
    }
    tensors |= {f"blk.1.attn_{name}": matrix(WIDTH, WIDTH) for name in ("q", "k", "v", "output")}
    for block in (0, 1):
        tensors |= {f"blk.{block}.{name}": np.ones(WIDTH, np.float32) for name in ("attn_norm", "ffn_norm")}
        tensors |= {f"blk.{block}.ffn_{name}": matrix(WIDTH, WIDTH) for name in ("gate", "up", "down")}
    for name, tensor in tensors.items():
        writer.add_tensor(f"{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def load(path):
    errors.clear()
    model = llama_cpp.llama_model_load_from_file(path, llama_cpp.llama_model_default_params())
    if model:
        llama_cpp.llama_model_free(model)
    return bool(model)


@llama_cpp.llama_log_callback
def listen(level, text, _):
    if level == 4:
        errors.append(text.decode().strip())


llama_cpp.llama_log_set(listen, None)
write_lfm2("model.gguf")
assert load(b"model.gguf"), errors
params = llama_cpp.llama_model_quantize_default_params()
params.ftype, params.nthread, params.prune_layers = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, 1, (ctypes.c_int32 * 2)(0, -1)
assert llama_cpp.llama_model_quantize(b"model.gguf", b"pruned.gguf", params) == 0
pruned = gguf.GGUFReader("pruned.gguf")
blocks, heads = (pruned.fields[f"lfm2.{key}"].contents() for key in ("block_count", "attention.head_count_kv"))
print("pruned: blocks", blocks, "- heads by block", heads)
assert blocks == 1 and heads == [0, 4], "changed"
assert not load(b"pruned.gguf"), "changed"
print("loaded:", errors[0])
assert "wrong array length" in errors[0], "changed"
PY
