"""Drafts whenever there can be any, so that what is tested does not depend on the speed of this machine."""

import pytest

from edgespec.decode import fixed_policy
from edgespec.decode.costs import PairCosts

LENGTH = 4


def draft_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every session and benchmark of this test drafts four tokens at a time; costs play no part."""

    def eager(costs: PairCosts, **_limits: object) -> fixed_policy.FixedPolicy:
        return fixed_policy.FixedPolicy(costs, length=LENGTH)

    monkeypatch.setattr(fixed_policy, "Policy", eager)
