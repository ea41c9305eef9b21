"""Drafts from a small model of its own: one step a guess, and it has to have read the text."""

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Final, Protocol

from edgespec.decode.acceptance import ANSWER_VARIANCE, ENOUGH_READ, Acceptance
from edgespec.decode.beliefs import Term, Terms, expected_chance
from edgespec.decode.costs import PairCosts
from edgespec.decode.drafters.contract import Guess, Quote, Reading, Stretch
from edgespec.decode.token import DraftSource

WINDOWS: Final = (24, 64, 256)
"""Tokens of the text's end that a draft may read alone to come in, besides all of it. Replays with 16, 24, 32, 48, 64, 128 and
256 are the same to half a percent."""
_STRETCHES: Final = (12, 28)
"""Tokens of the answer in which what was not read counts most; behind them it hardly does (`acceptance._CONTEXT_PRIORS`)."""


class DraftModel(Protocol):
    """A small model that keeps what it has read. It speaks the target's token ids."""

    @property
    def n_read(self) -> int:
        """Tokens of the history that it holds."""
        ...

    @property
    def most_read(self) -> int:
        """Tokens that it may begin anew with."""
        ...

    def begin(self, history: Sequence[int]) -> None:
        """A new answer starts: its history may be another one."""
        ...

    def missing(self, history: Sequence[int]) -> int | None:
        """Tokens it would have to read on from what it holds, 1 and more; None where it can only begin anew."""
        ...

    def read(self, history: Sequence[int], chain: Sequence[int], window: int | None = None) -> int:
        """Reads what it lacks of a history and a chain behind it; returns how many rows that took, if any.

        Args:
            history: All of the text.
            chain: Guesses behind it.
            window: Forgets what it holds and begins with so many tokens of the history's end.
        """
        ...

    def guess(self) -> tuple[int, float] | None:
        """Its next token and that token's lead in logits; None where the target has no token of that text."""
        ...


class ModelDrafter:
    """A draft model as a drafter.

    Args:
        model: Reads and guesses.
        costs: Of the pair, with those of the draft; corrected by every pass.
        acceptance: Of the pair; corrected by what becomes of its guesses.
        clock: Seconds.
    """

    source = DraftSource.MODEL
    sees_ahead = False

    def __init__(
        self, model: DraftModel, costs: PairCosts, acceptance: Acceptance, clock: Callable[[], float]
    ) -> None:
        self._model, self._costs, self._acceptance, self._clock = model, costs, acceptance, clock
        self._history: list[int] = []
        self._begin_answer()

    def _begin_answer(self) -> None:
        self._answer, self._answer_by_lead = Term(0.0, ANSWER_VARIANCE), Term(0.0, ANSWER_VARIANCE)
        self._begin_round()

    def _begin_round(self) -> None:
        self._is_read, self._chain_read = False, 0
        self._chance: float | None = None

    @property
    def step_s(self) -> float:
        """One draft step, t_d."""
        return self._costs.draft_step_s

    def begin(self, history: Sequence[int]) -> None:
        """A new answer."""
        self._history = list(history)
        self._model.begin(self._history)
        self._acceptance.begin_answer()
        self._begin_answer()

    def extend(self, tokens: Sequence[int]) -> None:
        """The history grows; guesses are learnt from where they are tested."""
        self._history.extend(tokens)
        self._begin_round()

    def readings(self) -> Sequence[Reading]:
        """Reading on from what it holds, or beginning anew with some of the text or all of it."""
        total = len(self._history)
        gap = self._model.missing(self._history)
        found = []
        if gap is not None:
            found.append(self._reading(gap, min(self._model.n_read + gap, total), is_fresh=False))
        most = min(total, self._model.most_read)
        windows = [window for window in WINDOWS if window < most and (gap is None or window < gap)]
        if gap is None or most < gap:
            windows.append(most)
        return found + [self._reading(window, window, is_fresh=True) for window in windows]

    def quote(self, chain: Sequence[int], most: int) -> Quote | None:
        """A step a guess; what others have guessed meanwhile is read on the way."""
        if self._chance is None:
            self._chance = expected_chance(self._expected())
        unread = len(chain) - self._chain_read + (not self._is_read)
        return Quote(repeat(self._chance, most), self._draft_s(unread), self.step_s)

    def draft(self, chain: Sequence[int], count: int, reading: Reading | None) -> list[Guess]:
        """One guess, with the time that it took taken into the costs."""
        del count
        window = reading.n_rows if reading and reading.is_fresh else None
        before = self._clock()
        rows = self._model.read(self._history, chain, window)
        said = self._model.guess()
        if rows:
            self._costs.observe_draft(rows, self._clock() - before)
        return self._take(said, chain, reading)

    def _take(
        self, said: tuple[int, float] | None, chain: Sequence[int], reading: Reading | None
    ) -> list[Guess]:
        """What the model said becomes a guess."""
        if reading:
            self._chance = None
        self._is_read, self._chain_read = True, len(chain)
        if said is None:
            return []
        self._acceptance.model_guessed = True
        token, lead = said
        terms = (self._acceptance.of_lead(lead), self._answer_by_lead)
        return [Guess(token, self.source, expected_chance(terms), (terms, self._expected()))]

    def _expected(self) -> Terms:
        """Of a guess before it is made."""
        n_read, own = self._model.n_read, (self._acceptance.model[0], self._answer)
        return own if self._is_enough(n_read) else (*own, self._acceptance.of_context(n_read))

    def _is_enough(self, n_read: int) -> bool:
        """Whether who has read so many tokens of the history guesses as if it had read all."""
        return n_read >= min(len(self._history), ENOUGH_READ)

    def _reading(self, n_rows: int, n_read: int, *, is_fresh: bool) -> Reading:
        base = self._acceptance.model[0]
        mean, variance = base.mean + self._answer.mean, base.variance + self._answer.variance
        seconds = self._draft_s(n_rows) - self.step_s
        if self._is_enough(n_read):
            return Reading(n_rows, is_fresh, seconds, (Stretch(0.0, mean, variance),))
        stretches, begin = [], 0
        for length in (*_STRETCHES, 0):
            context = self._acceptance.of_context(n_read + begin + length // 2)
            stretches.append(Stretch(length, mean + context.mean, variance))
            begin += length
        return Reading(n_rows, is_fresh, seconds, tuple(stretches))

    def _draft_s(self, rows: int) -> float:
        return self._costs.draft.cost(rows) if self._costs.draft else 0.0
