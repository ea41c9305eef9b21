"""An arm that breaks the promise: what an audit must find."""

from typing import Any

import pytest

from edgespec.bench import audit
from edgespec.decode.generate import Generator
from edgespec.session.engine import Engine

FIRST_WRONG = 6


def accept_wrong_tokens(monkeypatch: pytest.MonkeyPatch, arm: str) -> None:
    """From its sixth token on, the arm (a draft's name, `ngram` or `auto`) accepts what the target did not choose."""
    make = Engine.generator

    def generator(engine: Engine, mode: Any, draft: Any, *rest: Any) -> Generator:
        made = make(engine, mode, draft, *rest)
        if arm in (draft, mode.value):
            verify = made._rounds.verify

            def accept_anything() -> list[int]:
                tokens: list[int] = verify()
                if made.stats.predicted_n >= FIRST_WRONG:
                    tokens[-1] = tokens[-1] - 1 if tokens[-1] > 200 else tokens[-1] + 1
                return tokens

            monkeypatch.setattr(made._rounds, "verify", accept_anything)
        return made

    monkeypatch.setattr(Engine, "generator", generator)


def judge_strictly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny models are seldom as sure of a token as real ones: a twentieth of a logit is not a tie in this test."""
    monkeypatch.setattr(audit, "LARGE_GAP", 0.05)
