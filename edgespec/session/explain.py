"""Says plainly whether speculation was on or off, and why."""

from edgespec.decode.policy import Mode
from edgespec.decode.token import GenerationStats, Source


def explain(mode: Mode, draft_name: str | None, stats: GenerationStats) -> str:
    """One sentence about an answer."""
    if mode is Mode.OFF:
        return "speculation off: as asked"
    parts = []
    for source, label in ((Source.MODEL, draft_name or "the draft"), (Source.NGRAM, "the text itself")):
        tested, accepted = stats.by_source.get(source, (0, 0))
        if tested:
            parts.append(f"{accepted} of {tested} tokens from {label} accepted")
    if parts:
        return "speculation on: " + ", ".join(parts)
    if mode is Mode.NGRAM:
        return "speculation off: nothing in the text repeated itself enough to pay"
    if draft_name is None:
        return "speculation off: no draft model on disk, and the text did not repeat itself"
    return f"speculation off: at this text's acceptance {draft_name} would cost more than it brings"
