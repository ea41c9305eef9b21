"""Drafts whenever there can be any, so that what is tested does not depend on the speed of this machine."""

from functools import partial

import pytest

from edgespec.decode import fixed_policy

LENGTH = 4


def draft_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every session and benchmark of this test drafts four tokens at a time; costs play no part."""
    monkeypatch.setattr(fixed_policy, "Policy", partial(fixed_policy.FixedPolicy, length=LENGTH))
