"""A day of use, in short: `make soak` has the app answer a thousand questions."""

import math
import sys
from pathlib import Path

import pytest

from scripts.growth import MIB, Sample, growth_of
from scripts.soak import chat, save_conversations
from tests.tiny import CHAT_TEMPLATE, TinyShape, make_tiny_model


def samples(mib_per_turn: float, handles: int = 10) -> list[Sample]:
    return [
        Sample(turn, int((50 + mib_per_turn * turn) * MIB), handles if turn == 100 else 10, 4)
        for turn in range(10, 101, 10)
    ]


@pytest.mark.parametrize(
    ("mib_per_turn", "handles", "is_within"), [(0.0, 10, True), (0.002, 10, False), (0.0, 11, False)]
)
def test_a_leak_is_seen(mib_per_turn: float, handles: int, is_within: bool) -> None:
    growth = growth_of("app", samples(mib_per_turn, handles))
    assert growth.is_within is is_within
    assert growth.mib_per_1000 == pytest.approx(1000 * mib_per_turn, abs=0.01)


def test_the_warm_up_does_not_count() -> None:
    early = [Sample(turn, turn * MIB, 99, 4) for turn in range(1, 20)]
    assert growth_of(
        "app", [*early, *(Sample(turn, 20 * MIB, 10, 4) for turn in range(20, 51))], 0.4
    ).is_within


@pytest.mark.skipif(sys.platform == "win32", reason="handles are counted as POSIX counts them")
async def test_turns_and_conversations_keep_no_handle_and_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    save_conversations(2)
    model = make_tiny_model(
        tmp_path / "tiny.gguf", chat_template=CHAT_TEMPLATE, shape=TinyShape(context=4096)
    )
    growths = await chat(model, 50, math.inf, told=lambda _line: None)
    assert [growth.name for growth in growths] == ["app", "engine"]
    for growth in growths:
        assert growth.first.done_n < growth.last.done_n == 50
        assert growth.last.n_handles <= growth.first.n_handles
        assert growth.last.n_threads <= growth.first.n_threads
