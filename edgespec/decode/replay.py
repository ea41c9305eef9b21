"""Answers replayed without a model: the real loop and policy over what was recorded, on a clock that costs advance.

A draft is right or wrong at a place of a recorded answer whenever it gets there, because only right guesses lead on:
so one reading of the answer tells all that a run would find out. What it would guess after a mistake is not known;
such guesses are never accepted, and only their leads, which say how long it goes on, are taken from the true text.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgespec.decode.acceptance import Acceptance
from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.drafters.contract import Drafter
from edgespec.decode.drafters.draft_model import ModelDrafter
from edgespec.decode.drafters.ngrams import NgramDrafter
from edgespec.decode.engines import Target, shared_prefix
from edgespec.decode.fixed_policy import policy_for
from edgespec.decode.generate import Generator
from edgespec.decode.policy import Mode

_NO_TOKEN: Final = -1
"""What a target says after a text that was not recorded; a draft says another, which is thus never accepted."""
_FREE_TOKENS: Final = 1 << 30
_MOST_READ: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Recording:
    """What a target answered, greedily: token ids, in its vocabulary."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GuessView:
    """What a draft says at the places of an answer from `first` on, if it began to read at token `begin` of all of the text.

    For an answer 5, 6, 7 the draft may say 5 after the prompt, 6 after 5 and 9 after 5, 6: `tokens` is 5, 6, 9.
    """

    begin: int
    first: int
    tokens: tuple[int, ...]
    """In the target's ids."""
    leads: tuple[float, ...]
    """Of each, in logits over its second best."""

    def at(self, place: int) -> tuple[int, float]:
        """Its guess at a place of the answer and that guess's lead; before `first`, those of `first`."""
        index = min(max(place - self.first, 0), len(self.tokens) - 1)
        return self.tokens[index], self.leads[index]


@dataclass(frozen=True, slots=True)
class Guesses:
    """What a draft says to an answer, by how much of the text it has read."""

    views: tuple[GuessView, ...]
    """The first one has read everything."""

    @property
    def whole(self) -> GuessView:
        """With everything read: a guess for every place."""
        return self.views[0]

    def best_view(self, begin: int) -> GuessView:
        """The view that began at a token, or the next one before it."""
        fitting = [view for view in self.views if view.begin <= begin]
        return max(fitting, key=lambda view: view.begin, default=self.whole)

    def acceptance(self, recording: Recording) -> float:
        """Share of places where it says what the target said, 0 to 1, with everything read."""
        same = sum(a == b for a, b in zip(self.whole.tokens, recording.tokens, strict=True))
        return same / max(len(self.whole.tokens), 1)


@dataclass(frozen=True, slots=True)
class Replayed:
    """One replayed answer."""

    tok_per_s: float
    """Decoding only, as of `GenerationStats`."""
    speedup: float
    """Over plain steps."""
    draft_n: int
    draft_n_accepted: int


@dataclass(slots=True)
class Replay:
    """Answers one after the other, with what is learnt from one to the next.

    Args:
        costs: What every pass costs and what the policy believes at first; nothing is changed in it.
        mode: What may draft.
        draft_length: Of every draft; None: as long as it pays.
        acceptance: What is believed at first; corrected on the way.
    """

    costs: PairCosts
    mode: Mode = Mode.AUTO
    draft_length: int | None = None
    acceptance: Acceptance | None = None

    def run(
        self, recordings: Sequence[Recording], guesses: Sequence[Guesses] | None = None
    ) -> list[Replayed]:
        """One result for each recording, of which each has more than one token.

        Args:
            recordings: What the target answered.
            guesses: Of the draft, one for each recording; None without a draft.
        """
        learnt, acceptance = copy.deepcopy(self.costs), self.acceptance or Acceptance()
        return [
            self._play(one, guesses[number] if guesses else None, learnt, acceptance)
            for number, one in enumerate(recordings)
        ]

    def open_target(self, recording: Recording, clock: "ReplayClock") -> Target:
        """A target that says its recorded answer."""
        return _RecordedTarget(recording, clock, self.costs.verify)

    def open_drafters(
        self,
        recording: Recording,
        guesses: Guesses | None,
        learnt: PairCosts,
        acceptance: Acceptance,
        clock: "ReplayClock",
    ) -> list[Drafter]:
        """What may draft, for one answer.

        Args:
            recording: What the target answered.
            guesses: Of the draft; None without one.
            learnt: What is believed of the costs, corrected on the way.
            acceptance: What is believed of the guesses, corrected on the way.
            clock: Of the target.
        """
        drafters: list[Drafter] = []
        if self.mode in (Mode.NGRAM, Mode.AUTO) and self.draft_length is None:
            drafters.append(NgramDrafter(acceptance))
        if self.mode in (Mode.MODEL, Mode.AUTO) and guesses and self.costs.draft:
            model = _RecordedDraft(recording, guesses, clock, self.costs.draft)
            drafters.append(ModelDrafter(model, learnt, acceptance, clock))
        return drafters

    def _play(
        self, recording: Recording, guesses: Guesses | None, learnt: PairCosts, acceptance: Acceptance
    ) -> Replayed:
        clock = ReplayClock()
        drafters = self.open_drafters(recording, guesses, learnt, acceptance, clock)
        policy = policy_for(learnt, self.draft_length)
        generator = Generator(self.open_target(recording, clock), drafters, policy, clock)
        for _ in generator.generate(recording.prompt, len(recording.tokens)):
            pass
        stats = generator.stats
        n_steps = stats.predicted_n - 1
        return Replayed(
            n_steps / stats.decode_s,
            n_steps * self.costs.step_s / stats.decode_s,
            stats.draft_n,
            stats.draft_n_accepted,
        )


