"""Says what an answer cost, and whether speculation was on or off, and why."""

from edgespec.decode.policy import Mode
from edgespec.decode.token import DraftSource, GenerationStats

_REPLAY = "(this model's memory goes back only to where a draft began, and what was right in a wrong one is read again)"


def explain(
    mode: Mode, draft_name: str | None, stats: GenerationStats, *, replays: bool = False, unmeasured: str = ""
) -> str:
    """One sentence about an answer: whether speculation was on or off, and why.

    Args:
        mode: What might draft.
        draft_name: Of the model that might; None without one.
        stats: Of the answer.
        replays: Whether the target reads again what was right in a draft of which something was wrong.
        unmeasured: Why only plain steps were timed; empty where all was.
    """
    if mode is Mode.OFF:
        return "speculation off: as asked"
    parts = []
    for source, label in (
        (DraftSource.MODEL, draft_name or "the draft"),
        (DraftSource.NGRAM, "the text itself"),
        (DraftSource.GRAMMAR, "the grammar"),
    ):
        tested, accepted = stats.by_source.get(source, (0, 0))
        if tested:
            parts.append(f"{accepted} of {tested} tokens from {label} accepted")
    if parts:
        return "speculation on: " + ", ".join(parts)
    if unmeasured:
        return f"speculation off: {unmeasured}"
    price = f" {_REPLAY}" if replays else ""
    if mode is Mode.NGRAM:
        return f"speculation off: nothing in the text repeated itself enough to pay{price}"
    if draft_name is None:
        return f"speculation off: no draft model on disk, and the text did not repeat itself enough to pay{price}"
    return f"speculation off: at this text's acceptance {draft_name} would cost more than it brings{price}"


def describe_speedup(speedup: float, stats: GenerationStats) -> str:
    """An estimated speed-up in words, with the reason where it is a rough one.

    Args:
        speedup: Times plain decoding.
        stats: Of the answer.
    """
    if stats.is_disturbed:
        return f"~{speedup:.1f}x plain (roughly: other programs are busy, passes vary by {stats.pass_deviation:.0%})"
    return f"{speedup:.2f}x plain (estimated)"


def receipt(stats: GenerationStats) -> str:
    """The figures of an answer in one line."""
    thought = f" ({stats.thought_n} of thought)" if stats.thought_n else ""
    parts = [f"{stats.predicted_n} tokens{thought}", f"{stats.tok_per_s:.1f} tok/s"]
    if stats.estimated_speedup and stats.draft_n:
        parts.append(describe_speedup(stats.estimated_speedup, stats))
    if stats.acceptance is not None:
        parts.append(f"{stats.acceptance:.0%} accepted ({stats.draft_n_accepted}/{stats.draft_n})")
        parts.append(f"mean length {stats.mean_accepted_len or 1:.2f}")
    parts.append(f"TTFT {stats.ttft_s:.2f} s")
    parts.append(f"prompt {stats.prompt_tok_per_s:.0f} tok/s")
    return " · ".join(parts)
