"""edgespec: faster offline inference with llama.cpp, by pairing, pruning and measuring.

Three lines are enough: `with open_pair("qwen2.5-coder") as session:`, then
`for token in session.stream("Write a haiku about edges."):`, then `print(token.text, end="")`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgespec.session import Session as Session
    from edgespec.session import open_pair as open_pair

    __version__: str

__all__ = ["Session", "__version__", "open_pair"]


def __getattr__(name: str) -> Any:
    # Late, so that `edgespec --help` imports neither llama_cpp nor numpy, nor importlib.metadata (60 ms).
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("edgespec")
        except PackageNotFoundError:  # a source tree that was never installed
            return "0+unknown"
    if name in {"Session", "open_pair"}:
        from edgespec import session

        return getattr(session, name)
    raise AttributeError(f"module 'edgespec' has no attribute {name!r}")
