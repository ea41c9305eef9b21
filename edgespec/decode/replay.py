"""Answers replayed without a model: the real loop and policy over what was recorded, on a clock that costs advance.

A draft is right or wrong at a place of a recorded answer whenever it gets there, because only right guesses lead on:
so one reading of the answer tells all that a run would find out. What it would guess after a mistake is not known;
such guesses are never accepted, and only their leads, which say how long it goes on, are taken from the true text.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from edgespec.decode.acceptance import Acceptance
from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.engines import shared_prefix
from edgespec.decode.generate import Generator
from edgespec.decode.policy import Mode, Policy

_NO_TOKEN = -1
"""What a target says after a text that was not recorded; a draft says another, which is thus never accepted."""
_FREE_TOKENS = 1 << 30


@dataclass(frozen=True, slots=True)
class Recording:
    """What a target answered, greedily: token ids, in its vocabulary."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    gaps: tuple[float, ...]
    """Each token's lead in logits over the second best, as many as `tokens`."""


@dataclass(frozen=True, slots=True)
class Guesses:
    """What a draft says at every place of an answer, after the true text before it.

    For an answer 5, 6, 7 the draft may say 5 after the prompt, 6 after 5 and 9 after 5, 6: `tokens` is 5, 6, 9, and the
    acceptance 2/3.
    """

    tokens: tuple[int, ...]
    """In the target's ids, as many as the answer has."""
    leads: tuple[float, ...]
    """Of each, in logits over its second best."""

    def acceptance(self, recording: Recording) -> float:
        """Share of places where it says what the target said, 0 to 1."""
        same = sum(a == b for a, b in zip(self.tokens, recording.tokens, strict=True))
        return same / max(len(self.tokens), 1)


@dataclass(frozen=True, slots=True)
class Replayed:
    """One replayed answer."""

    tok_per_s: float
    """Decoding only, as of `GenerationStats`."""
    speedup: float
    """Over plain steps."""
    draft_n: int
    draft_n_accepted: int


def replay(
    recordings: Sequence[Recording],
    guesses: Sequence[Guesses] | None,
    costs: PairCosts,
    mode: Mode = Mode.AUTO,
) -> list[Replayed]:
    """All answers one after the other, with what is learnt from one to the next.

    Args:
        recordings: Of more than one token each.
        guesses: Of the draft, one for each recording; None without a draft.
        costs: What every pass costs; nothing is changed in it.
        mode: Of the policy.

    Returns:
        One for each recording.
    """
    learnt, acceptance = copy.deepcopy(costs), Acceptance()
    results = []
    for number, recording in enumerate(recordings):
        clock = _Clock()
        target = _RecordedTarget(recording, clock, costs.verify)
        draft = None
        if guesses is not None and costs.draft is not None:
            draft = _RecordedDraft(recording, guesses[number], clock, costs.draft, costs.catch_up_window())
        generator = Generator(target, draft, Policy(learnt, acceptance, mode), clock)
        for _ in generator.generate(recording.prompt, len(recording.tokens)):
            pass
        stats = generator.stats
        plain_s = (stats.predicted_n - 1) * costs.step_s
        results.append(
            Replayed(
                (stats.predicted_n - 1) / stats.decode_s,
                plain_s / stats.decode_s,
                stats.draft_n,
                stats.draft_n_accepted,
            )
        )
    return results


class _Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class _RecordedTarget:
    """Says its answer; after any other text, no token."""

    def __init__(self, recording: Recording, clock: _Clock, verify: CostCurve) -> None:
        self._said = [*recording.prompt, *recording.tokens]
        self._first = len(recording.prompt)
        self._gaps = recording.gaps
        self._clock, self._costs = clock, CostCurve(dict(verify.points))
        self._cache: list[int] = []
        self._valid = 0
        self._rows = 1

    @property
    def free_tokens(self) -> int:
        return _FREE_TOKENS

    def start(self, prompt: Sequence[int]) -> int:
        self._cache, self._valid, self._rows = list(prompt), len(prompt), 1
        return len(prompt)

    def evaluate(self, tokens: Sequence[int], batch: int) -> None:
        self._cache.extend(tokens)
        self._valid = shared_prefix(self._cache, self._said, min(self._valid, len(self._cache)))
        self._rows = len(tokens)
        self._clock.now_s += self._costs.cost(max(len(tokens), batch))

    def pick(self, row: int) -> int:
        end = self._end(row)
        return self._said[end] if end <= self._valid and end < len(self._said) else _NO_TOKEN

    def certainty(self, row: int, token: int) -> float:
        del token
        return self._gaps[min(self._end(row) - self._first, len(self._gaps) - 1)]

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

    def __init__(
        self, recording: Recording, guesses: Guesses, clock: _Clock, costs: CostCurve, window: int
    ) -> None:
        self._said = [*recording.prompt, *recording.tokens]
        self._first = len(recording.prompt)
        self._guesses, self._clock, self._window = guesses, clock, window
        self._costs = CostCurve(dict(costs.points))
        self.begin()

    def begin(self) -> None:
        self._n_read, self._on_text, self._drafted = 0, True, 0

    def missing(self, history: Sequence[int]) -> int:
        return min(max(len(history) - self._n_read, 1), self._window)

    def catch_up(self, history: Sequence[int]) -> int:
        rows = self.missing(history)
        self._n_read, self._on_text = len(history), True
        self._drafted = 0
        self._clock.now_s += self._costs.cost(rows)
        return rows

    def guess(self) -> tuple[int, float]:
        place = min(self._n_read + self._drafted - self._first, len(self._guesses.tokens) - 1)
        token = self._guesses.tokens[place]
        self._on_text = self._on_text and token == self._said[self._first + place]
        return (token if self._on_text else _NO_TOKEN - 1), self._guesses.leads[place]

    def advance(self) -> None:
        self._drafted += 1
        if self._on_text:
            # What was accepted stays in its cache.
            self._n_read += 1
            self._drafted -= 1
        self._clock.now_s += self._costs.cost(1)
