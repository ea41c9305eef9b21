"""What an answer cost, in words: while it comes, and below it when it is there."""

import math
from collections.abc import Mapping

from edgespec.bench.result import BenchResult
from edgespec.bench.summary import arm_name, arm_named
from edgespec.session.explain import receipt
from edgespec.text import human_bytes
from edgespec.worker.protocol import Answered, PairOpened, TokensArrived
from edgespec.worker.remote.figures import remote_receipt
from tui.chat.conversation import Receipt
from tui.common.fitting import fitting
from tui.common.wording import rate_of


def answer_receipt(
    answered: Answered, pair: PairOpened | None = None, race_gain: float | None = None
) -> Receipt:
    """The receipt of an answer, memory included, and what the same way of drafting brought in a race, if one was run.

    Args:
        answered: The answer.
        pair: What wrote it; of a server, only what it tells is known.
        race_gain: Of `race_gain`.
    """
    if pair is not None and pair.server:
        return Receipt(f"{remote_receipt(answered.stats)} · at {pair.server}", answered.stats.why)
    measured = "" if race_gain is None else f" · {race_gain:.2f}x plain in the last race (measured)"
    figures = f"{receipt(answered.stats)}{measured} · {human_bytes(answered.memory_bytes)}"
    return Receipt(figures, answered.stats.why)


def race_gain(pair: PairOpened | None, races: Mapping[str, BenchResult]) -> float | None:
    """What the arm of the pair's present mode brought in the last race of its target; None when it has run none."""
    raced = races.get(pair.target) if pair else None
    if pair is None or raced is None:
        return None
    arm = arm_named(raced, arm_name(pair.mode, pair.draft))
    return arm.speedup if arm is not None and math.isfinite(arm.speedup) else None


def live_line(tokens: TokensArrived, width: int) -> str:
    """The figures of an answer that is under way, as many as a row of that width holds."""
    rate = rate_of(tokens)
    is_counted = tokens.predicted_n > 0
    thinks = tokens.thought_n == tokens.predicted_n if is_counted else not tokens.pieces
    parts = ["thinking" if thinks else "answering"]
    if is_counted:
        parts.append(f"{tokens.predicted_n} tokens")
    if rate:
        parts.append(f"{rate:.1f} tok/s")
        if tokens.speedup and tokens.draft_n:
            parts.append(f"{tokens.speedup:.2f}x plain (estimated)")
    if tokens.draft_n:
        parts.append(f"{tokens.draft_n_accepted / tokens.draft_n:.0%} accepted")
    return fitting(parts, width)
