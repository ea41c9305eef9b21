#!/usr/bin/env bash
# llama-cpp-python 0.3.36 with its llama.cpp, src/llama-memory-recurrent.cpp (llama_memory_recurrent::seq_rm) and n_rs_seq of the
# context, gguf 0.19.0; Python 3.11 and later. A tiny random LFM2.
# Guessed: llama_memory_seq_rm takes back the last tokens of any model, or says that it could not; with n_rs_seq = 4 the last
# four.
# Seen: a hybrid refuses it (False) unless n_rs_seq is set. Set, it takes back what was read as rows of one batch, and what
# follows has the logits of a context that never read them. The same tokens, read one batch each, are taken back with the same
# True, the position is right, and the logits are another text's: the states kept are those of the last batch. A second call
# before the next batch is refused. The size of a saved state is the same with n_rs_seq and without, for the kept states are not
# in it. So a draft model of this kind, which reads row by row, cannot be taken back this way. Fails when this changes.
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

WIDTH, VOCABULARY, CACHE = 64, 96, 3
rng = np.random.default_rng(0)


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


class Reader:
    """A context that reads tokens of sequence 0."""

    def __init__(self, model, n_rs_seq):
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_threads, params.n_threads_batch, params.n_rs_seq = 128, 1, 1, n_rs_seq
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
write_lfm2("model.gguf")
model = llama_cpp.llama_model_load_from_file(b"model.gguf", llama_cpp.llama_model_default_params())
assert model
prompt, drafts, kept, following = [1, 2, 3, 4, 5, 6], [11, 12, 13, 14], 2, [21]
place = len(prompt) + kept

without = Reader(model, 0)
without.read(prompt)
without.read(drafts)
print("n_rs_seq 0: taken back", without.take_back(place))
assert not without.take_back(place), "changed"

reference = Reader(model, 4)
reference.read(prompt)
reference.read(drafts[:kept])
expected = reference.read(following)
off = []
for name, batches in (("one batch", [drafts]), ("a batch each", [[token] for token in drafts])):
    reader = Reader(model, 4)
    for batch in [prompt, *batches]:
        reader.read(batch)
    first, second = reader.take_back(place), reader.take_back(place - 1)
    off.append(float(np.abs(reader.read(following) - expected).max() / expected.std()))
    last = llama_cpp.llama_memory_seq_pos_max(reader.memory, 0)
    print(f"n_rs_seq 4, {name}: taken back {first}, once more {second}, last position {last}, logits off by {off[-1]:.3f} spreads")
    assert first and not second and last == place, "changed"
assert off[0] < 0.01 and off[1] > 0.5, "changed"

sizes = []
for n_rs_seq in (0, 4):
    reader = Reader(model, n_rs_seq)
    reader.read(prompt)
    sizes.append(llama_cpp.llama_state_seq_get_size(reader.context, 0))
print("bytes of a saved state, n_rs_seq 0 and 4:", *sizes)
assert sizes[0] == sizes[1], "changed"
PY
