"""How much to draft, and with what: the choice that makes speculation pay or not.

Every round compares, in tokens per second, a plain step, the n-gram match at hand and a model draft, each from
measured costs and learnt acceptance: max over K of (1 + sum of A_k) / (drafting + t_v(K + 1)), K = 0 included.
`docs/how-it-decides.md` explains it with the figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from edgespec.decode.acceptance import Acceptance, AnswerRecord, Certainty
from edgespec.decode.costs import PairCosts
from edgespec.decode.ngram import NgramMatch

# A constant that does not give figures of its own was set by replays (`decode.replay`) of 26 recorded answers on two sets
# of costs, and of made-up texts on other machines; tests/decode keeps the bounds that they gave.
MAX_DRAFT = 15
"""Longest draft; with the target's own token that is a batch of 16."""
MAX_MODEL_DRAFT = MAX_DRAFT
"""Where a batch of 16 costs little more than one of 8 (tiled kernels), a sure text is worth drafting that far."""
SMALL_CATCH_UP = 12
"""Rows that a draft may lack between rounds and still be charged to the next few rounds alone."""
SPREAD_ROUNDS = 4.0
"""Rounds that such a gap is charged to: what is read now serves the next ones too."""
MARGIN = 1.02
"""Drafting must promise this much over a plain step: estimates are optimistic at the moment they look best."""
LOSS_HURDLE = 16.0
"""On top of `MARGIN` drafting must promise this many times the share of the answer's time that drafts of its kind have
lost: a second miss wants more reason. With drafts that have lost 1 %, 1.02 + 0.16 plain steps."""
WARM_UP_TOKENS = 12
"""Tokens of an answer before the target's certainty says anything about its kind of text. An answer that ends before
them has no time to win back what a draft reads."""
EARLY_ACCEPTANCE = 0.8
"""Within `WARM_UP_TOKENS`, until one has won, an n-gram match must be that likely to hold: in an answer of 14 tokens a
missed row is 1 % of the time."""
HORIZON_TOKENS = 128
"""A catch-up is written off over at most this many tokens to come."""
HORIZON_GROWTH = 0.5
"""A catch-up is written off over at most this many times the tokens that are out already: how long an answer gets is not
known, and a small gain takes longer to be worth it than a large one."""
HORIZON_TRUST = 0.8
"""Share of the promised gain that is believed when a catch-up is paid in advance."""
ADVANCE_SHARE = 0.045
"""Catch-ups may cost this share of the answer's time so far where they promise half as much speed again, less of it where
they promise less, and what drafts have won: should the answer end now, it has lost no more. With 0.07 answers of 24 tokens
lost 4 to 7 % whenever a draft came in before their end."""
SURE_GAIN = 0.5
"""Promised gain over plain steps from which catch-ups may cost all of `ADVANCE_SHARE`."""
STAKE_STEPS = 0.1
"""Plain steps that an answer may lose to drafts before any of them has won."""
STAKE_SHARE = 0.02
"""Share of an answer's time that it may lose to drafts on top of `STAKE_STEPS`."""
MOST_WON_STEPS = 5.0
"""Plain steps; winnings beyond them are banked for good: a text that turns away from its draft cannot lose them again."""
MEMORY_OF_ANSWERS = 0.8
"""Share of the counts for a model draft that an answer without one leaves: one that was bad for long gets another chance."""
GUESS_WEIGHT = 2.0
"""Expected misses of the model draft after which an answer's own record counts as much as the tables."""
MATCH_WEIGHT = 3.0
"""Expected misses of n-gram matches after which the same holds for them."""
FIXED_TRUST = 0.9
"""Share of the promise of a fixed draft length that is believed: nothing stops it when the text turns."""
_CONFIDENT, _DOUBTFUL = 0.97, 0.5
"""Acceptance of a draft token of either kind; every mean acceptance between them is a mixture of both."""


class Kind(StrEnum):
    """What a round does."""

    PLAIN = "plain"
    NGRAM = "ngram"
    MODEL = "model"


class Mode(StrEnum):
    """What the policy may use."""

    OFF = "none"
    NGRAM = "ngram"
    MODEL = "model"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class RoundChoice:
    """What a round does, and what it promises."""

    kind: Kind
    count: int
    """Tokens that n-grams draft; 0 for a model, which stops where the next token would not pay."""
    rate: float
    """Promised tokens per second."""


