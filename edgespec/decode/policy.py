"""How much to draft, and with what: one decision, made anew at every step of every round.

A second of the target's time is worth `1 / w` tokens, where w is what a token has cost in this answer. A guess is worth
drafting while w times the tokens that it is expected to bring is more than the seconds that it costs. What a drafter
has to read first is weighed against the rest of the answer. `docs/how-it-decides.md` explains it with the figures.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from edgespec.decode.beliefs import sigmoid
from edgespec.decode.chain import Chain
from edgespec.decode.costs import PairCosts
from edgespec.decode.draft_length import LEAST_REACH, best_token, expected_replay
from edgespec.decode.drafters.contract import Drafter, Quote, Reading, Stretch
from edgespec.decode.token import DraftSource
from edgespec.llama.rollback import LONGEST_REPLAY

MAX_DRAFT = 15
"""Longest draft; with the target's own token that is a batch of 16."""
BUDGET_STEPS, BUDGET_SHARE = 3.0, 0.01
"""What an answer may have lost to drafts: three plain steps and a hundredth of its time. In replays with 2, 3 and 5 steps
the mean speed-ups are 1.510, 1.523 and 1.527 where rows are free, and the worst category of the staircase 0.99, 1.01, 1.01."""
PRIOR_TOKENS = 16.0
"""Tokens of a plain step each that stand in what a token has cost before there are any."""
REST_TOKENS, REST_SHARE = 8.0, 0.5
"""How many more tokens an answer is expected to have: 8, and half as many as are out. It often has more (of 73 answers 64 had
more than 16 tokens, 49 more than 64), but short ones count as much as long ones: with 24 and all, an answer of 15 lost a
fifth where reading is dear, and the means are the same to half a percent from 4 and 0.5 to 16 and 1."""
TRUST = 0.8
"""Share of the promised gain that is believed when it pays for reading: 0.6 to 1 give the same means; the worst category of
the staircase has 0.91, 0.91 and 0.85."""
TOKEN_TRUST = 0.85
"""Share of a token's worth that an expected one counts for: what looks best is in part what is overrated. Replays of 65 answers have
1.554x with 1, 1.566x with 0.85 and 1.570x with 0.8 where rows are free, 1.394x, 1.407x and 1.408x in an hour of fast memory."""
OTHERS_DECAY = 0.95
"""Of what rounds without a drafter have brought: a memory of 20 rounds."""
_SPREAD = 1.7320508
_SCENARIOS = ((-_SPREAD, 1 / 6), (0.0, 2 / 3), (_SPREAD, 1 / 6))
"""Standard deviations and weights of Gauss and Hermite's quadrature of three points: what is not known, in three cases."""
_GRID = 8.0
"""Steps of the log-odds at which speeds are worked out: an eighth moves a chance by 3 % at most."""
_REFRESH_ROUNDS = 8
"""Rounds after which new costs are let into what is worked out from them: bounds that work to a few microseconds a round."""
_MOST_ROWS = MAX_DRAFT + 1
_ROWS_APART = 8
"""Rows between which the price of one that is read again is taken."""


class Mode(StrEnum):
    """What may draft."""

    OFF = "none"
    NGRAM = "ngram"
    MODEL = "model"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Extension:
    """Guesses behind a chain."""

    count: int
    gain: float
    """Plain steps that they promise over stopping before them."""
    quote: Quote


class DraftingPolicy(Protocol):
    """What the generation loop asks; `Policy` decides by gain, `fixed_policy.FixedPolicy` by a number."""

    costs: PairCosts

    def begin(self) -> None:
        """A new answer."""
        ...

    @property
    def token_worth(self) -> float:
        """Plain steps that an expected token is worth."""
        ...

    def join(self, n_answers: int) -> None:
        """The next round is decoded with those of other answers, so many in all."""
        ...

    def charge(self, row_price: float) -> None:
        """What a row of the round does cost behind an answer's first one, in plain steps."""
        ...

    def most(self, remaining: int) -> int:
        """Tokens that a round may draft at most, 0 for none, where the answer may still have `remaining`."""
        ...

    def choose_reading(
        self, drafter: Drafter, readings: Sequence[Reading], done: int, remaining: int
    ) -> Reading | None:
        """How a drafter gets ready for this round; None where it sits it out."""
        ...

    def weigh(self, chain: Chain, quote: Quote) -> Extension:
        """How far a drafter is worth following, a guess at least; a gain of 0 or less where it is not."""
        ...

    def count_worth_verifying(self, chain: Chain) -> int:
        """How many of the drafted tokens go to the target."""
        ...

    def observe_round(self, tokens: int, rows: int, drafts_s: float, *, was_read: bool) -> None:
        """Books what a round brought, at what it should have cost."""
        ...


