"""What is believed of a chance, and how sure that is: log-odds as a sum of terms, each with an uncertainty of its own.

A term stands for one thing that the chance may depend on, such as the bucket of a lead or the answer at hand. An
outcome moves every term by its share of the uncertainty: what is well known hardly, what is new a lot. This is
logistic regression by an extended Kalman filter with a diagonal covariance; the mean over the uncertainty is MacKay's
(1992, "The Evidence Framework Applied to Classification Networks", eq. 9).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_VARIANCE = 0.02
"""A term that is kept never becomes surer than this, so that it can follow a text or a file that changes: a memory of
about 1 / (0.02 * 0.2) = 250 outcomes at a chance of 0.7. Replays are the same to a percent from 0.005 to 0.05."""
_SPREAD = math.pi / 8
_FAR = 30.0
"""Log-odds beyond which a chance is 0 or 1 in double precision's own terms."""


@dataclass(slots=True)
class Term:
    """One summand of a chance's log-odds: a normal distribution."""

    mean: float
    variance: float


Terms = Sequence[Term]


def sigmoid(log_odds: float) -> float:
    """The chance at these log-odds: 0.5 at 0, 0.73 at 1."""
    return 1.0 / (1.0 + math.exp(-min(max(log_odds, -_FAR), _FAR)))


def log_odds(chance: float) -> float:
    """The inverse of `sigmoid`, of a chance above 0 and below 1."""
    return math.log(chance / (1.0 - chance))


def expected_chance(terms: Terms) -> float:
    """The mean chance, 0 to 1: nearer to 0.5 the less is known.

    A single term with a mean of 1 and no variance gives 0.73, with a variance of 2 0.68.
    """
    mean = variance = 0.0
    for term in terms:
        mean += term.mean
        variance += term.variance
    return sigmoid(mean / math.sqrt(1.0 + _SPREAD * variance))


def learn(terms: Terms, held: bool) -> None:
    """Takes in an outcome of the chance that the terms add up to."""
    mean = variance = 0.0
    for term in terms:
        mean += term.mean
        variance += term.variance
    chance = sigmoid(mean)
    information = chance * (1.0 - chance)
    weight = 1.0 + information * variance
    step = (held - chance) / weight
    for term in terms:
        term.mean += term.variance * step
        left = term.variance - term.variance * term.variance * information / weight
        term.variance = max(left, min(term.variance, LEAST_VARIANCE))
