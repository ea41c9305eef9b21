"""Drafts whenever there can be any, so that what is tested does not depend on the speed of this machine."""

from functools import partial

import pytest

from edgespec.decode.fixed_policy import FixedPolicy
from edgespec.session import engine

LENGTH = 4


def draft_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every session and benchmark of this test drafts four tokens at a time; costs play no part."""
    monkeypatch.setattr(engine, "Policy", partial(FixedPolicy, length=LENGTH))
