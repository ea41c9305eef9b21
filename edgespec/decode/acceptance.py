"""How likely a draft is to be accepted, learnt from everything the target has said so far.

Three tables of decayed counts. Their priors were measured on 39 chat, code and question prompts with
Qwen2.5-Coder 1.5B and 0.5B; a few dozen tokens of the pair in use outweigh them.

- by the draft's own lead in logits (best minus second best): costs two passes over the logits, where a softmax over
  152k entries would cost many times that;
- by the target's recent certainty: known before a single draft token is paid for;
- by the length of an n-gram match and whether other matches agree: learnt at every step, drafted or not.
"""

from bisect import bisect_right
from dataclasses import dataclass, field

DECAY = 0.995
"""Weight of a count after one more observation in the same bucket: a memory of about 1 / (1 - 0.995) = 200."""
PRIOR_WEIGHT = 12.0
"""Observations that a prior is worth: bounds how many of a pair's own tokens it takes to outweigh the prompts that the
priors were measured on."""

_LEAD_EDGES = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Logits between the buckets: a lead of 0.3 is in bucket 1."""
_LEAD_PRIORS = (0.34, 0.45, 0.57, 0.65, 0.78, 0.91, 0.96, 0.99, 0.995)
_CERTAINTY_PRIORS = (0.60, 0.62, 0.64, 0.67, 0.73, 0.81, 0.90, 0.93, 0.95, 0.98)
"""By tenths of certainty."""
_MATCH_EDGES = (3, 4, 5, 6, 8, 11, 16, 24, 40)
"""Tokens between the buckets: a match of 3 is in bucket 1."""
_AGREED_PRIORS = (0.58, 0.65, 0.70, 0.75, 0.82, 0.82, 0.87, 0.89, 0.91, 0.95)
"""Where the other matches were followed by the same token."""
_SPLIT_PRIORS = (0.20, 0.35, 0.40, 0.50, 0.50, 0.50, 0.55, 0.60, 0.70, 0.80)
"""Where one of them was not."""

CERTAIN_LEAD = 6.0
"""A lead of this many logits counts as full certainty: the last edge of the leads, beyond which 0.995 hold."""
_FAST_WEIGHT, _SLOW_WEIGHT = 0.2, 0.05
"""Of a new token in the two averages: memories of about 5 and 20 tokens."""


@dataclass(slots=True)
class RateTable:
    """Acceptance by bucket: decayed counts on top of a prior.

    A bucket whose prior is 0.5 and of which 6 of 8 tokens were accepted has a rate of (0.5 * 12 + 6) / (12 + 8) = 0.6.
    """

    priors: tuple[float, ...]
    accepted: list[float] = field(default_factory=list)
    tested: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        if len(self.accepted) != len(self.priors):
            self.accepted = [0.0] * len(self.priors)
            self.tested = [0.0] * len(self.priors)

    def rate(self, bucket: int) -> float:
        """Acceptance in a bucket, 0 to 1: the posterior mean."""
        return (self.priors[bucket] * PRIOR_WEIGHT + self.accepted[bucket]) / (
            PRIOR_WEIGHT + self.tested[bucket]
        )

    def fade(self, share: float) -> None:
        """Keeps a share, 0 to 1, of what was counted."""
        self.accepted = [count * share for count in self.accepted]
        self.tested = [count * share for count in self.tested]

    def count(self, bucket: int, accepted: bool) -> None:
        """Adds one observation."""
        self.accepted[bucket] = self.accepted[bucket] * DECAY + accepted
        self.tested[bucket] = self.tested[bucket] * DECAY + 1.0


@dataclass(slots=True)
class AnswerRecord:
    """How an answer does against the tables: observed over expected misses, shrunk towards 1.

    Misses, not hits, are scaled: in a text that copies they all but vanish, whatever the table says. With a weight of 2,
    after 2 expected misses and none observed, a table's rate of 0.8 becomes 1 - 0.2 * (0 + 2) / (2 + 2) = 0.9.
    """

    weight: float
    expected_misses: float = 0.0
    misses: float = 0.0

    def count(self, rate: float, accepted: bool) -> None:
        """Adds an outcome that the table gave `rate`."""
        self.expected_misses += 1.0 - rate
        self.misses += not accepted

    def adjust(self, rate: float) -> float:
        """A table's rate as this answer bears it out; never as sure as 0 or 1, which no later outcome could mend."""
        factor = (self.misses + self.weight) / (self.expected_misses + self.weight)
        return min(max(1.0 - (1.0 - rate) * factor, 0.02), 0.995)


@dataclass(slots=True)
class Certainty:
    """The target's certainty, 0 to 1: moving averages of its leads over about 5 and 20 tokens."""

    recent: float = 0.5
    lasting: float = 0.5

    def add(self, lead: float) -> None:
        """Moves both. A sampled token may lie below the best one: its lead is negative and counts as none."""
        share = min(max(lead, 0.0), CERTAIN_LEAD) / CERTAIN_LEAD
        self.recent += _FAST_WEIGHT * (share - self.recent)
        self.lasting += _SLOW_WEIGHT * (share - self.lasting)


@dataclass(slots=True)
class Acceptance:
    """The three tables of a pair. Kept across answers and, with the costs, across runs."""

    by_lead: RateTable = field(default_factory=lambda: RateTable(_LEAD_PRIORS))
    by_certainty: RateTable = field(default_factory=lambda: RateTable(_CERTAINTY_PRIORS))
    agreed_match: RateTable = field(default_factory=lambda: RateTable(_AGREED_PRIORS))
    split_match: RateTable = field(default_factory=lambda: RateTable(_SPLIT_PRIORS))
    guesses_seen: int = 0
    """Model draft tokens tested since the last `begin_answer`."""

    def of_lead(self, lead: float) -> float:
        """Acceptance of a model draft token with this lead, in logits."""
        return self.by_lead.rate(lead_bucket(lead))

    def of_certainty(self, certainty: float) -> float:
        """Acceptance of a model draft token before it is drafted, by the target's certainty, 0 to 1."""
        return self.by_certainty.rate(certainty_bucket(certainty))

    def of_match(self, length: int, agreed: bool) -> float:
        """Acceptance of the token after an n-gram match of that many tokens."""
        return self._matches(agreed).rate(match_bucket(length))

    def count_match(self, length: int, agreed: bool, accepted: bool) -> None:
        """Books whether the token that followed a match of that many tokens was the target's."""
        self._matches(agreed).count(match_bucket(length), accepted)

    def count_guess(self, lead: float, certainty: float, accepted: bool) -> None:
        """Books whether a model draft token was the target's, by its lead in logits and the target's certainty, 0 to 1."""
        self.guesses_seen += 1
        self.by_lead.count(lead_bucket(lead), accepted)
        self.by_certainty.count(certainty_bucket(certainty), accepted)

    def begin_answer(self, memory: float) -> None:
        """Keeps a share `memory` of what is known of model drafts if the last answer added nothing to it."""
        if not self.guesses_seen:
            self.by_lead.fade(memory)
            self.by_certainty.fade(memory)
        self.guesses_seen = 0

    def _matches(self, agreed: bool) -> RateTable:
        return self.agreed_match if agreed else self.split_match


def lead_bucket(lead: float) -> int:
    """0 to 8 for a lead in logits."""
    return bisect_right(_LEAD_EDGES, lead)


def certainty_bucket(certainty: float) -> int:
    """0 to 9 for a certainty of 0 to 1."""
    return min(int(certainty * 10), 9)


def match_bucket(length: int) -> int:
    """0 to 9 for a match of that many tokens."""
    return bisect_right(_MATCH_EDGES, length)
