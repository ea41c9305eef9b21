"""Secrets that notice when somebody compares them byte by byte, which takes the longer the more of a guess is right."""


class Watched(bytes):
    """Bytes for `hmac.compare_digest` alone."""

    def _refuse(self, _other: object) -> bool:
        raise AssertionError("a secret is compared in a time that tells how much of a guess is right")

    __eq__ = __ne__ = __lt__ = __contains__ = _refuse  # type: ignore[assignment]
    startswith = endswith = _refuse  # type: ignore[assignment]
    __hash__ = bytes.__hash__


class WatchedText(str):
    """A text whose bytes are watched."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Its bytes."""
        return Watched(super().encode(encoding, errors))

    def _refuse(self, _other: object) -> bool:
        raise AssertionError("a secret is compared in a time that tells how much of a guess is right")

    __eq__ = __ne__ = __lt__ = __contains__ = _refuse  # type: ignore[assignment]
    startswith = endswith = _refuse  # type: ignore[assignment]
    __hash__ = str.__hash__
