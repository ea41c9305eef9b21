"""The text of a token as bytes, comparable between tokenizers that store it differently."""

import re
from typing import Final

from edgespec.catalog.metadata import GgufMetadata

TEXT_MODELS: Final = frozenset({"gpt2", "llama", "t5", "gemma4"})
"""Tokenizers whose stored text we can turn into bytes."""

_UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 2, 3, 4, 5, 6
"""`llama_token_type` of llama.h, which `tokenizer.ggml.token_type` lists."""
_BYTE_TOKEN = re.compile(rb"<0x([0-9A-Fa-f]{2})>")
_SPACE_MARK = "\u2581".encode()
_SPECIAL_PREFIX = b"\x00special\x00"


def token_keys(model: GgufMetadata) -> list[bytes | None]:
    r"""One key for each token id; two tokens with one key write the same bytes. None where a token writes nothing.

    Control and user-defined tokens have keys of their own kind, so that `<|im_end|>` the control token
    never meets the ten characters. A byte token's key is also that of the character, when no other token has it.

    `\u0120the` of a BPE vocabulary and `\u2581the` of SentencePiece both have the key `b" the"`, and `<0x0A>` has `b"\n"`.

    Returns:
        `[n_vocab]`, by token id.
    """
    stored = model.fields.get("tokenizer.ggml.token_type")
    token_types = stored if isinstance(stored, list) else []
    tokens = model.tokens
    if len(token_types) != len(tokens):
        token_types = [1] * len(tokens)
    byte_level = model.tokenizer_model == "gpt2"
    return [_key(text, kind, byte_level) for text, kind in zip(tokens, token_types, strict=True)]


def _key(text: bytes, kind: int, byte_level: bool) -> bytes | None:
    if kind in (_CONTROL, _USER_DEFINED):
        return _SPECIAL_PREFIX + text
    if kind in (_UNKNOWN, _UNUSED):
        return None
    if kind == _BYTE:
        match = _BYTE_TOKEN.fullmatch(text)
        return bytes([int(match[1], 16)]) if match else text
    if byte_level:
        return _from_byte_level(text)
    return text.replace(_SPACE_MARK, b" ")


def _from_byte_level(text: bytes) -> bytes:
    try:
        return text.decode("utf-8").translate(_BYTE_OF_CHARACTER).encode("latin-1")
    except UnicodeError:
        return text  # not of the byte-level alphabet: stored as it is


def _byte_level_alphabet() -> dict[int, int]:
    # GPT-2's bytes_to_unicode, inverted: printable bytes stand for themselves, the rest follow from U+0100.
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: byte for byte in printable}
    others = (byte for byte in range(0x100) if byte not in table)
    return table | {0x100 + index: byte for index, byte in enumerate(others)}


_BYTE_OF_CHARACTER: Final = _byte_level_alphabet()
