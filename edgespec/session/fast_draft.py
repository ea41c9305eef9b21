"""A faster copy of a draft: Q4_0 throughout, made once and kept in the cache.

A draft's answers are only guesses, so its precision costs acceptance and never the text. On CPUs llama.cpp has its
fastest kernels for Q4_0 (ggml-cpu/repack.cpp), while small published files keep many tensors in Q5_0, Q6_K or Q8_0
because their rows are not a multiple of 256.
"""

import logging
from pathlib import Path

from edgespec.catalog.metadata import GgufMetadata, is_whole
from edgespec.errors import EdgespecError
from edgespec.llama.quantizer import requantize_file
from edgespec.paths import derived_file
from edgespec.progress import SILENT, Progress

log = logging.getLogger(__name__)

FAST_TYPE = "Q4_0"
FAST_BPW = 4.5
"""Bits per weight of Q4_0: 18 bytes for 32 weights."""
WORTH_IT = 1.15
"""The published file must be that many times as large; else its types are fast already. Chosen, not measured."""


def wants_fast_copy(meta: GgufMetadata) -> bool:
    """Whether a Q4_0 copy would be clearly smaller than the file."""
    return meta.bpw > FAST_BPW * WORTH_IT


def find_or_make_fast_copy(path: Path, *, n_threads: int, progress: Progress = SILENT) -> Path:
    """The Q4_0 copy of a draft; the file itself where no copy can be made (the log says why).

    Args:
        path: The draft.
        n_threads: For the conversion.
        progress: Advanced once per tensor.
    """
    copy = derived_file(path, f"{FAST_TYPE.lower()}.gguf")
    if is_whole(copy):
        return copy
    log.info("making a %s copy of %s for drafting: once, a few seconds", FAST_TYPE, path.name)
    try:
        requantize_file(path, copy, FAST_TYPE, n_threads=n_threads, progress=progress)
    except (EdgespecError, OSError) as err:
        log.warning("no %s copy of %s: %s; drafting with the file itself", FAST_TYPE, path.name, err)
        return path
    return copy
