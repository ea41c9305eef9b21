"""How likely guesses are to be the target's own tokens, learnt from everything the target has said so far.

Priors were measured on 73 answers of Qwen2.5-Coder 1.5B with its 0.5B: 52 of Spec-Bench in 13 categories and 21 of chat,
code and editing, up to 200 tokens each. What a pair's own tokens say outweighs them within a few answers.

The target's certainty (the lead of its own logits) says nothing beyond what the answer's own record does: 0.5295 of log
loss per guess without it, 0.5291 with it. The draft's lead does: 0.412.
"""

from bisect import bisect_right
from dataclasses import dataclass, field, replace

from edgespec.decode.beliefs import Term, log_odds

USUAL_ACCEPTANCE = 0.75
"""Of a draft that has read all of the text, before anything is known of the pair: the mean over the answers above."""
_PRIOR_VARIANCE = 0.05
"""Of what a pair may differ in from what was measured; replays are the same to a percent from 0.02 to 0.3."""
_UNKNOWN_PAIR_VARIANCE = 0.3
"""Of the acceptance of a pair that nobody has measured: 0.75, give or take 0.1."""
_CONTEXT_VARIANCE = 0.01
ANSWER_VARIANCE = 0.6
"""Log-odds by which a draft's acceptance differs between answers: a standard deviation of 0.93 over 59 answers of more than
40 tokens, of which a half is chance."""
FORGOTTEN = 1.0 / 8
"""Share by which, with every answer to which a model guessed nothing, what is known of it goes back to what was known at first:
where it keeps the model away, nothing would show that the text is of another kind. In made-up conversations of 30 answers with
an acceptance of 0.1 to 0.45 and then others with 0.9 the model is back within four answers and costs the 30 half a percent."""
MATCH_ANSWER_VARIANCE = 0.3
"""The same for n-gram matches: with 0.3 the log loss per match is least (0.5157; 0.523 without, 0.520 with 1)."""

_LEAD_EDGES = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Logits between the buckets: a lead of 0.3 is in bucket 1."""
_LEAD_PRIORS = (0.33, 0.37, 0.48, 0.60, 0.72, 0.81, 0.92, 0.97, 0.995)
ENOUGH_READ = 64
"""Tokens from which on a draft is taken to have read all of the text."""
_CONTEXT_EDGES = (16, 24, 32, 40, 48)
"""Tokens that a draft has read, between the buckets; the last one ends at `ENOUGH_READ`."""
_CONTEXT_PRIORS = (-1.5, -0.85, -0.48, -0.27, -0.15, -0.08)
"""Log-odds against a draft that has read all: its guesses at the first eight places of an answer hold 0.40, 0.60, 0.67,
0.70 and 0.76 of the time with the last 8, 16, 24, 32 and 64 tokens of the prompt."""
_MATCH_EDGES = (3, 4, 5, 6, 8, 11, 16, 24, 40)
"""Tokens between the buckets: a match of 3 is in bucket 1."""
_AGREED_PRIORS = (0.61, 0.64, 0.72, 0.76, 0.76, 0.77, 0.80, 0.85, 0.91, 0.94)
"""Where the other matches were followed by the same token."""
_SPLIT_PRIORS = (0.27, 0.47, 0.54, 0.62, 0.66, 0.66, 0.66, 0.70, 0.75, 0.80)
"""Where one of them was not."""
_FORCED_PRIORS = (0.97, 0.8)
"""The tokenizer's tokens are the target's own, unless it cuts the text in another way."""


def _terms(chances: tuple[float, ...]) -> list[Term]:
    return [Term(log_odds(chance), _PRIOR_VARIANCE) for chance in chances]


@dataclass(slots=True)
class Acceptance:
    """What is known of a pair. Kept across answers and, with the costs, across runs."""

    model: list[Term] = field(
        default_factory=lambda: [Term(log_odds(USUAL_ACCEPTANCE), _UNKNOWN_PAIR_VARIANCE)]
    )
    """A model's guess before it is made; a single term."""
    by_context: list[Term] = field(
        default_factory=lambda: [Term(mean, _CONTEXT_VARIANCE) for mean in _CONTEXT_PRIORS]
    )
    """What it loses by not having read all of the text."""
    by_lead: list[Term] = field(default_factory=lambda: _terms(_LEAD_PRIORS))
    """A model's guess once it is made."""
    agreed_match: list[Term] = field(default_factory=lambda: _terms(_AGREED_PRIORS))
    split_match: list[Term] = field(default_factory=lambda: _terms(_SPLIT_PRIORS))
    forced: list[Term] = field(default_factory=lambda: _terms(_FORCED_PRIORS))
    """Tokens of a text that a grammar forces: those inside of it, and the last one, which the target often joins with what
    follows. Not kept across runs: it is learnt within an answer."""
    model_guessed: bool = True
    """Whether a model made a guess at the answer at hand."""
    _first: Term = field(init=False)
    """Of the model, as it was."""

    def __post_init__(self) -> None:
        self._first = replace(self.model[0])

    @classmethod
    def measured(cls, acceptance: float) -> "Acceptance":
        """Of a pair whose acceptance was measured elsewhere, above 0 and below 1."""
        return cls(model=_terms((acceptance,)))

    def begin_answer(self) -> None:
        """Forgets some of what is known of a model that was not asked the last time."""
        if not self.model_guessed:
            model, first = self.model[0], self._first
            model.mean += FORGOTTEN * (first.mean - model.mean)
            model.variance += (1.0 - (1.0 - FORGOTTEN) ** 2) * (first.variance - model.variance)
        self.model_guessed = False

    def of_lead(self, lead: float) -> Term:
        """The term of a guess with this lead, in logits."""
        return self.by_lead[bisect_right(_LEAD_EDGES, lead)]

    def of_context(self, n_read: int) -> Term:
        """The term of a draft that has read the last `n_read` tokens of a longer text, fewer than `ENOUGH_READ`."""
        return self.by_context[bisect_right(_CONTEXT_EDGES, n_read)]

    def of_match(self, length: int, agreed: bool) -> Term:
        """The term of the token after an n-gram match of that many tokens."""
        return (self.agreed_match if agreed else self.split_match)[bisect_right(_MATCH_EDGES, length)]
