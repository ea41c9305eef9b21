"""Text of others, harmless for a terminal; sizes in plain units; names that look like a name."""

from collections.abc import Iterable

_KEPT = "\n\t"
"""Control characters that terminals and readers take well."""
# Bidirectional embeddings, overrides and isolates can show a text in another order than it has (CVE-2021-42574).
_BIDI_CONTROLS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))


def _visible(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


_ESCAPES = {
    code: _visible(code)
    # C0, delete and C1, bidirectional controls, and lone surrogates, which no terminal encoding can write.
    for code in (*range(0x20), *range(0x7F, 0xA0), *_BIDI_CONTROLS, *range(0xD800, 0xE000))
    if chr(code) not in _KEPT
}


def plain_text(text: str) -> str:
    r"""Text from a model, a file or a server, made harmless for a terminal.

    Control characters other than newline and tab, ESC among them, and bidirectional controls become visible escapes
    such as `\x1b`. Each character is treated by itself, so pieces of a stream can be passed one by one.
    """
    return text.translate(_ESCAPES)


def one_line(text: str) -> str:
    """Harmless text with every run of white space, newlines included, as a single space."""
    return plain_text(" ".join(text.split()))


def human_bytes(count: float) -> str:
    """A size for people, in binary units: `93.8 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def human_duration(seconds: float) -> str:
    """`42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def nearest(name: str, known: Iterable[str], least_alike: float = 0.55) -> list[str]:
    """Up to three known names that look like `name`, the nearest first.

    Args:
        name: What was written.
        known: What there is.
        least_alike: 0 to 1, as of `difflib`.
    """
    import difflib

    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=least_alike)
    if close:
        return close
    return [candidate for candidate in names if name and name.lower() in candidate.lower()][:3]