@dataclass(slots=True)
class Ledger:
    """What drafting has won or lost in this answer, in seconds against plain steps.

    It bounds the loss: a round may stake no more than what was won so far, a little at the start, and a small
    share of the time. Wins allow longer drafts, losses shorter ones, until they are forbidden for a while.
    """

    elapsed_s: float = 0.0
    won_s: float = 0.0
    """Below 0 for a loss."""
    advanced_s: float = 0.0
    """Catch-ups paid in advance, all together. They are not in `won_s`: each was weighed when it was decided."""
    _won_by_s: dict[Kind, float] = field(default_factory=lambda: dict.fromkeys(Kind, 0.0))

    def book(self, kind: Kind, won_s: float, most_s: float) -> None:
        """Adds what a round of that kind won in seconds, or lost; winnings beyond `most_s` are banked for good."""
        self.won_s = min(self.won_s + won_s, most_s)
        self._won_by_s[kind] = min(self._won_by_s[kind] + won_s, most_s)

    def lost_share(self, kind: Kind) -> float:
        """What drafts of one kind have lost so far, as a share of the answer's time."""
        return max(-self._won_by_s[kind], 0.0) / self.elapsed_s if self.elapsed_s else 0.0

    def stake_s(self, step_s: float) -> float:
        """The most that the next round may lose: of 200 ms steps 20 ms at first, 40 after a second without a draft."""
        return STAKE_STEPS * step_s + STAKE_SHARE * self.elapsed_s + self.won_s


