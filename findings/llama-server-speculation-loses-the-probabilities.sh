#!/usr/bin/env bash
# llama.cpp b11549 as built in xllamacpp 2026.10.11549, tools/server/server-context.cpp (result.prob = 1.0f; ggml-org/llama.cpp
# issue 27972, open), gguf 0.19.0; Linux. A tiny random llama that drafts for itself.
# Guessed: a draft model changes the speed and nothing else of an answer, its logprobs included, or the request is refused.
# Seen: the text is the same; each logprob is 0, a certainty, and the list of alternatives is empty, for drafted and for other
# tokens; only the first token of an answer has its own. Nothing says so. Who computes a confidence, a perplexity or a choice
# from a server's logprobs has to ask a server that does not speculate. Fails when this changes.
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


def answer(is_speculating):
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.warmup, params.verbosity = (
        "model.gguf",
        512,
        1,
        False,
        0,
    )
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    if is_speculating:
        params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
        params.speculative.draft.mparams.path = "model.gguf"
    server = xllamacpp.Server(params)
    request = {"prompt": "Once", "max_tokens": 12, "temperature": 0, "ignore_eos": True, "logprobs": 3}
    reply = server.handle_completions(request)
    tokens = reply["choices"][0]["logprobs"]["content"]
    return reply["choices"][0]["text"], [
        (round(token["logprob"], 3), len(token["top_logprobs"])) for token in tokens
    ]


write_model("model.gguf", gain=0.5)
plain_text, plain = answer(is_speculating=False)
text, speculated = answer(is_speculating=True)
print("logprob and number of alternatives of each token")
print("plain:      ", plain)
print("speculating:", speculated)
assert text == plain_text and len(plain) == len(speculated) > 2, "changed"
assert all(logprob < 0 and alternatives == 3 for logprob, alternatives in plain), "changed"
assert speculated[0] == plain[0] and set(speculated[1:]) == {(0.0, 0)}, "changed"
PY
