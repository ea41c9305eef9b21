"""What a GGUF file says about its model, read from the header alone (split files included)."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard

from edgespec.catalog import gguf_types as types
from edgespec.catalog.gguf_fields import Fields
from edgespec.catalog.gguf_header import TensorInfo, read_header
from edgespec.catalog.split_files import check_split, split_parts
from edgespec.catalog.weights_check import check_weights
from edgespec.errors import EdgespecError

__all__ = ["GgufMetadata", "TensorInfo", "read_metadata"]

# llama.cpp's own defaults where a file does not say (`llama_vocab::impl::load` in src/llama-vocab.cpp).
_ADD_BOS_MODELS = frozenset({"llama", "bert"})
_ADD_BOS_PRE = frozenset(
    {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"}
    | {"tekken", "chameleon"}
)
_DEFAULT_BOS: Mapping[str, int] = {"llama": 1, "bert": 101, "gpt2": 11, "plamo2": 1}
_DEFAULT_EOS: Mapping[str, int] = {"llama": 2, "gpt2": 11, "t5": 1, "plamo2": 2}


@dataclass(frozen=True, slots=True)
class GgufMetadata:
    """The header of a GGUF model; for a split model, of all its parts taken together.

    Properties read the fields lazily; a key that the file lacks gives None (or the default that
    llama.cpp takes, where the docstring says so).
    """

    path: Path
    """The file, or the first part of a split model (the one that llama.cpp wants)."""
    version: int
    fields: Mapping[str, object]
    tensors: tuple[TensorInfo, ...]
    alignment: int
    """Bytes; every tensor begins at a multiple of it."""
    data_offset: int
    """Where the first file's weights start."""
    file_bytes: int
    """Sum over the parts."""
    parts: tuple[Path, ...] = ()
    """All files of a split model, in order; empty for a single file."""

    @property
    def architecture(self) -> str:
        """`general.architecture`; empty when the file does not say (llama.cpp then refuses it)."""
        return self._text("general.architecture") or ""

    @property
    def name(self) -> str:
        """The model's own name, else the file's."""
        return self._text("general.name") or self.path.stem

    @property
    def block_count(self) -> int | None:
        """Transformer blocks."""
        return self._integer("block_count")

    @property
    def context_length(self) -> int | None:
        """Tokens that the model was trained for."""
        return self._integer("context_length")

    @property
    def embedding_length(self) -> int | None:
        """Width of the residual stream."""
        return self._integer("embedding_length")

    @property
    def head_count(self) -> int | list[int] | None:
        """Attention heads, or one number for each block."""
        return self._integer_or_list("attention.head_count")

    @property
    def head_count_kv(self) -> int | list[int] | None:
        """KV heads, or one number for each block; `head_count` when the file does not say."""
        value = self._integer_or_list("attention.head_count_kv")
        return self.head_count if value is None else value

    @property
    def key_length(self) -> int | None:
        """Width of a head's key: the field, else embedding_length / head_count."""
        return self._head_length("attention.key_length")

    @property
    def value_length(self) -> int | None:
        """Width of a head's value: the field, else embedding_length / head_count."""
        return self._head_length("attention.value_length")

    @property
    def expert_count(self) -> int:
        """Experts of a mixture; 0 for a dense model."""
        return self._integer("expert_count") or 0

    @property
    def expert_used_count(self) -> int:
        """Experts that one token wakes in a block; 0 for a dense model."""
        return self._integer("expert_used_count") or 0

    @property
    def vocab_size(self) -> int:
        """Tokens in the vocabulary; 0 for a file without one."""
        if isinstance(self.fields, Fields):
            n_tokens = self.fields.array_length("tokenizer.ggml.tokens")
        else:
            n_tokens = len(self.tokens)
        return n_tokens or self._integer("vocab_size") or 0

    @property
    def tokens(self) -> list[bytes]:
        """Token texts as stored (BPE files store the byte-level alphabet, SentencePiece files use U+2581)."""
        if isinstance(self.fields, Fields):
            return self.fields.raw_strings("tokenizer.ggml.tokens")
        stored = self.fields.get("tokenizer.ggml.tokens", [])
        return [str(text).encode() for text in stored] if isinstance(stored, list) else []

    @property
    def chat_template(self) -> str | None:
        """The model's own Jinja template."""
        return self._text("tokenizer.chat_template")

    @property
    def tokenizer_model(self) -> str | None:
        """`gpt2` (BPE), `llama` (SentencePiece), `bert`, `t5`, ..."""
        return self._text("tokenizer.ggml.model")

    @property
    def tokenizer_pre(self) -> str | None:
        """The pre-tokenizer of a BPE vocabulary."""
        return self._text("tokenizer.ggml.pre")

    @property
    def bos_id(self) -> int | None:
        """First token of a text: the field, else llama.cpp's default for the tokenizer."""
        return self._special_id("tokenizer.ggml.bos_token_id", _DEFAULT_BOS)

    @property
    def eos_id(self) -> int | None:
        """Last token of a text: the field, else llama.cpp's default for the tokenizer."""
        return self._special_id("tokenizer.ggml.eos_token_id", _DEFAULT_EOS)

    @property
    def add_bos(self) -> bool:
        """Whether texts start with `bos_id`: the field, else llama.cpp's default (src/llama-vocab.cpp)."""
        stored = self.fields.get("tokenizer.ggml.add_bos_token")
        if isinstance(stored, bool):
            return stored
        return self.tokenizer_model in _ADD_BOS_MODELS or self.tokenizer_pre in _ADD_BOS_PRE

    @property
    def add_eos(self) -> bool:
        """Whether texts end with `eos_id`: the field, else llama.cpp's default (src/llama-vocab.cpp)."""
        stored = self.fields.get("tokenizer.ggml.add_eos_token")
        return stored if isinstance(stored, bool) else self.tokenizer_model == "t5"

    @property
    def parameter_count(self) -> int:
        """Weights, counted from the tensors."""
        return sum(tensor.n_elements for tensor in self.tensors)

    @property
    def weights_bytes(self) -> int:
        """Bytes of all tensors, without header and padding."""
        return sum(tensor.n_bytes for tensor in self.tensors)

    @property
    def bpw(self) -> float:
        """Mean bits per weight; 0 for a file without tensors."""
        count = self.parameter_count
        return 8 * self.weights_bytes / count if count else 0.0

    @property
    def quantization(self) -> str:
        """`Q4_K_M` and the like: `general.file_type`, else the type that holds most bytes."""
        file_type = self.fields.get("general.file_type")
        if isinstance(file_type, int):
            label = types.FILE_TYPES.get(file_type & ~types.FILE_TYPE_GUESSED)
            if label is not None:
                return label
        by_type: Counter[str] = Counter()
        for tensor in self.tensors:
            by_type[tensor.ggml_type] += tensor.n_bytes
        return by_type.most_common(1)[0][0] if by_type else "unknown"

    def _text(self, key: str) -> str | None:
        value = self.fields.get(key)
        return value if isinstance(value, str) else None

    def _architecture_field(self, suffix: str) -> object:
        return self.fields.get(f"{self.architecture}.{suffix}")

    def _integer(self, suffix: str) -> int | None:
        value = self._architecture_field(suffix)
        return value if _is_integer(value) else None

    def _integer_or_list(self, suffix: str) -> int | list[int] | None:
        value = self._architecture_field(suffix)
        if isinstance(value, list):
            return value if all(map(_is_integer, value)) else None
        return value if _is_integer(value) else None

    def _head_length(self, suffix: str) -> int | None:
        stored = self._integer(suffix)
        if stored is not None:
            return stored
        heads, width = self.head_count, self.embedding_length
        most = max(heads, default=0) if isinstance(heads, list) else heads
        return width // most if width and most else None

    def _special_id(self, key: str, defaults: Mapping[str, int]) -> int | None:
        stored = self.fields.get(key)
        if isinstance(stored, int) and 0 <= stored < self.vocab_size:
            return stored
        default = defaults.get(self.tokenizer_model or "")
        return default if default is not None and default < self.vocab_size else None


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def is_whole(path: Path) -> bool:
    """Whether there is a GGUF file, in all its parts, whose header can be read and whose tensors are all there."""
    try:
        read_metadata(path)
    except (EdgespecError, OSError):
        return False
    return True


def read_metadata(path: Path) -> GgufMetadata:
    """Read the header of a GGUF model, of every part where it is split (`-00001-of-00003.gguf`).

    Any part may be named; the result's `path` is the first one.

    Raises:
        ModelMissingError: There is no such file.
        ModelFileError: Not a GGUF, an unsupported version, a damaged or truncated file, a missing part, a header that
            disagrees with the weights.
    """
    files = split_parts(path)
    headers = [read_header(file) for file in files]
    first = headers[0]
    check_split(first, len(files))
    meta = GgufMetadata(
        path=first.path,
        version=first.version,
        fields=first.fields,
        tensors=tuple(
            replace(tensor, part=part) for part, header in enumerate(headers) for tensor in header.tensors
        )
        if len(headers) > 1
        else first.tensors,
        alignment=first.alignment,
        data_offset=first.data_offset,
        file_bytes=sum(header.file_bytes for header in headers),
        parts=tuple(files) if len(files) > 1 else (),
    )
    check_weights(meta.path, meta.architecture, meta.fields, meta.tensors)
    return meta
