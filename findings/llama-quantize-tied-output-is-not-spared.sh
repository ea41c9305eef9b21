#!/usr/bin/env bash
# llama-cpp-python 0.3.36 with its llama.cpp, src/llama-quant.cpp (tensor_allows_quantization, llama_tensor_get_type), gguf
# 0.19.0; Python 3.11 and later.
# Guessed: quantize_output_tensor = false (--leave-output-tensor) leaves the output matrix as it is, and output_tensor_type is the
# type that it gets, with `pure` and without.
# Seen: that goes by the name output.weight. Where the embeddings are the output matrix too (as in many small models), "leave it"
# leaves nothing: the shared matrix is quantized as ever. output_tensor_type reaches the shared matrix without `pure` and is
# passed over in silence with `pure`, while a matrix of its own gets it both times. token_embedding_type is heard every time.
# Fails when any of this changes.
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

WIDTH, VOCABULARY = 256, 64
Q = gguf.GGMLQuantizationType
rng = np.random.default_rng(0)


def write_model(path, blocks, tied=False):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(blocks)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("no_vocab")
    matrices = {"token_embd": VOCABULARY} | ({} if tied else {"output": VOCABULARY})
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


def type_of_output(tied, **wishes):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0, 1
    for name, wish in wishes.items():
        setattr(params, name, wish)
    write_model("model.gguf", 1, tied)
    assert llama_cpp.llama_model_quantize(b"model.gguf", b"result.gguf", params) == 0
    types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader("result.gguf").tensors}
    return types["token_embd.weight" if tied else "output.weight"]


llama_cpp.llama_log_set(quiet := llama_cpp.llama_log_callback(lambda *_: None), None)
wishes = (
    ({"quantize_output_tensor": False}, "F32", "Q6_K"),
    ({"output_tensor_type": Q.F16}, "F16", "F16"),
    ({"output_tensor_type": Q.F16, "pure": True}, "F16", "Q4_0"),
)
for wish, own, shared in wishes:
    seen = type_of_output(False, **wish), type_of_output(True, **wish)
    print(f"Q4_0 with {', '.join(wish)}: a matrix of its own {seen[0]}, a shared one {seen[1]}")
    assert seen == (own, shared), "changed"
for pure in (False, True):
    assert type_of_output(True, token_embedding_type=Q.F16, pure=pure) == "F16", "changed"
PY