@dataclass(slots=True)
class Policy:
    """Chooses for one pair; `acceptance` and `costs` outlive the answer, all else begins with it."""

    costs: PairCosts
    acceptance: Acceptance
    mode: Mode = Mode.AUTO
    certainty: Certainty = field(default_factory=Certainty)
    ledger: Ledger = field(default_factory=Ledger)
    guesses: AnswerRecord = field(default_factory=lambda: AnswerRecord(GUESS_WEIGHT))
    matches: AnswerRecord = field(default_factory=lambda: AnswerRecord(MATCH_WEIGHT))
    _rates: dict[int, float] = field(default_factory=dict)
    _rounds: int = 0

    @property
    def drafts(self) -> bool:
        """Whether it may ever draft."""
        return self.mode is not Mode.OFF

    def may_use_model(self, done: int) -> bool:
        """Whether a model draft is considered at all, with so many tokens of the answer out."""
        return self.mode is Mode.MODEL or (self.mode is Mode.AUTO and done >= WARM_UP_TOKENS)

    def begin(self) -> None:
        """A new answer."""
        self.certainty = Certainty()
        self.ledger = Ledger()
        self.acceptance.begin_answer(MEMORY_OF_ANSWERS)
        self.guesses = AnswerRecord(GUESS_WEIGHT)
        self.matches = AnswerRecord(MATCH_WEIGHT)
        self._rates.clear()

    def choose(self, match: NgramMatch | None, missing: int | None, done: int, remaining: int) -> RoundChoice:
        """The next round.

        Args:
            match: The n-gram match at the end of the history.
            missing: Rows that the draft model would have to read; None without one.
            done: Tokens of the answer that are out.
            remaining: Tokens that it may still have.
        """
        plain = RoundChoice(Kind.PLAIN, 0, 1.0 / self.costs.step_s)
        if self.mode is Mode.OFF or remaining < 2:
            return plain
        best = plain
        if match and self.mode in (Mode.NGRAM, Mode.AUTO) and self._trusts(match, done):
            best = self._better(best, self._match_choice(match, min(MAX_DRAFT, remaining - 1)))
        if missing is not None and self.may_use_model(done):
            best = self._better(best, self._model_choice(missing, done, remaining))
        return best

    def keeps_drafting(self, leads: list[float], rate: float, remaining: int) -> bool:
        """Whether one more draft step is expected to pay.

        Args:
            leads: In logits, of the tokens drafted so far.
            rate: Tokens per second that the round has promised: what the time is worth otherwise.
            remaining: Tokens that the answer may still have.
        """
        most = min(MAX_MODEL_DRAFT, remaining - 1)
        if len(leads) >= most:
            return False
        reach, tokens = self._chain(leads)
        worth = 1.0 / rate
        stop = max(
            (1.0 + gained) * worth - self.costs.verify_s(kept + 1)
            for kept, gained in enumerate([0.0, *tokens])
        )
        certainty = Certainty(self.certainty.recent)
        for lead in leads:
            certainty.add(lead)
        follow = self.expected_acceptance(certainty.recent)
        gained, value = (tokens[-1] if tokens else 0.0), reach
        for count in range(len(leads) + 1, most + 1):
            value *= follow
            gained += value
            spent = (count - len(leads)) * self.costs.draft_step_s + self.costs.verify_s(count + 1)
            if (1.0 + gained) * worth - spent > stop:
                return True
        return False

    def n_worth_verifying(self, leads: list[float], rate: float) -> int:
        """How many of the drafted tokens are worth verifying, 0 to all.

        Args:
            leads: In logits, of the drafted tokens.
            rate: Tokens per second that the round has promised.
        """
        _, tokens = self._chain(leads)
        worth = 1.0 / rate
        values = [
            (1.0 + gained) * worth - self.costs.verify_s(kept + 1)
            for kept, gained in enumerate([0.0, *tokens])
        ]
        return max(range(len(values)), key=values.__getitem__)

    def observe_round(self, kind: Kind, tokens: int, rows: int, draft_rows: Sequence[int] = ()) -> None:
        """Books what a round with a draft brought, at what it should have cost.

        What it did cost corrects the costs. Here a single hiccup of the machine would forbid drafts for the rest of
        the answer, or a step that met a faster machine look like a draft's gain.

        Args:
            kind: What drafted.
            tokens: That came out of it.
            rows: Of the target's pass, the drafted ones and its own.
            draft_rows: Of each pass of the draft model; a first one of more than `SMALL_CATCH_UP` was paid in advance.
        """
        step_s, spent_s = self.costs.step_s, self.costs.verify_s(rows) + self.costs.round_s
        if draft_rows and self.costs.draft:
            first, *steps = (self.costs.draft.cost(count) for count in draft_rows)
            spent_s += sum(steps)
            if draft_rows[0] > SMALL_CATCH_UP:
                self.ledger.advanced_s += first
            else:
                spent_s += first
        self.ledger.book(kind, tokens * step_s - spent_s, MOST_WON_STEPS * step_s)

    def count_guess(self, lead: float, accepted: bool) -> None:
        """Books a tested model draft token of that lead in logits, for this answer and for the ones to come."""
        self.guesses.count(self.acceptance.of_certainty(self.certainty.recent), accepted)
        self.acceptance.count_guess(lead, self.certainty.recent, accepted)

    def count_match(self, length: int, agreed: bool, accepted: bool) -> None:
        """Books whether the token that followed an n-gram match of that many tokens was the target's, drafted or not."""
        self.matches.count(self.acceptance.of_match(length, agreed), accepted)
        self.acceptance.count_match(length, agreed, accepted)

    def expected_acceptance(self, certainty: float) -> float:
        """Acceptance of a model draft token before it is drafted, by the target's certainty, 0 to 1."""
        return self.guesses.adjust(self.acceptance.of_certainty(certainty))

    def observe_time(self, seconds: float) -> None:
        """Adds a round's seconds to the answer's clock and, now and then, lets new costs and rates in."""
        self.ledger.elapsed_s += seconds
        self._rounds += 1
        if self._rounds % 16 == 0:
            self.costs.refresh_batches()
            self._rates.clear()

    def _trusts(self, match: NgramMatch, done: int) -> bool:
        """Whether a match is good enough for so early a place in the answer."""
        if done >= WARM_UP_TOKENS or self.ledger.won_s > 0.0:
            return True
        rate = self.acceptance.of_match(match.length, match.agreed)
        return self.matches.adjust(rate) >= EARLY_ACCEPTANCE

    def _better(self, best: RoundChoice, other: RoundChoice) -> RoundChoice:
        hurdle = 1.0
        if best.kind is Kind.PLAIN:
            hurdle = MARGIN + LOSS_HURDLE * self.ledger.lost_share(other.kind)
        return other if other.rate > best.rate * hurdle else best

    def _match_choice(self, match: NgramMatch, most: int) -> RoundChoice:
        reach, tokens, best = 1.0, 1.0, RoundChoice(Kind.NGRAM, 0, 0.0)
        stake_s = self.ledger.stake_s(self.costs.step_s)
        for count in range(1, most + 1):
            reach *= self.matches.adjust(self.acceptance.of_match(match.length + count - 1, match.agreed))
            tokens += reach
            verify_s = self.costs.verify_s(count + 1)
            rate = tokens / (verify_s + self.costs.round_s)
            if rate > best.rate and verify_s - self.costs.step_s <= stake_s:
                best = RoundChoice(Kind.NGRAM, count, rate)
        return best

    def _model_choice(self, missing: int, done: int, remaining: int) -> RoundChoice:
        never = RoundChoice(Kind.MODEL, 0, 0.0)
        if self.costs.draft is None or self.ledger.stake_s(self.costs.step_s) <= 0.0:
            return never
        extra_s = self.costs.draft.cost(missing) - self.costs.draft_step_s if missing > 1 else 0.0
        rate = self.model_rate(self.expected_acceptance(self.certainty.recent))
        if missing <= SMALL_CATCH_UP:
            # A few tokens that others brought: charged to this round and the next ones.
            return RoundChoice(Kind.MODEL, 0, 1.0 / (1.0 / rate + extra_s / SPREAD_ROUNDS))
        rate = min(rate, self.model_rate(self.expected_acceptance(self.certainty.lasting)))
        ledger, gain = self.ledger, rate * self.costs.step_s - 1.0
        allowed_s = ADVANCE_SHARE * min(max(gain / SURE_GAIN, 0.0), 1.0) * ledger.elapsed_s + max(
            ledger.won_s, 0.0
        )
        if ledger.advanced_s + extra_s > allowed_s:
            return never
        # The first token came with the prompt, not from a round.
        now_s = min(self.costs.step_s, self.ledger.elapsed_s / done)
        to_come = min(remaining, HORIZON_TOKENS, HORIZON_GROWTH * done)
        saved_s = to_come * (now_s - 1.0 / rate) * HORIZON_TRUST
        return RoundChoice(Kind.MODEL, 0, rate) if saved_s > extra_s else never

    def model_rate(self, acceptance: float) -> float:
        """Tok/s of model drafting at a mean acceptance: adaptive or of fixed length, whichever is better here."""
        key = int(acceptance * 100)
        if key not in self._rates:
            self._rates[key] = max(self._adaptive_rate(acceptance), self._fixed_rate(acceptance))
        return self._rates[key]

    def _round_s(self, drafted: int, verified: int) -> float:
        """Seconds of a model round."""
        return drafted * self.costs.draft_step_s + self.costs.verify_s(verified + 1) + self.costs.round_s

    def _fixed_rate(self, acceptance: float) -> float:
        """The best K when every drafted token is verified, sure or not: where rows cost next to nothing."""
        best, reach, gained = 0.0, 1.0, 1.0
        for count in range(1, MAX_MODEL_DRAFT + 1):
            reach *= acceptance
            gained += reach
            best = max(best, FIXED_TRUST * gained / self._round_s(count, count))
        return best

    def _adaptive_rate(self, acceptance: float) -> float:
        """The best K when a draft ends before its first doubtful token.

        Draft tokens are taken as either confident (accepted 97 % of the time) or doubtful (50 %); the mixture that
        gives `acceptance` gives the expected tokens and time of every K.
        """
        share = min(max((acceptance - _DOUBTFUL) / (_CONFIDENT - _DOUBTFUL), 0.0), 1.0)
        best = tokens = time_s = 0.0
        reach, gained, odds = 1.0, 1.0, 1.0
        for count in range(MAX_MODEL_DRAFT + 1):
            if count:
                best = max(best, (tokens + odds * gained) / (time_s + odds * self._round_s(count, count)))
            stopped = odds * (1.0 - share)
            tokens += stopped * gained
            time_s += stopped * self._round_s(count + 1, count)
            odds *= share
            reach *= _CONFIDENT
            gained += reach
        return best

    def _chain(self, leads: list[float]) -> tuple[float, list[float]]:
        """Probability that all drafted tokens hold, and the expected accepted tokens after each.

        Tokens that hold with 0.9 and then with 0.5 give 0.45, and 0.9 and 0.9 + 0.45 = 1.35 accepted tokens.
        """
        reach, gained, tokens = 1.0, 0.0, []
        for lead in leads:
            reach *= self.acceptance.of_lead(lead)
            gained += reach
            tokens.append(gained)
        return reach, tokens
