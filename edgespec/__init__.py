"""edgespec: faster offline inference with llama.cpp, by pairing, pruning and measuring.

    from edgespec import open_pair

    with open_pair("qwen2.5-coder") as session:
        for token in session.stream("Write a haiku about edges."):
            print(token.text, end="")
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgespec.session import Session as Session
    from edgespec.session import open_pair as open_pair

try:
    __version__ = version("edgespec")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["Session", "__version__", "open_pair"]


def __getattr__(name: str) -> Any:
    # Late, so that `edgespec --help` imports neither llama_cpp nor numpy.
    if name in {"Session", "open_pair"}:
        from edgespec import session

        return getattr(session, name)
    raise AttributeError(f"module 'edgespec' has no attribute {name!r}")
