#!/usr/bin/env bash
# llama.cpp b11549 as built in xllamacpp 2026.10.11549, common/jinja (value.cpp, runtime.cpp) behind /apply-template, against
# jinja2 3.1.6, gguf 0.19.0; Linux. llama.cpp's own list of templates meets some of it: a 1.0 among a tool call's arguments in
# Qwen2.5's and Qwen3's, a null in Gemma 4's.
# Guessed: llama.cpp's own template engine gives the text that jinja2 gives, or an error where it cannot.
# Seen: other texts, without an error: a list is printed without brackets and quotes ("CF"), a dictionary as nothing, null as
# nothing where Python says None (and default() replaces it), 1.0 through tojson is 1, format() leaves its "%s" as it is, and
# the remainder of -7 by 3 is -1. So a model that was trained on what transformers renders reads another prompt, and a call that
# it wrote with 1.0 is shown to it with 1. Templates that say tojson or join are safe from the first two. Fails when this
# changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check xllamacpp==2026.10.11549 gguf==0.19.0 numpy==2.4.6 jinja2==3.1.6
cd "$work"
"$work/env/bin/python" - <<'PY'
import json
import urllib.request

import gguf
import jinja2.sandbox
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


TEMPLATE = """{% if units is defined %}
list {{ units }}
dictionary {{ limits }}
null {{ nothing }}
default {{ nothing | default('-') }}
format {{ '<%s>' | format(name) }}
remainder {{ -7 % 3 }}
{% endif %}
{% for message in messages %}
{% for call in message.tool_calls or [] %}
call {{ call.function.arguments | tojson }}
{% endfor %}
{{ message.role }} {{ message.content }}
{% endfor %}"""
MESSAGES = [
    {"role": "user", "content": "How far?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"type": "function", "id": "call00001", "function": {"name": "far", "arguments": '{"km": 1.0}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "call00001", "content": "ok"},
]
VALUES = {"units": ["C", "F"], "limits": {"low": 1}, "nothing": None, "name": "x"}


def of_llama():
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.warmup, params.verbosity = (
        "model.gguf",
        512,
        1,
        False,
        0,
    )
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.chat_template = TEMPLATE
    server = xllamacpp.Server(params)
    body = json.dumps({"messages": MESSAGES, "chat_template_kwargs": VALUES}).encode()
    request = urllib.request.Request(
        server.listening_address + "/apply-template", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["prompt"]


def of_jinja2():
    """As transformers renders: arguments are a dictionary, tojson is json.dumps."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    messages = json.loads(json.dumps(MESSAGES))
    messages[1]["tool_calls"][0]["function"]["arguments"] = {"km": 1.0}
    return environment.from_string(TEMPLATE).render(messages=messages, **VALUES)


write_model("model.gguf", gain=0.5)
expected = [
    ("list ['C', 'F']", "list CF"),
    ("dictionary {'low': 1}", "dictionary "),
    ("null None", "null "),
    ("default None", "default -"),
    ("format <x>", "format <%s>"),
    ("remainder 2", "remainder -1"),
    ("user How far?", "user How far?"),
    ('call {"km": 1.0}', 'call {"km": 1}'),
    ("assistant ", "assistant "),
    ("tool ok", "tool ok"),
]
seen = list(zip(of_jinja2().splitlines(), of_llama().splitlines(), strict=True))
for ours, theirs in seen:
    print(f"jinja2: {ours:24} llama.cpp: {theirs}")
assert seen == expected, "changed"
PY
