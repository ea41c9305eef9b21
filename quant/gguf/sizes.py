"""What a model's weights count: those of its blocks, and the bytes that decoding reads."""

from collections.abc import Mapping

from edgespec.catalog.metadata import GgufMetadata


def block_parameters(meta: GgufMetadata) -> int:
    """Weights inside the blocks, without embeddings and output."""
    return sum(tensor.n_elements for tensor in meta.tensors if tensor.name.startswith("blk."))


def bytes_read_per_token(sizes: Mapping[str, int]) -> int:
    """Bytes of weights that decoding one token at batch 1 reads.

    Every weight once. A tied embedding table is the output matrix too and is read whole; of an untied one a token reads
    a single row, which is left out.

    Args:
        sizes: Bytes of a model's tensors, by name.
    """
    unread = {"token_embd.weight"} if "output.weight" in sizes else set()
    return sum(size for name, size in sizes.items() if name not in unread)