class Policy:
    """Decides for one pair. All that begins with an answer is counted in plain steps: then no change of the machine's
    speed counts as a gain or a loss.

    What a round did cost corrects the costs; here it is booked at what it should have cost. Else a single hiccup of the
    machine would end drafting.

    Args:
        costs: Of the pair; they outlive the answer.
        longest: Draft, 1 to `MAX_DRAFT`: what the target's memory can take back at once.
        replays: Whether the target comes back to where it was before a draft if any of it was wrong, and reads what was right
            with its next pass once more.
    """

    def __init__(self, costs: PairCosts, *, longest: int = MAX_DRAFT, replays: bool = False) -> None:
        self.costs = costs
        self._longest, self._replays = longest, replays
        self._n_answers = 1
        self._row_price: float | None = None
        self.begin()

    def begin(self) -> None:
        """A new answer."""
        self.elapsed = self.tokens = 0.0
        self.won = 0.0
        """By drafts, against plain steps; below 0 for a loss."""
        self._others = self._others_tokens = PRIOR_TOKENS / 2
        self._rounds = self._unread = 0
        self._token = TOKEN_TRUST
        """Plain steps that an expected token is worth: what tokens have cost in this answer, never more than one, as far as it is
        trusted."""
        self._refresh()

    def join(self, n_answers: int) -> None:
        """The next round is decoded with those of other answers: rows cost what they do if all of them have as many.

        Args:
            n_answers: Of the round, this one included.
        """
        self._row_price = None
        if n_answers != self._n_answers:
            self._n_answers = n_answers
            self._refresh()

    def charge(self, row_price: float) -> None:
        """What a row of the round that is under way does cost behind an answer's first one, in plain steps."""
        self._row_price = row_price

    @property
    def token_worth(self) -> float:
        """Plain steps that an expected token is worth."""
        return self._token

    def _refresh(self) -> None:
        costs = self.costs
        costs.refresh_batches()
        self._step_s = costs.share_s(self._n_answers)
        most = _MOST_ROWS + (LONGEST_REPLAY if self._replays else 0)
        self._passes = costs.passes(self._n_answers, most)
        """Plain steps by rows, from none on."""
        self._row = (self._passes[_ROWS_APART] - 1.0) / (_ROWS_APART - 1) if self._replays else 0.0
        """Plain steps of a row that the next pass reads again."""
        self._verify = self._passes[self._unread :]
        """The same by rows of this round, with those that are read again before them."""
        self._drafted: dict[DraftSource, dict[int, float]] = {}
        """Plain steps a token by who drafts and by log-odds, as they are worked out."""

    @property
    def budget(self) -> float:
        """Plain steps that drafts may still lose."""
        return BUDGET_STEPS + BUDGET_SHARE * self.elapsed + self.won

    def most(self, remaining: int) -> int:
        """The longest draft that fits the answer.

        Returns:
            0 once drafts have lost what they may, and where only a plain step can tell what drafts cost beside it.
        """
        # Of several answers a plain step has several rows, which are timed by every round.
        is_known = self.costs.knows_step or self._n_answers > 1
        return min(self._longest, remaining - 1) if self.budget > 0.0 and is_known else 0

    def choose_reading(
        self, drafter: Drafter, readings: Sequence[Reading], done: int, remaining: int
    ) -> Reading | None:
        """The reading that promises most over the rest of the answer, if one promises more than it costs.

        Args:
            drafter: Whose readings these are.
            readings: To choose from.
            done: Tokens of the answer that are out.
            remaining: Tokens that it may still have.
        """
        rest = min(remaining, REST_TOKENS + REST_SHARE * done)
        others = min(1.0, self._others / self._others_tokens)
        best, most = None, 0.0
        for reading in readings:
            cost = reading.seconds / self._step_s
            if TRUST * rest * others - cost <= most:
                continue  # even guesses that all hold, for nothing, would not save more
            promised = self._promise(drafter, reading, rest, others) - cost
            if promised > most:
                best, most = reading, promised
        return best

    def _promise(self, drafter: Drafter, reading: Reading, rest: float, others: float) -> float:
        """Plain steps that a reading saves over the rest of an answer, where a token would take `others` without it.

        Of the cases that the uncertainty allows, the good ones last as long as the answer. The bad ones end when they
        have shown themselves, after as many tokens as halve the uncertainty.
        """
        known = self._drafted.setdefault(drafter.source, {})
        gain = loss = 0.0
        until_known = _tokens_until_known(reading.outlook[0])
        for stretch in reading.outlook:
            is_last = stretch is reading.outlook[-1]
            length = rest if is_last else min(rest, stretch.n_tokens)
            deviation = math.sqrt(stretch.variance)
            for away, weight in _SCENARIOS:
                odds = round(_GRID * (stretch.log_odds + away * deviation))
                if odds not in known:
                    known[odds] = self._drafted_token(drafter, odds)
                saved = others - known[odds]
                if saved > 0.0:
                    gain += weight * length * saved
                else:
                    loss -= weight * min(length, until_known) * saved
            rest -= length
            until_known = max(until_known - length, 0.0)
            if rest <= 0.0:
                break
        return TRUST * gain - loss

    def _drafted_token(self, drafter: Drafter, odds: int) -> float:
        """Plain steps a token with drafts of the best length, if every guess holds with the same log-odds, `_GRID` of one."""
        step = drafter.step_s / self._step_s
        return best_token(self._passes, step, sigmoid(odds / _GRID), MAX_DRAFT, self._row)

    def weigh(self, chain: Chain, quote: Quote) -> Extension:
        """The number of further guesses that promises most over the best place to stop so far."""
        verify, token, step_s = self._verify, self._token, self._step_s
        rows, reach, gained = len(chain.gained), chain.reach, chain.gained[-1]
        stop = token - verify[1]
        for kept in range(1, rows):
            stop = max(stop, self._worth(chain, kept))
        next_one = quote.next_s / step_s
        spent = quote.first_s / step_s + stop
        best_count, best = 1, -math.inf
        for count, chance in enumerate(quote.chances, 1):
            reach *= chance
            gained += reach
            gain = gained * token - verify[rows + count] - spent - self._replay(rows + count, gained, reach)
            if gain > best:
                best_count, best = count, gain
            elif reach * token < next_one:
                break
            if reach < LEAST_REACH:
                break
            spent += next_one
        return Extension(best_count, best, quote)

    def count_worth_verifying(self, chain: Chain) -> int:
        """Where the tokens are worth most over the rows that they take."""
        if not chain.guesses:
            return 0
        return max(range(len(chain.gained)), key=lambda kept: self._worth(chain, kept))

    def _worth(self, chain: Chain, kept: int) -> float:
        """What verifying so many guesses brings, in plain steps."""
        gained = chain.gained[kept]
        reach = gained - chain.gained[kept - 1] if kept else 1.0
        return gained * self._token - self._verify[kept + 1] - self._replay(kept + 1, gained, reach)

    def _replay(self, rows: int, gained: float, reach: float) -> float:
        """Plain steps that reading again is expected to cost after a pass of so many rows.

        A round brings as many tokens as rows were right: `gained` of them on the whole, and all with a chance of `reach`;
        then nothing is read again.
        """
        if not self._row:
            return 0.0
        return self._row * (expected_replay(gained, reach, rows) + (1.0 - reach) * self._unread)

    def observe_round(self, tokens: int, rows: int, drafts_s: float, *, was_read: bool) -> None:
        """Books what a round brought, at what it should have cost.

        Args:
            tokens: That came out of it.
            rows: Of the target's pass.
            drafts_s: What the drafts should have cost, in seconds.
            was_read: Whether a drafter was made ready for it.
        """
        price = self._row_price
        spent = drafts_s / self._step_s
        spent += self._verify[rows] if price is None else 1.0 + price * (rows - 1)
        self.elapsed += spent
        self.tokens += tokens
        cost = min(1.0, (PRIOR_TOKENS + self.elapsed) / (PRIOR_TOKENS + self.tokens))
        self._token = TOKEN_TRUST * cost
        self.won = min(self.won + tokens - spent, BUDGET_STEPS)
        if not was_read:
            self._others = OTHERS_DECAY * self._others + spent
            self._others_tokens = OTHERS_DECAY * self._others_tokens + tokens
        if self._replays:
            self._unread = min(self._unread + tokens, LONGEST_REPLAY) if tokens < rows else 0
            self._verify = self._passes[self._unread :]
        self._rounds += 1
        if self._rounds % _REFRESH_ROUNDS == 0:
            self._refresh()
        # What is worked out is in plain steps and keeps while all passes change alike; what drafters quote is in seconds.
        self._step_s = self.costs.share_s(self._n_answers)


def _tokens_until_known(stretch: Stretch) -> float:
    """Tokens whose outcomes halve the variance of a belief."""
    chance = sigmoid(stretch.log_odds)
    return 1.0 / (chance * (1.0 - chance) * stretch.variance)
