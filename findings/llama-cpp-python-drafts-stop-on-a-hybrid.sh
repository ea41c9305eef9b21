#!/usr/bin/env bash
# llama-cpp-python 0.3.36, llama_cpp/llama.py (Llama.generate) with LlamaPromptLookupDecoding, gguf 0.19.0; Python 3.11 and later.
# A tiny random LFM2, whose blocks are attention and short convolutions.
# Guessed: draft tokens from the prompt (draft_model) need no more of a model than that it runs, and the answer is the one
# without.
# Seen: generation goes well while every draft is right and ends with "llama_decode returned -1" at the first wrong one: a
# hybrid's memory refuses to take the draft back, the refusal is not looked at, and the next batch comes for positions that are
# taken. Fails when this changes.
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
from llama_cpp import Llama
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

WIDTH, VOCABULARY, CACHE, WANTED = 64, 96, 3, 24
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


def answer(draft):
    """Tokens, and the error that ended them."""
    lookup = LlamaPromptLookupDecoding(num_pred_tokens=4) if draft else None
    llama = Llama("model.gguf", n_ctx=128, n_threads=1, verbose=False, logits_all=True, draft_model=lookup)
    tokens = []
    try:
        for token in llama.generate([1, 2, 3, 1, 2, 3, 1, 2, 4, 1, 2], temp=0.0):
            tokens.append(token)
            if len(tokens) == WANTED:
                break
    except RuntimeError as error:
        return tokens, str(error)
    return tokens, None


write_lfm2("model.gguf")
plain, nothing = answer(draft=False)
drafted, error = answer(draft=True)
print("without a draft:", len(plain), "tokens")
print("with a draft:", len(drafted), "tokens, then", error)
assert len(plain) == WANTED and nothing is None
assert drafted == plain[: len(drafted)] and len(drafted) < WANTED and error == "llama_decode returned -1", "changed"
PY
