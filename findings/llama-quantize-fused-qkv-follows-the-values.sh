#!/usr/bin/env bash
# llama-cpp-python 0.3.36 with its llama.cpp, src/llama-quant.cpp (category_is_attn_v, llama_tensor_get_type_impl), gguf 0.19.0;
# Python 3.11 and later.
# Guessed: a fused attn_qkv gets the type that the code lists for it: Q4_K in Q3_K_M, Q5_K in Q4_K_M, Q6_K in Q5_K_M, in every block.
# Seen: that branch is never reached, because the test for values, which comes first, takes fused matrices too. They get what
# attn_v gets in a model of as many blocks: half of Q4_K_M's blocks Q6_K and the others Q4_K, and never Q5_K. Queries and keys
# follow the values: in Q3_K_M, where they have Q3_K by themselves, the first blocks store them in Q5_K.
# Fails when any of this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check llama-cpp-python==0.3.36 gguf==0.19.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" - <<'PY'
from collections import Counter

import gguf
import llama_cpp
import numpy as np

WIDTH, VOCABULARY, BLOCKS = 256, 64, 16
SEPARATE = {"attn_q": WIDTH, "attn_k": WIDTH, "attn_v": WIDTH, "ffn_gate": WIDTH}
rng = np.random.default_rng(0)


def write_model(path, architecture, attention):
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(BLOCKS)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_layer_norm_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("no_vocab")
    matrices = {"token_embd": VOCABULARY, "output": VOCABULARY}
    for block in range(BLOCKS):
        for name, rows in (attention | {"attn_output": WIDTH, "ffn_up": WIDTH, "ffn_down": WIDTH}).items():
            matrices[f"blk.{block}.{name}"] = rows
    for name, rows in matrices.items():
        writer.add_tensor(f"{name}.weight", rng.standard_normal((rows, WIDTH), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def types_of(path, file_type, name):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = file_type, 1
    assert llama_cpp.llama_model_quantize(path.encode(), b"result.gguf", params) == 0
    tensors = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader("result.gguf").tensors}
    return [tensors[f"blk.{block}.{name}.weight"] for block in range(BLOCKS)]


llama_cpp.llama_log_set(quiet := llama_cpp.llama_log_callback(lambda *_: None), None)
write_model("fused.gguf", "gpt2", {"attn_qkv": 3 * WIDTH})
write_model("separate.gguf", "llama", SEPARATE)
listed = {"Q3_K_M": "Q4_K", "Q4_K_M": "Q5_K", "Q5_K_M": "Q6_K"}
for name, own in listed.items():
    file_type = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{name}")
    fused, values = (types_of(*pair) for pair in (("fused.gguf", file_type, "attn_qkv"), ("separate.gguf", file_type, "attn_v")))
    print(f"{name}: listed {own}, fused {dict(Counter(fused))}, values {dict(Counter(values))}")
    assert fused == values and set(fused) != {own}, "changed"
    if name == "Q4_K_M":
        assert Counter(fused) == {"Q6_K": BLOCKS // 2, "Q4_K": BLOCKS // 2}, "changed"
    if name == "Q3_K_M":
        queries = types_of("separate.gguf", file_type, "attn_q")
        print(f"{name}: queries by themselves {dict(Counter(queries))}")
        assert set(queries) == {"Q3_K"} and fused[0] == "Q5_K", "changed"
PY
