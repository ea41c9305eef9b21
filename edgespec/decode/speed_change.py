"""How soon what is drafted is right again after the machine has changed its speed, in replays.

A change of speed that all passes have in common changes no choice of somebody who knows of it. What `auto` does while it
finds out is compared, round by round, with what it would do with the same beliefs in the same place had nothing changed.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose

from edgespec.decode.acceptance import Acceptance
from edgespec.decode.chain import Chain
from edgespec.decode.costs import PairCosts
from edgespec.decode.drafters.contract import Drafter, Quote, Reading
from edgespec.decode.drafting import Drafting
from edgespec.decode.generate import Generator
from edgespec.decode.policy import Extension, Policy
from edgespec.decode.replay import Guesses, Recording, Replay, ReplayClock

_Choice = tuple[tuple[int, ...], float]
"""The tokens that go to the target, and what finding them should have cost, in seconds before the change."""


@dataclass(frozen=True, slots=True)
class AfterChange:
    """An answer in which every pass took another time from its middle on."""

    was_right: tuple[bool, ...]
    """Of each round since: whether it drafted what a policy would that knew of the change."""
    seconds: float
    """Since then, at the speed before it: what was drafted wrongly shows, and the speed does not."""

    @property
    def rounds_until_right(self) -> int:
        """Rounds up to the last one that was not right: 0 where all were, and 3 after right, wrong, wrong, right."""
        return max((n for n, right in enumerate(self.was_right, 1) if not right), default=0)


def replay_speed_change(
    costs: PairCosts, recordings: Sequence[Recording], guesses: Sequence[Guesses] | None, slowdown: float
) -> list[AfterChange]:
    """Replays answers with drafts as they pay; each begins with the right costs, and acceptance is learnt throughout.

    Args:
        costs: Of every pass before the change.
        recordings: What the target answered; more than one token each.
        guesses: Of the draft, one for each recording; None without a draft.
        slowdown: How many times as long every pass takes from the middle of an answer on, above 0.
    """
    acceptance = Acceptance()
    found = []
    for number, recording in enumerate(recordings):
        policy = _WatchedPolicy(costs, len(recording.tokens), slowdown)
        replay = Replay(costs)
        own = guesses[number] if guesses else None
        policy.drafters = replay.open_drafters(recording, own, policy.costs, acceptance, policy.clock)
        target = replay.open_target(recording, policy.clock)
        generator = Generator(target, policy.drafters, policy, policy.clock)
        for _ in generator.generate(recording.prompt, len(recording.tokens)):
            pass
        found.append(AfterChange(tuple(policy.was_right), policy.seconds))
    return found


class _WatchedPolicy:
    """A policy that learns of the change from its costs, and beside it one to which nothing happened."""

    def __init__(self, costs: PairCosts, n_tokens: int, slowdown: float) -> None:
        self.costs = copy.deepcopy(costs)
        self.clock = ReplayClock()
        self.drafters: list[Drafter] = []
        self.was_right: list[bool] = []
        self.seconds = 0.0
        self._true_costs, self._n_tokens, self._slowdown = costs, n_tokens, slowdown
        self._policy, self._knowing = Policy(self.costs), Policy(copy.deepcopy(costs))
        self._began_s = 0.0
        self._chosen: _Choice = (), 0.0
        self._known: _Choice | None = None

    def begin(self) -> None:
        self._policy.begin()
        self._knowing.begin()

    @property
    def token_worth(self) -> float:
        return self._policy.token_worth

    def join(self, n_answers: int) -> None:
        self._policy.join(n_answers)
        self._knowing.join(n_answers)

    def charge(self, row_price: float) -> None:
        self._policy.charge(row_price)
        self._knowing.charge(row_price)

    def most(self, remaining: int) -> int:
        if 2 * remaining <= self._n_tokens:
            self.clock.slowdown = self._slowdown
            self._known = self._choose_knowing(remaining)
        self._began_s = self.clock()
        self._chosen = (), 0.0
        return self._policy.most(remaining)

    def choose_reading(
        self, drafter: Drafter, readings: Sequence[Reading], done: int, remaining: int
    ) -> Reading | None:
        return self._policy.choose_reading(drafter, readings, done, remaining)

    def weigh(self, chain: Chain, quote: Quote) -> Extension:
        return self._policy.weigh(chain, quote)

    def count_worth_verifying(self, chain: Chain) -> int:
        count = self._policy.count_worth_verifying(chain)
        self._chosen = tuple(chain.tokens[:count]), (self.clock() - self._began_s) / self.clock.slowdown
        return count

    def observe_round(self, tokens: int, rows: int, drafts_s: float, *, was_read: bool) -> None:
        if self._known:
            is_same = self._known[0] == self._chosen[0] and isclose(self._known[1], self._chosen[1])
            self.was_right.append(is_same)
            self.seconds += (self.clock() - self._began_s) / self._slowdown
        self._policy.observe_round(tokens, rows, drafts_s, was_read=was_read)
        self._knowing.observe_round(tokens, rows, self._chosen[1], was_read=was_read)

    def _choose_knowing(self, remaining: int) -> _Choice:
        """What it would draft here with a copy of its drafters to which costs and clock are as before the change."""
        clock = ReplayClock()
        others = {id(self.costs): copy.deepcopy(self._true_costs), id(self.clock): clock}
        drafters = copy.deepcopy(self.drafters, others)
        drafted = Drafting(drafters, self._knowing, clock).draft(self._n_tokens - remaining, remaining)
        return tuple(drafted.chain.tokens), drafted.drafters_s
