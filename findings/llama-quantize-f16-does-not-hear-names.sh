#!/usr/bin/env bash
# llama-cpp-python 0.3.36 with its llama.cpp, src/llama-quant.cpp (llama_tensor_get_type), gguf 0.19.0; Python 3.11 and later.
# Guessed: an F16 file with one kind of matrix in Q8_0 is F16 as the overall type and a type by name (tt_overrides).
# Seen: the names are looked at only where the overall type is a quantized one. With F16 every matrix is F16, the return code is
# that of success and no line of the log tells of the wish, while the type for the output matrix, which has a parameter of its
# own, is heard. The other way round works: Q8_0 overall, and F16 by name for the rest. Fails when this changes.
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

WIDTH, VOCABULARY = 64, 32
Q = gguf.GGMLQuantizationType
rng = np.random.default_rng(0)
lines = []


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


def quantized(overall, overrides, output=None):
    """The types of some tensors, and the lines of the log on overrides."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{overall}"), 1
    if output:
        params.output_tensor_type = output
    row = llama_cpp.llama_model_tensor_override
    params.tt_overrides = (row * (len(overrides) + 1))(*(row(*item) for item in overrides))
    lines.clear()
    assert llama_cpp.llama_model_quantize(b"model.gguf", b"result.gguf", params) == 0
    types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader("result.gguf").tensors}
    names = ("output", "blk.0.ffn_down", "blk.0.ffn_up")
    return [types[f"{name}.weight"] for name in names], sum("manual override" in line for line in lines)


llama_cpp.llama_log_set(log := llama_cpp.llama_log_callback(lambda _, text, __: lines.append(text.decode())), None)
write_model("model.gguf", 1)
f16 = quantized("F16", [(b"ffn_down", Q.Q8_0)], output=Q.Q8_0)
q8_0 = quantized("Q8_0", [(b"ffn_down", Q.Q8_0), (b".*", Q.F16)])
print("output, ffn_down, ffn_up")
print("F16, Q8_0 for ffn_down by name and for output by its parameter:", *f16[0], "- lines on it:", f16[1])
print("Q8_0, F16 for the rest by name:", *q8_0[0], "- lines on it:", q8_0[1])
assert f16 == (["Q8_0", "F16", "F16"], 0), "changed"
assert q8_0[0] == ["F16", "Q8_0", "F16"] and q8_0[1] > 0, "changed"
PY
