"""What makes a draft faster: a copy in Q4_0 throughout, made once and kept in the cache, and a shortlist of tokens.

A draft's answers are only guesses, so its precision costs acceptance and never the text. On CPUs llama.cpp has its
fastest kernels for Q4_0 (ggml-cpu/repack.cpp), while small published files keep many tensors in Q5_0, Q6_K or Q8_0
because their rows are not a multiple of 256.
"""

import logging
from dataclasses import replace
from pathlib import Path

from edgespec.catalog.derived import find_or_make
from edgespec.catalog.metadata import GgufMetadata
from edgespec.catalog.model_file import ModelFile, open_file
from edgespec.errors import EdgespecError
from edgespec.llama.library import default_threads
from edgespec.llama.placement import Placement
from edgespec.llama.quantizer import requantize_file
from edgespec.llama.shortlist import Shortlist, shortlist_for
from edgespec.paths import derived_file
from edgespec.progress import SILENT, Progress
from edgespec.session.settings import DraftType, EngineSettings

log = logging.getLogger(__name__)

SHORTLIST_KEY, SHORTLIST_EXTRA_KEY = "edgespec.shortlist.frequent", "edgespec.shortlist.extra"
"""Of a file that was made to draft: how many leading tokens it may guess, and which others."""
FAST_TYPE = "Q4_0"
FAST_BPW = 4.5
"""Bits per weight of Q4_0: 18 bytes for 32 weights."""
WORTH_A_COPY = 1.15
"""The published file must be that many times as large; else its types are fast already. Chosen, not measured."""


def wants_fast_copy(meta: GgufMetadata) -> bool:
    """Whether a Q4_0 copy would be clearly smaller than the file."""
    return meta.bpw > FAST_BPW * WORTH_A_COPY


def find_or_make_fast_copy(path: Path, *, n_threads: int, progress: Progress = SILENT) -> Path:
    """The Q4_0 copy of a draft; the file itself where no copy can be made (the log says why).

    Args:
        path: The draft.
        n_threads: For the conversion.
        progress: Advanced once per tensor.
    """
    copy = derived_file(path, f"{FAST_TYPE.lower()}.gguf")

    def make() -> None:
        log.info("making a %s copy of %s for drafting: once, a few seconds", FAST_TYPE, path.name)
        requantize_file(path, copy, FAST_TYPE, n_threads=n_threads, progress=progress)

    try:
        return find_or_make(copy, make, progress)
    except (EdgespecError, OSError) as err:
        log.warning("no %s copy of %s: %s; drafting with the file itself", FAST_TYPE, path.name, err)
        return path


def choose_draft_file(
    file: ModelFile, placement: Placement, settings: EngineSettings, progress: Progress = SILENT
) -> ModelFile:
    """The file itself, or a copy of it that drafts faster here.

    Args:
        file: The draft that was named.
        placement: Where it goes: copies pay on the CPU alone.
        settings: May want the file as it is.
        progress: Gets a stage for making a copy.
    """
    if settings.draft_type is not DraftType.AUTO or placement.gpu_layers or not wants_fast_copy(file.meta):
        return file
    progress.stage(f"preparing {file.name}", len(file.meta.tensors))
    n_threads = settings.n_threads or default_threads()
    copy = find_or_make_fast_copy(file.path, n_threads=n_threads, progress=progress)
    if copy == file.path:
        return file
    return replace(open_file(file.name, copy), name=f"{file.name} (Q4_0 copy)")


def shortlist_of(meta: GgufMetadata) -> Shortlist | None:
    """The tokens that a draft in Q4_0 may guess: those that its file lists, else the usual ones; None for all of them."""
    frequent, extra = meta.fields.get(SHORTLIST_KEY), meta.fields.get(SHORTLIST_EXTRA_KEY)
    if not isinstance(frequent, int) or frequent < 1:
        return shortlist_for(meta.vocab_size)
    listed = [token for token in extra if isinstance(token, int)] if isinstance(extra, list) else []
    return shortlist_for(meta.vocab_size, frequent, listed)
