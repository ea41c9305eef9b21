"""What drafts of one length cost a token, if every guess holds with the same chance."""

import math
from collections.abc import Sequence

from edgespec.decode.costs import PairCosts

LEAST_REACH = 0.05
"""Chance that a whole chain holds below which no further guess is looked at: it can bring no more than that many tokens."""


def expected_replay(gained: float, reach: float, rows: int) -> float:
    """Rows that are read again after a pass, where nothing else takes wrong ones back: those that were right, unless all were.

    Args:
        gained: Rows that are right, on the whole.
        reach: Chance that all are.
        rows: Of the pass.
    """
    return gained - reach * rows


def best_token_s(
    costs: PairCosts, step_s: float, acceptance: float, longest: int, row_s: float = 0.0
) -> float:
    """Seconds a token with drafts of the best fixed length of 1 and more.

    Args:
        costs: Of the target's passes.
        step_s: Of one guess.
        acceptance: Of every guess, 0 to 1.
        longest: Draft.
        row_s: Of a row that is read again after a draft that was not all right; 0 where nothing is.
    """
    verify_s = [costs.verify_s(rows) if rows else 0.0 for rows in range(longest + 2)]
    return best_token(verify_s, step_s, acceptance, longest, row_s)


def best_token(
    verify: Sequence[float], step: float, acceptance: float, longest: int, row: float = 0.0
) -> float:
    """The same in any unit of time.

    Args:
        verify: Cost of a pass by its rows, from none on: `longest + 2` of them.
        step: Of one guess.
        acceptance: Of every guess, 0 to 1.
        longest: Draft.
        row: Of a row that is read again after a draft that was not all right.
    """
    best, reach, gained = math.inf, 1.0, 1.0
    for count in range(1, longest + 1):
        reach *= acceptance
        gained += reach
        replay = row * expected_replay(gained, reach, count + 1) if row else 0.0
        best = min(best, (count * step + verify[count + 1] + replay) / gained)
        if reach < LEAST_REACH:
            break
    return best
