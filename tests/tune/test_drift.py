"""Timings on a machine whose speed changes: real contexts on made-up time."""

from pathlib import Path

import pytest

from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.tune.drift import Yardstick
from tests.decode.scripted import FakeClock

ROWS_S = {1: 0.02, 2: 0.03, 4: 0.05}


def test_what_is_timed_in_a_slow_hour_costs_what_it_costs_in_a_usual_one(
    tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    clock, mood = FakeClock(), [1.0]
    decode = Context.decode

    def timed(context: Context, tokens: list[int], *, outputs: int = 1, pad_to: int = 0) -> None:
        decode(context, tokens, outputs=outputs, pad_to=pad_to)
        clock.spend(mood[0] * ROWS_S[len(tokens)])

    monkeypatch.setattr(Context, "decode", timed)
    with Yardstick(tiny_model, 1, clock) as yardstick, Model(tiny_draft) as model:
        mood[0] = 3.0
        with Context(model, ContextSettings(256, 1, n_outputs_max=4)) as context:
            times = yardstick.times(context, (1, 2, 4), 30.0, all_outputs=True)
            assert context.n_past == 0
    assert times == pytest.approx(ROWS_S)
