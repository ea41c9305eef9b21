"""What llama.cpp would take to compute in a context, asked of llama.cpp itself: no weights are read, no cache is made."""

import re
from pathlib import Path
from typing import Final

from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.library import load_library, native_lines
from edgespec.llama.model import Model
from edgespec.llama.native_context import NativeContext
from edgespec.llama.placement import Placement

_COMPUTE: Final = re.compile(r"compute buffer size = +([\d.]+) MiB")
"""`llama_context::sched_reserve` says it for every backend; the function that gives the number is C++ (llama-ext.h)."""


def reserved_bytes(path: Path, settings: ContextSettings, placement: Placement | None = None) -> int | None:
    """Bytes of the buffers in which batches are computed, on all devices.

    llama.cpp plans the graph of its largest batch with dummies for the weights and for the KV cache (`no_alloc` of
    llama.h, which its own tools use to fit a model to a machine). Recurrent states alone are made, and freed at once.

    Args:
        path: The model's file; of a split model the first part. Its header, vocabulary included, is read.
        settings: Of the context.
        placement: Where its layers would go; None for the CPU.

    Returns:
        Bytes, to a hundredth of a MiB; None where llama.cpp does not tell them.

    Raises:
        ModelFileError: llama.cpp cannot load the file.
        NotEnoughMemoryError: there is no room for the recurrent states.
        UsageError: the model cannot have such a cache.
        EngineError: another refusal, in llama.cpp's words.
    """
    load_library()
    lines: list[str] = []
    with (
        native_lines(lines.append),
        Model(path, placement, weights=False) as model,
        NativeContext(model, settings),
    ):
        pass
    sizes = [float(found[1]) for line in lines if (found := _COMPUTE.search(line))]
    return round(sum(sizes) * 2**20) if sizes else None
