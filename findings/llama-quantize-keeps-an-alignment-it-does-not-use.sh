#!/usr/bin/env bash
# llama-cpp-python 0.3.36 with its llama.cpp, src/llama-quant.cpp (llama_model_quantize_impl), gguf 0.19.0; Python 3.11 and later.
# Guessed: a valid file whose general.alignment is 64 is quantized to a valid file.
# Seen: the key is copied, the data is laid out by 32, and the return code is that of success. Tensors start where 64 does not
# allow it, and the length of the header decides what a reader that goes by the key makes of it: with one length of the model's
# name gguf's finds every tensor, with 32 letters fewer it starts 32 bytes too late and runs out of data. A kv_override of
# general.alignment = 32, written into the header like any other key, makes both whole. Only gguf reads the results here. Fails
# when this changes.
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

WIDTH, VOCABULARY = 96, 48
rng = np.random.default_rng(0)


def write_model(path, blocks, name):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(64)
    writer.add_name(name)
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


def quantized(alignment=None):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, 1
    overrides = (llama_cpp.llama_model_kv_override * 2)()
    if alignment:
        overrides[0].key, overrides[0].tag = b"general.alignment", llama_cpp.LLAMA_KV_OVERRIDE_TYPE_INT
        overrides[0].value.val_i64 = alignment
        params.kv_overrides = overrides
    assert llama_cpp.llama_model_quantize(b"model.gguf", b"result.gguf", params) == 0
    return gguf.GGUFReader("result.gguf")


def off_by(result):
    """The largest difference to the source; 0.05 is what Q8_0 costs here at most."""
    return max(
        np.abs(gguf.dequantize(tensor.data, tensor.tensor_type).ravel() - original[tensor.name].ravel()).max()
        for tensor in result.tensors
    )


llama_cpp.llama_log_set(quiet := llama_cpp.llama_log_callback(lambda *_: None), None)
said = []
for letters in (8, 40):
    write_model("model.gguf", 1, "m" * letters)
    source = gguf.GGUFReader("model.gguf")
    assert source.alignment == 64
    original = {tensor.name: tensor.data for tensor in source.tensors}
    try:
        result = quantized()
        offsets = [int(tensor.data_offset - result.data_offset) for tensor in result.tensors]
        odd = sum(offset % result.alignment != 0 for offset in offsets)
        said.append(f"alignment {result.alignment}, {odd} of {len(offsets)} tensors not on it, off by {off_by(result):.3f}")
        assert result.alignment == 64 and odd > 0 and off_by(result) < 0.05, "changed"
    except ValueError as error:
        said.append(f"gguf: {error}")
    print(f"a name of {letters} letters:", said[-1])
    mended = quantized(alignment=32)
    print(f"mended: alignment {mended.alignment}, {len(mended.tensors)} tensors, off by {off_by(mended):.3f}")
    assert mended.alignment == 32 and len(mended.tensors) == len(source.tensors) and off_by(mended) < 0.05, "changed"
assert sum(line.startswith("gguf:") for line in said) == 1, "changed"
PY
