#!/usr/bin/env bash
# llama.cpp b11549 as built in xllamacpp 2026.10.11549, common/speculative.cpp (draft-simple; top_k = 10), gguf 0.19.0; Linux.
# Guessed: --spec-draft-p-min, "minimum speculative decoding probability (greedy)", is compared with the probability that the
# draft model gives its token: a draft that knows nothing, with 1/257 for each of 257 tokens, is stopped by any p_min above
# 0.004.
# Seen: it drafts on and on up to p_min = 0.099, and not at all from 0.101. The probability is taken among the ten best tokens
# only, where the best of them never has less than a tenth: values up to 0.1 are no condition at all, and a value above lets
# tokens through that have less than it says, the more so the flatter the draft is. Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check xllamacpp==2026.10.11549 gguf==0.19.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" - <<'PY'
import gguf
import numpy as np
import xllamacpp

WIDTH, VOCABULARY = 64, 257
rng = np.random.default_rng(0)


def letters():
    """The 256 letters that byte-level vocabularies write for the bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in plain else next(others)) for byte in range(256)]


def write_model(path, gain, template=None):
    """A random llama; with gain 0 its output matrix is zero."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(1024)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*letters(), "<|end|>"])
    writer.add_token_types([gguf.TokenType.NORMAL] * 256 + [gguf.TokenType.CONTROL])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(256)
    rows = {"token_embd": VOCABULARY, "output": VOCABULARY}
    rows |= {f"blk.0.attn_{name}": WIDTH for name in ("q", "k", "v", "output")}
    rows |= {f"blk.0.ffn_{name}": WIDTH for name in ("gate", "up", "down")}
    for name, count in rows.items():
        matrix = rng.standard_normal((count, WIDTH), dtype=np.float32)
        writer.add_tensor(f"{name}.weight", matrix * np.float32(gain if name == "output" else 0.25))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def drafted(p_min):
    """Tokens drafted while 40 are written."""
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.warmup, params.verbosity = (
        "target.gguf",
        512,
        1,
        False,
        0,
    )
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
    draft = params.speculative.draft
    draft.mparams.path, draft.n_max, draft.p_min = "draft.gguf", 3, p_min
    server = xllamacpp.Server(params)
    answer = server.handle_completions(
        {"prompt": "Once", "max_tokens": 40, "temperature": 0, "ignore_eos": True}
    )
    assert answer["usage"]["completion_tokens"] == 40
    return answer["timings"].get("draft_n", 0)


write_model("target.gguf", gain=0.5)
write_model("draft.gguf", gain=0)
counts = {p_min: drafted(p_min) for p_min in (0.0, 0.05, 0.099, 0.101)}
for p_min, count in counts.items():
    print(f"p_min {p_min}: {count} tokens drafted, each of a probability of {1 / VOCABULARY:.4f}")
assert counts[0.0] == counts[0.05] == counts[0.099] > 40 and counts[0.101] == 0, "changed"
PY
