#!/usr/bin/env bash
# llama-cpp-python 0.3.36 with its llama.cpp, src/llama-quant.cpp (llama_tensor_get_type and the counters under it), gguf 0.19.0;
# Python 3.11 and later.
# Guessed: a type asked for by name (tt_overrides, --tensor-type of llama-quantize) changes the tensors that it names.
# Seen: it changes others too. Q4_K_M gives some blocks' ffn_down Q6_K, by their place. Without experts, the place is not read
# from the name but counted, and a named tensor is not counted: all blocks after it are taken for the one before them. With block
# 0 named, the Q6_K ones move from 0, 3, 6, 7 to 1, 4, 7, and block 6 gets fewer bits than without the wish. Comparing recipes one
# tensor at a time this way compares other changes as well; naming every block keeps them apart. Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check llama-cpp-python==0.3.36 gguf==0.19.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" - <<'PY'
import gguf
import llama_cpp
import numpy as np

BLOCKS, WIDTH, VOCABULARY = 8, 256, 32
Q = gguf.GGMLQuantizationType
rng = np.random.default_rng(0)


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


def types_of_ffn_down(overrides):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M, 1
    row = llama_cpp.llama_model_tensor_override
    params.tt_overrides = (row * (len(overrides) + 1))(*(row(*item) for item in overrides.items()))
    assert llama_cpp.llama_model_quantize(b"model.gguf", b"result.gguf", params) == 0
    types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader("result.gguf").tensors}
    return [types[f"blk.{block}.ffn_down.weight"] for block in range(BLOCKS)]


llama_cpp.llama_log_set(quiet := llama_cpp.llama_log_callback(lambda *_: None), None)
write_model("model.gguf", BLOCKS)
as_it_comes = types_of_ffn_down({})
first_named = types_of_ffn_down({rb"blk\.0\.ffn_down": Q.Q8_0})
print("ffn_down, nothing named:", *as_it_comes)
print("ffn_down, block 0 named:", *first_named)
assert [i for i, kind in enumerate(as_it_comes) if kind == "Q6_K"] == [0, 3, 6, 7]
assert first_named == ["Q8_0", *as_it_comes[:-1]], "changed"
every = {rb"blk\.%d\.ffn_down" % i: Q[kind] for i, kind in enumerate(as_it_comes)} | {rb"blk\.0\.ffn_down": Q.Q8_0}
assert types_of_ffn_down(every) == ["Q8_0", *as_it_comes[1:]]
PY
