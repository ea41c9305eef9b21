#!/usr/bin/env bash
# llama-cpp-python 0.3.36 with its llama.cpp, llama_model_quantize with an importance matrix (imatrix), gguf 0.19.0; Python 3.11
# and later.
# Guessed: an importance of 1 for every column says nothing, so the result is the one without an importance matrix.
# Seen: with any importance most types search their scales another way. With ones everywhere, on weights that are plain Gaussian
# noise, the mean squared error falls by a tenth for Q4_0, a fifth for Q4_1 and a third for IQ3_S; Q8_0 does not look at it and
# stays bit for bit. So a part of what an importance matrix "gains" owes nothing to the text it was measured on: the fair
# comparison for a calibration is a matrix of ones, not none. Fails when this changes.
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

WIDTH, VOCABULARY, NAME = 256, 256, "blk.0.ffn_up.weight"
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


def quantized(kind, importance):
    """The type and error of one matrix, and its bytes."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.pure = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}"), 1, True
    if importance is not None:
        row = llama_cpp.llama_model_imatrix_data
        figures = importance.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        params.imatrix = (row * 2)(row(NAME.encode(), figures, importance.size))
    assert llama_cpp.llama_model_quantize(b"model.gguf", b"result.gguf", params) == 0
    tensor = {tensor.name: tensor for tensor in gguf.GGUFReader("result.gguf").tensors}[NAME]
    error = np.mean((gguf.dequantize(tensor.data, tensor.tensor_type) - original) ** 2)
    return tensor.tensor_type.name, float(error), tensor.data.tobytes()


llama_cpp.llama_log_set(quiet := llama_cpp.llama_log_callback(lambda *_: None), None)
write_model("model.gguf", 1)
original = {tensor.name: tensor.data.copy() for tensor in gguf.GGUFReader("model.gguf").tensors}[NAME]
share = {}
for kind in ("Q4_0", "Q4_1", "IQ3_S", "Q8_0"):
    without, ones = quantized(kind, None), quantized(kind, np.ones(WIDTH, np.float32))
    assert without[0] == ones[0] == kind
    share[kind] = ones[1] / without[1]
    print(f"{kind}: error {without[1]:.3g} without, {ones[1]:.3g} with ones: {share[kind]:.2f} of it")
    assert (without[2] == ones[2]) == (kind == "Q8_0"), "changed"
assert 0.85 < share["Q4_0"] < 0.95 and 0.75 < share["Q4_1"] < 0.85 and 0.6 < share["IQ3_S"] < 0.75, "changed"
PY
