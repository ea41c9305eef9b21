#!/usr/bin/env bash
# llama-cpp-python 0.3.36 with its llama.cpp, src/llama-kv-cache-iswa.cpp (llama_kv_cache_iswa::seq_rm), gguf 0.19.0; Python 3.11
# and later. A tiny random Gemma 3 with a window of 32 tokens and swa_full = false.
# Guessed: llama_memory_seq_rm says False where it cannot go back so far, as a recurrent memory does.
# Seen: always True. The blocks with a window keep some hundred cells, so 20 tokens back gives the logits of a context that never
# read them, and 500 back leaves those blocks without any cell: the next batch is read without an error, and the logits are
# another text's. llama_memory_seq_pos_min, asked BEFORE the removal, tells: going back to p is sound while it is at most p -
# window + 1. After it, it says less: -1, as for an empty sequence, where all cells are gone. With swa_full = true, 500 back is
# sound too. Fails when this changes.
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

WIDTH, VOCABULARY, WINDOW, HEADS = 64, 96, 32, 4
rng = np.random.default_rng(0)


def matrix(rows, columns, gain=1.0):
    return (rng.standard_normal((rows, columns)) * gain / columns**0.5).astype(np.float32)


def write_gemma3(path):
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_block_count(2)
    writer.add_context_length(1024)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_sliding_window(WINDOW)
    writer.add_sliding_window_pattern(2)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("no_vocab")
    tensors = {"token_embd": matrix(VOCABULARY, WIDTH, 8)}
    norms = {"output_norm": WIDTH}
    for block in (0, 1):
        prefix = f"blk.{block}."
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            tensors[prefix + name] = matrix(WIDTH, WIDTH, 2.0)
        for name in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
            norms[prefix + name] = WIDTH
        norms |= {prefix + "attn_q_norm": WIDTH // HEADS, prefix + "attn_k_norm": WIDTH // HEADS}
    tensors |= {name: np.ones(size, np.float32) for name, size in norms.items()}
    for name, tensor in tensors.items():
        writer.add_tensor(f"{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Reader:
    """A context that reads tokens of sequence 0."""

    def __init__(self, model, swa_full):
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_ubatch, params.swa_full = 1024, 32, swa_full
        params.n_threads = params.n_threads_batch = 1
        self.context = llama_cpp.llama_init_from_model(model, params)
        self.memory = llama_cpp.llama_get_memory(self.context)

    def read(self, tokens):
        """In one batch; the logits of the last."""
        row = (llama_cpp.llama_token * len(tokens))(*tokens)
        assert llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(row, len(tokens))) == 0
        return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.context, -1), (VOCABULARY,)).copy()

    def take_back(self, position):
        return llama_cpp.llama_memory_seq_rm(self.memory, 0, position, -1)


llama_cpp.llama_log_set(quiet := llama_cpp.llama_log_callback(lambda *_: None), None)
write_gemma3("model.gguf")
model = llama_cpp.llama_model_load_from_file(b"model.gguf", llama_cpp.llama_model_default_params())
assert model
tokens, following = rng.integers(0, VOCABULARY, 600).tolist(), [7]
for place, swa_full, is_sound in (
    (580, False, True),
    (375, False, True),
    (374, False, False),
    (100, False, False),
    (100, True, True),
):
    reference = Reader(model, swa_full)
    reference.read(tokens[:place])
    expected = reference.read(following)
    reader = Reader(model, swa_full)
    reader.read(tokens)
    first = llama_cpp.llama_memory_seq_pos_min(reader.memory, 0)
    taken, left = reader.take_back(place), llama_cpp.llama_memory_seq_pos_min(reader.memory, 0)
    off = float(np.abs(reader.read(following) - expected).max() / expected.std())
    print(f"swa_full {swa_full}, back to {place}: {taken}, first position {first}, then {left}, off by {off:.3f} spreads")
    assert taken and (first <= place - WINDOW + 1) == is_sound and (left == -1) == (place < first), "changed"
    assert off < 0.002 if is_sound else off > 0.005, "changed"
PY
