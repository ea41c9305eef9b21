"""Policies and rounds for tests of what they decide."""

from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.drafters.contract import Reading
from edgespec.decode.policy import (
    Policy,
)
from tests.decode.scripted import (
    FLAT,
    USUAL_DRAFT,
)
from tests.decode.scripted_drafter import ScriptedDrafter


def policy_of(verify: dict[int, float] = FLAT, draft: dict[int, float] | None = USUAL_DRAFT) -> Policy:
    return Policy(PairCosts(CostCurve(verify), CostCurve(draft) if draft else None))


def step_plainly(policy: Policy, count: int) -> None:
    for _ in range(count):
        policy.observe_round(1, 1, 0.0, was_read=False)


def readable(policy: Policy, reading: Reading, *, done: int = 1, remaining: int = 100) -> bool:
    drafter = ScriptedDrafter(step_s=policy.costs.draft_step_s)
    return policy.choose_reading(drafter, [reading], done, remaining) is reading
