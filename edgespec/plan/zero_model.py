"""Models of zeros, to time a machine with before there is a model on it.

Their architecture is plain Llama's: every kernel, thread and device does what it does for a real one. The zeros are
written out, because holes of a file are mapped in small pages and read at half the speed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgespec.catalog.gguf_types import BLOCKS

if TYPE_CHECKING:
    import gguf

_HEAD: Final = 64
_HEADS_PER_KV_HEAD: Final = 4
_VOCAB: Final = 256
_CONTEXT: Final = 512
_CHUNK_BYTES: Final = 16 * 2**20


@dataclass(frozen=True, slots=True)
class ZeroModel:
    """A Llama whose weights are all zero, without a tokenizer: heads of 64, a quarter as many KV heads."""

    ggml_type: str
    """Of all matrices, such as `Q4_K`."""
    blocks: int
    width: int
    """Of the residual stream; a multiple of 64 and of the type's block."""
    hidden: int
    """Neurons of the feed-forward network; a multiple of the type's block."""

    @property
    def n_bytes(self) -> int:
        """Of the matrices of all blocks: what a decode reads, but for an embedding and output of 256 tokens."""
        return self.blocks * sum(self._row_bytes(columns) * rows for _, rows, columns in self._matrices())

    def write(self, path: Path) -> None:
        """Writes the file.

        Raises:
            OSError: It cannot be written.
        """
        import gguf

        writer = gguf.GGUFWriter(path, "llama")
        self._describe(writer)
        self._add_tensor(writer, "token_embd.weight", _VOCAB, self.width)
        for block in range(self.blocks):
            self._add_norm(writer, f"blk.{block}.attn_norm.weight")
            self._add_norm(writer, f"blk.{block}.ffn_norm.weight")
            for name, rows, columns in self._matrices():
                self._add_tensor(writer, f"blk.{block}.{name}.weight", rows, columns)
        self._add_norm(writer, "output_norm.weight")
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        align = writer.data_alignment
        padded_bytes = sum(writer.ggml_pad(info.nbytes, align) for info in writer.tensors[0].values())
        writer.close()
        with path.open("r+b") as file:
            left = writer.ggml_pad(file.seek(0, 2), align) + padded_bytes - file.tell()
            while left:
                left -= file.write(bytes(min(left, _CHUNK_BYTES)))

    def _matrices(self) -> Iterator[tuple[str, int, int]]:
        """Of a block: name, rows (outputs) and columns (inputs)."""
        kv_width = _HEAD * max(self.width // _HEAD // _HEADS_PER_KV_HEAD, 1)
        yield "attn_q", self.width, self.width
        yield "attn_k", kv_width, self.width
        yield "attn_v", kv_width, self.width
        yield "attn_output", self.width, self.width
        yield "ffn_gate", self.hidden, self.width
        yield "ffn_up", self.hidden, self.width
        yield "ffn_down", self.width, self.hidden

    def _describe(self, writer: "gguf.GGUFWriter") -> None:
        heads = self.width // _HEAD
        writer.add_block_count(self.blocks)
        writer.add_context_length(_CONTEXT)
        writer.add_embedding_length(self.width)
        writer.add_feed_forward_length(self.hidden)
        writer.add_head_count(heads)
        writer.add_head_count_kv(max(heads // _HEADS_PER_KV_HEAD, 1))
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_dimension_count(_HEAD)
        writer.add_tokenizer_model("no_vocab")
        writer.add_vocab_size(_VOCAB)

    def _add_tensor(self, writer: "gguf.GGUFWriter", name: str, rows: int, columns: int) -> None:
        import gguf
        import numpy as np

        row_bytes = self._row_bytes(columns)
        kind = gguf.GGMLQuantizationType[self.ggml_type]
        writer.add_tensor_info(name, (rows, row_bytes), np.dtype(np.uint8), rows * row_bytes, raw_dtype=kind)

    def _add_norm(self, writer: "gguf.GGUFWriter", name: str) -> None:
        import numpy as np

        writer.add_tensor_info(name, (self.width,), np.dtype(np.float32), 4 * self.width)

    def _row_bytes(self, columns: int) -> int:
        weights, n_bytes = BLOCKS[self.ggml_type]
        return columns // weights * n_bytes