class ReplayClock:
    """Seconds that pass only when somebody spends them."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slowdown = 1.0
        """How many times as long as before everything takes."""

    def __call__(self) -> float:
        """Seconds that have passed."""
        return self.now_s

    def spend(self, seconds: float) -> None:
        """Lets what should take that long happen."""
        self.now_s += self.slowdown * seconds


class _RecordedTarget:
    """Says its answer; after any other text, no token."""

    def __init__(self, recording: Recording, clock: ReplayClock, verify: CostCurve) -> None:
        self._said = [*recording.prompt, *recording.tokens]
        self._clock, self._costs = clock, CostCurve(verify.points)
        self._cache: list[int] = []
        self._valid = 0
        self._rows = 1

    @property
    def free_tokens(self) -> int:
        return _FREE_TOKENS

    def start(self, prompt: Sequence[int]) -> int:
        self._cache, self._valid, self._rows = list(prompt), len(prompt), 1
        return len(prompt)

    def evaluate(self, tokens: Sequence[int], batch: int) -> int:
        self._cache.extend(tokens)
        self._valid = shared_prefix(self._cache, self._said, min(self._valid, len(self._cache)))
        self._rows = len(tokens)
        rows = max(len(tokens), batch)
        self._clock.spend(self._costs.cost(rows))
        return rows

    def pick(self, row: int) -> int:
        end = self._end(row)
        return self._said[end] if end <= self._valid and end < len(self._said) else _NO_TOKEN

    def rollback(self, n_past: int) -> None:
        del self._cache[n_past:]
        self._valid = min(self._valid, n_past)

    def is_end(self, token: int) -> bool:
        del token
        return False

    def token_bytes(self, token: int) -> bytes:
        del token
        return b""

    def close(self) -> None:
        pass

    def _end(self, row: int) -> int:
        return len(self._cache) - self._rows + row + 1


class _RecordedDraft:
    """Says its recorded guesses as long as the text is the recorded one."""

    def __init__(self, recording: Recording, guesses: Guesses, clock: ReplayClock, costs: CostCurve) -> None:
        self._said = [*recording.prompt, *recording.tokens]
        self._first = len(recording.prompt)
        self._guesses, self._clock = guesses, clock
        self._costs = CostCurve(costs.points)
        self._view = guesses.whole
        self._end = self._begin = 0
        self._place, self._on_text = 0, True

    @property
    def n_read(self) -> int:
        return self._end - self._begin

    @property
    def most_read(self) -> int:
        return _MOST_READ

    def begin(self, history: Sequence[int]) -> None:
        del history
        self._end = self._begin = 0

    def missing(self, history: Sequence[int]) -> int | None:
        if not self._end:
            return None
        self._end = min(self._end, len(history))
        return max(len(history) - self._end, 1)

    def read(self, history: Sequence[int], chain: Sequence[int], window: int | None = None) -> int:
        if window is not None:
            self._begin = self._end = max(len(history) - window, 0)
            self._view = self._guesses.best_view(self._begin)
        text = len(history) + len(chain)
        rows = max(text - self._end, 1)
        # What it has read of a chain that the target takes stays read: that is the recorded text.
        true_n = shared_prefix(chain, self._said[len(history) : text])
        self._place, self._on_text = text, true_n == len(chain)
        self._end = len(history) + true_n
        self._clock.spend(self._costs.cost(rows))
        return rows

    def guess(self) -> tuple[int, float]:
        token, lead = self._view.at(self._place - self._first)
        return (token if self._on_text else _NO_TOKEN - 1), lead
