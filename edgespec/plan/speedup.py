"""What drafting brings at given costs and acceptance: Leviathan et al. 2023 (https://arxiv.org/abs/2211.17192), 3.2."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edgespec.decode.costs import PairCosts
from edgespec.decode.draft_length import best_token_s, expected_replay
from edgespec.decode.policy import MAX_DRAFT

_HALVINGS: Final = 40
_PAYS: Final = 1.0 - 1e-9
"""What a token with drafts must cost at most, of a plain step: less of a gain is rounding."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would make a speed-up that was seen elsewhere, at a fixed draft length."""

    speedup: float
    """What was seen, over plain decoding."""
    length: int
    """K: tokens of every draft."""
    acceptance: float | None
    """At the predicted costs; None where no acceptance gives it."""
    worst_speedup: float
    """With nothing accepted."""
    best_speedup: float
    """With everything accepted."""
    draft_step_share: float | None
    """Cost of a draft step, in steps of the target, at the assumed acceptance; None where even a free draft is slower."""
    least_step_share: float
    """The same with nothing accepted: the draft cost at least that much."""
    predicted_step_share: float
    """What a draft step is predicted to cost, in steps of the target."""


def expected_tokens(acceptance: float, length: int) -> float:
    """Tokens of a round that drafts `length`, each accepted with the same probability (equation 1 of the paper).

    1 + a + a^2 + ... + a^K = (1 - a^(K + 1)) / (1 - a)
    """
    if acceptance >= 1.0:
        return length + 1.0
    return float((1.0 - acceptance ** (length + 1)) / (1.0 - acceptance))


@dataclass(frozen=True, slots=True)
class Rollback:
    """What taking wrong guesses back costs beside the passes themselves: nothing where cells are dropped."""

    row_s: float = 0.0
    """Seconds of a row that is read again after a draft that was not all right, by target and draft together."""
    longest: int = MAX_DRAFT
    """Draft that can be taken back at once."""


FREE_ROLLBACK: Final = Rollback()


def pair_rate(costs: PairCosts, acceptance: float, length: int, rollback: Rollback = FREE_ROLLBACK) -> float:
    """Tok/s at a fixed draft length; 0 is plain decoding.

    A round takes `length` draft steps, a target decode of `length + 1` rows, and what is read again of it.

    Args:
        costs: Of the pair, in seconds.
        acceptance: Of every guess, 0 to 1.
        length: Tokens of a draft.
        rollback: What a wrong draft costs beside its rows.
    """
    if not length:
        return 1.0 / costs.step_s
    tokens = expected_tokens(acceptance, length)
    again_s = rollback.row_s * expected_replay(tokens, acceptance**length, length + 1)
    return tokens / (length * costs.draft_step_s + costs.verify_s(length + 1) + again_s)


def predict_rate(costs: PairCosts, acceptance: float, rollback: Rollback = FREE_ROLLBACK) -> float:
    """Tok/s of edgespec's own drafting: that of the best fixed length, if every guess holds with the same chance.

    Acceptance comes in bursts and reading costs time, n-grams and an end at a doubtful guess win it back: with Qwen2.5-Coder
    1.5B and 0.5B (0.75) it says 1.55x and 1.40x on two recorded cost curves, where replays of 65 answers have 1.57x and 1.41x.

    Args:
        costs: Of the pair, in seconds.
        acceptance: Of every guess, 0 to 1.
        rollback: What a wrong draft costs beside its rows, and how long drafts may be.
    """
    drafted_s = best_token_s(costs, costs.draft_step_s, acceptance, rollback.longest, rollback.row_s)
    return 1.0 / (drafted_s if drafted_s < _PAYS * costs.step_s else costs.step_s)


def best_length(costs: PairCosts, acceptance: float, rollback: Rollback = FREE_ROLLBACK) -> int:
    """The fixed draft length with the highest rate, 0 where plain decoding is not beaten."""
    if predict_rate(costs, acceptance, rollback) * costs.step_s <= 1.0:
        return 0
    lengths = range(1, rollback.longest + 1)
    return max(lengths, key=lambda length: pair_rate(costs, acceptance, length, rollback))


def break_even(costs: PairCosts, rollback: Rollback = FREE_ROLLBACK) -> float | None:
    """The acceptance from which drafting beats plain decoding; None where none does."""
    if best_length(costs, 1.0, rollback) == 0:
        return None
    return _solve(lambda acceptance: best_length(costs, acceptance, rollback) > 0)


def explain_speedup(
    costs: PairCosts, speedup: float, acceptance: float, length: int, rollback: Rollback = FREE_ROLLBACK
) -> Explanation:
    """What acceptance or what cost of a draft step would give `speedup` at drafts of `length`.

    Args:
        costs: As predicted.
        speedup: Over plain decoding, as seen elsewhere.
        acceptance: Assumed for the cost of a draft step.
        length: K, 1 or more.
        rollback: What taking back costs.
    """

    def at(share: float) -> float:
        return pair_rate(costs, share, length, rollback) * costs.step_s

    worst, best = at(0.0), at(1.0)
    needed = _solve(lambda share: at(share) >= speedup) if worst <= speedup <= best else None
    verify_steps = costs.verify_s(length + 1) / costs.step_s
    row_steps = rollback.row_s / costs.step_s

    def step_share(accepted: float) -> float:
        tokens = expected_tokens(accepted, length)
        again = row_steps * expected_replay(tokens, accepted**length, length + 1)
        return (tokens / speedup - verify_steps - again) / length

    draft_steps = step_share(acceptance)
    return Explanation(
        speedup,
        length,
        needed,
        worst,
        best,
        draft_steps if draft_steps >= 0 else None,
        max(step_share(0.0), 0.0),
        costs.draft_step_s / costs.step_s,
    )


def _solve(holds: Callable[[float], bool]) -> float:
    """The least share of 0 to 1 at which something holds that then holds for all larger ones."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
