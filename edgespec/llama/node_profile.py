"""Where edgespec's kernels spend the time of a pass (`native/profile.h`)."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from edgespec.errors import EngineError
from edgespec.llama.library import ggml_function, load_library

_WHOLE = "graph"
"""What the whole pass goes by."""


@dataclass(frozen=True, slots=True)
class NodeTime:
    """Of all steps of a kind, in all layers and passes. Times are the mean of the threads, in seconds."""

    n_steps: int
    computing_s: float
    waiting_s: float
    """For other threads, before the next step."""


@dataclass(slots=True)
class NodeProfile:
    """Times by kinds of steps, such as `ROPE Qcur-`; complete when its `with` block is left."""

    kinds: dict[str, NodeTime] = field(default_factory=dict)
    graph_s: float = 0.0
    """All passes. What the kinds do not add up to, ggml took for nodes of its own and to start the threads."""
    n_graphs: int = 0


@contextmanager
def profiled_nodes() -> Iterator[NodeProfile]:
    """Measures all passes of this process while it is entered, which costs them a few microseconds in a hundred.

    Raises:
        EngineError: this build of llama.cpp does not have edgespec's kernels.
    """
    load_library()
    start = ggml_function("edgespec_profile_start", None)
    stop = ggml_function("edgespec_profile_stop", ctypes.c_char_p)
    profile = NodeProfile()
    start()
    try:
        yield profile
    finally:
        text: bytes = stop()
        _read(text.decode(), profile)
    if not profile.n_graphs:
        raise EngineError("nothing was computed by edgespec's kernels", "see `edgespec doctor`")


def _read(text: str, profile: NodeProfile) -> None:
    for line in text.splitlines():
        kind, steps, computing_ns, waiting_ns = line.split("\t")
        time = NodeTime(int(steps), int(computing_ns) / 1e9, int(waiting_ns) / 1e9)
        if kind == _WHOLE:
            profile.graph_s, profile.n_graphs = time.computing_s, time.n_steps
        else:
            profile.kinds[kind] = time
