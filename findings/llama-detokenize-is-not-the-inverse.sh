#!/usr/bin/env bash
# llama.cpp b11549 as built in xllamacpp 2026.10.11549, src/llama-vocab.cpp (llama_vocab::impl::detokenize, clean_spaces), gguf
# 0.19.0; Linux. llama-cpp-python 0.3.36 does the same. A vocabulary of single bytes, so nothing is lost in the tokens.
# Guessed: llama_detokenize is what llama.h calls it, the inverse of llama_tokenize, and gives the pieces of
# llama_token_to_piece joined.
# Seen: the pieces joined are the text. llama_detokenize takes blanks away: before . , ! ? and around a lone apostrophe, as for
# English prose, whether it is code or not: x = ' ' becomes x =''. The name of the pre-tokenizer alone decides: llama-bpe (Llama
# 3), gpt-2, starcoder and glm4 lose blanks, qwen2 and smollm do not; no key of the file says so. Join the pieces. Fails when
# this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check xllamacpp==2026.10.11549 gguf==0.19.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" - <<'PY'
import ctypes
import importlib.util

import gguf
import numpy as np

WIDTH, VOCABULARY = 32, 256
POINTER, INT, BOOL = ctypes.c_void_p, ctypes.c_int32, ctypes.c_bool
TEXT = "x = ' ' if a , b else 'it' . c !"
library = ctypes.CDLL(importlib.util.find_spec("xllamacpp.xllamacpp").origin)


class Settings(ctypes.Structure):
    """Room enough for the real structure, of which nothing is looked at."""

    _fields_ = [("room", ctypes.c_uint64 * 64)]


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def quiet(*_):
    pass


def letters():
    """The 256 letters that byte-level vocabularies write for the bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in plain else next(others)) for byte in range(256)]


def write_model(path, pre):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(letters())
    writer.add_token_types([gguf.TokenType.NORMAL] * VOCABULARY)
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(10)
    writer.add_add_bos_token(False)
    rows = {"token_embd": VOCABULARY, "output": VOCABULARY}
    rows |= {f"blk.0.attn_{name}": WIDTH for name in ("q", "k", "v", "output")}
    rows |= {f"blk.0.ffn_{name}": WIDTH for name in ("gate", "up", "down")}
    for name, count in rows.items():
        writer.add_tensor(f"{name}.weight", np.ones((count, WIDTH), np.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def function(name, result, *arguments):
    found = getattr(library, f"llama_{name}")
    found.restype, found.argtypes = result, arguments
    return found


def there_and_back(pre):
    """The text of the pieces joined, and that of llama_detokenize."""
    write_model("model.gguf", pre)
    parameters = function("model_default_params", Settings)()
    model = function("model_load_from_file", POINTER, ctypes.c_char_p, Settings)(b"model.gguf", parameters)
    assert model
    vocabulary = function("model_get_vocab", POINTER, POINTER)(model)
    tokens, room = (INT * 100)(), ctypes.create_string_buffer(400)
    tokenize = function("tokenize", INT, POINTER, ctypes.c_char_p, INT, POINTER, INT, BOOL, BOOL)
    count = tokenize(vocabulary, TEXT.encode(), len(TEXT), tokens, 100, False, False)
    to_piece = function("token_to_piece", INT, POINTER, INT, ctypes.c_char_p, INT, INT, BOOL)
    pieces = b""
    for token in tokens[:count]:
        length = to_piece(vocabulary, token, room, 400, 0, False)
        pieces += room.raw[:length]
    length = function("detokenize", INT, POINTER, POINTER, INT, ctypes.c_char_p, INT, BOOL, BOOL)(
        vocabulary, tokens, count, room, 400, False, False
    )
    return pieces.decode(), room.raw[:length].decode()


function("log_set", None, type(quiet), POINTER)(quiet, None)
print("text:", TEXT)
for pre, is_same in (
    ("llama-bpe", False),
    ("gpt-2", False),
    ("starcoder", False),
    ("glm4", False),
    ("qwen2", True),
    ("smollm", True),
):
    pieces, text = there_and_back(pre)
    print(f"{pre}: {text}")
    assert pieces == TEXT and (text == TEXT) == is_same, "changed"
PY
