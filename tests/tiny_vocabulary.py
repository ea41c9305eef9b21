"""The two tokenizers of the tiny models, complete: any text has tokens, and they give the same text back."""

from dataclasses import dataclass, field
from typing import Literal

import gguf

Tokenizer = Literal["spm", "bpe"]

_COMMON = (
    "th",
    "he",
    "in",
    "er",
    "an",
    "re",
    "on",
    "at",
    "en",
    "nd",
    "ti",
    "es",
    "or",
    "te",
    "of",
    "ed",
    "is",
    "it",
)


NEVER_WRITTEN = {int(gguf.TokenType.CONTROL), int(gguf.TokenType.UNKNOWN), int(gguf.TokenType.UNUSED)}


@dataclass(slots=True)
class Vocabulary:
    """Tokens with their kinds, and where the special ones are."""

    model: str
    tokens: list[bytes] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    specials: dict[str, int] = field(default_factory=dict)

    def add(self, token: str, kind: gguf.TokenType, score: float = 0.0) -> int:
        self.tokens.append(token.encode())
        self.types.append(int(kind))
        self.scores.append(score)
        return len(self.tokens) - 1


def tokens_of(tokenizer: Tokenizer, size: int | None = None) -> Vocabulary:
    """The vocabulary of a tokenizer, padded with unused tokens up to `size`.

    Raises:
        ValueError: `size` is below what the tokenizer needs.
    """
    vocabulary = _spm_vocabulary() if tokenizer == "spm" else _bpe_vocabulary()
    _pad(vocabulary, size)
    return vocabulary


def write_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    """Adds it to a file."""
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre("default" if vocabulary.model == "llama" else "gpt-2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.model == "llama":
        writer.add_token_scores(vocabulary.scores)
        writer.add_unk_token_id(vocabulary.specials["unk"])
        # Without it, no space is put before the text, so that text survives the round trip as it is.
        writer.add_add_space_prefix(False)
    else:
        writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(vocabulary.specials["bos"])
    writer.add_eos_token_id(vocabulary.specials["eos"])
    writer.add_add_bos_token(vocabulary.model == "llama")


def _pad(vocabulary: Vocabulary, size: int | None) -> None:
    needed = len(vocabulary.tokens)
    if size is not None and size < needed:
        raise ValueError(f"vocab_size {size} is below the {needed} tokens that this tokenizer needs")
    for index in range((size or needed) - needed):
        vocabulary.add(f"<unused{index}>", gguf.TokenType.UNUSED)


def _pieces(space: str) -> list[tuple[str, str]]:
    """Pairs to merge, in order: every result has its halves earlier in the list or among the characters."""
    pairs = [(pair[0], pair[1]) for pair in _COMMON]
    pairs += [("th", "e"), ("an", "d"), ("in", "g"), ("i", "on"), ("en", "t")]
    pairs += [(space, letter) for letter in "atswi"]
    pairs += [(space, "the"), (space, "and"), (space, "of")]
    return pairs


def _spm_vocabulary() -> Vocabulary:
    vocabulary = Vocabulary("llama")
    vocabulary.specials["unk"] = vocabulary.add("<unk>", gguf.TokenType.UNKNOWN)
    vocabulary.specials["bos"] = vocabulary.add("<s>", gguf.TokenType.CONTROL)
    vocabulary.specials["eos"] = vocabulary.add("</s>", gguf.TokenType.CONTROL)
    for byte in range(256):
        vocabulary.add(f"<0x{byte:02X}>", gguf.TokenType.BYTE)
    space = "\u2581"  # how SentencePiece writes a space
    vocabulary.add(space, gguf.TokenType.NORMAL, score=-1000.0)
    for rank, pair in enumerate(_pieces(space)):
        vocabulary.add("".join(pair), gguf.TokenType.NORMAL, score=-float(rank))
    return vocabulary


def _bpe_vocabulary() -> Vocabulary:
    vocabulary = Vocabulary("gpt2")
    for character in byte_characters():
        vocabulary.add(character, gguf.TokenType.NORMAL)
    for left, right in _pieces(byte_characters()[ord(" ")]):
        vocabulary.add(left + right, gguf.TokenType.NORMAL)
        vocabulary.merges.append(f"{left} {right}")
    end = vocabulary.add("<|endoftext|>", gguf.TokenType.CONTROL)
    vocabulary.specials.update(bos=end, eos=end)
    return vocabulary


def byte_characters() -> list[str]:
    """The printable character that stands for each byte in GPT-2's byte-level BPE (`bytes_to_unicode`, encoder.py)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (chr(0x100 + index) for index in range(256))
    return [chr(byte) if byte in printable else next(others) for byte in range(256)]
