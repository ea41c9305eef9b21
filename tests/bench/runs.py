"""Benchmark runs with known figures, for the tests of what is made of them."""

import dataclasses
from collections.abc import Mapping, Sequence

from edgespec.bench.result import (
    ArmResult,
    Audit,
    BenchResult,
    Difference,
    MeasuredCosts,
    Sample,
)
from edgespec.bench.summary import summarize_arm

TOKENS = 101
COPIED_N = {"edit": 80}
"""Copied tokens of the answers of a category."""


def sample(
    rate: float, *, prompt_id: str = "chat-1", category: str = "chat", repeat: int = 0, **changes: object
) -> Sample:
    """An answer of 101 tokens at `rate` tok/s."""
    plain = Sample(
        prompt_id=prompt_id,
        category=category,
        repeat=repeat,
        prompt_n=40,
        predicted_n=TOKENS,
        decode_s=(TOKENS - 1) / rate,
        tok_per_s=rate,
        ttft_s=0.5,
        prompt_tok_per_s=80.0,
        draft_n=0,
        draft_n_accepted=0,
        target_passes=TOKENS - 1,
        draft_s=0.0,
        verify_s=(TOKENS - 1) / rate,
        policy_s=0.0,
        accepted_per_position=(),
        tokens=(1, 2, 3),
        stopped="length",
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def answers(rates: Mapping[str, Sequence[float]], **changes: object) -> list[Sample]:
    """Answers by prompt id (`code-2` is of the category code), one for each repeat."""
    found = []
    for prompt, repeated in rates.items():
        category = prompt.partition("-")[0]
        own = {"copied_n": COPIED_N.get(category, 0), **changes}
        found += [
            sample(rate, prompt_id=prompt, category=category, repeat=repeat, **own)
            for repeat, rate in enumerate(repeated)
        ]
    return found


DRAFTED: dict[str, object] = {
    "draft_n": 60,
    "draft_n_accepted": 45,
    "target_passes": 50,
    "draft_s": 1.0,
    "verify_s": 4.0,
    "policy_s": 0.5,
    "accepted_per_position": ((30, 40), (15, 20)),
}
PLAIN_RATES = {"chat-1": (10.0, 10.1, 9.9), "edit-1": (9.8, 10.0, 10.2)}


def arm(
    name: str, factors: Mapping[str, float], *, draft: str | None = None, draft_length: int | None = None
) -> ArmResult:
    """An arm that is `factors[prompt]` times as fast as `PLAIN_RATES`, all but the first repeat 1 % off."""
    rates = {
        prompt: tuple(rate * factors[prompt] * (1 + 0.01 * (i % 2)) for i, rate in enumerate(repeated))
        for prompt, repeated in PLAIN_RATES.items()
    }
    t_d_s = 0.02 if draft else None
    return summarize_arm(
        name,
        draft,
        answers(rates, **DRAFTED),
        answers(PLAIN_RATES),
        t_d_s=t_d_s,
        peak_memory_bytes=3 * 2**20,
        draft_length=draft_length,
    )


def plain_arm() -> ArmResult:
    """Plain decoding at `PLAIN_RATES`."""
    plain = answers(PLAIN_RATES)
    return summarize_arm("plain", None, plain, plain, peak_memory_bytes=2 * 2**20)


def run(*arms: ArmResult, **changes: object) -> BenchResult:
    """A finished run of these arms, by default plain, a draft, ngram and auto."""
    result = BenchResult(
        run_id="20260102-030405-1f9a",
        started_at="2026-01-02T03:04:05Z",
        target="big-1.5b",
        env={"cpu": "test", "cores": 2, "load": [0.5, None]},
        settings={"repeat": 3},
        arms=arms
        or (
            plain_arm(),
            arm("small-0.5b", {"chat-1": 0.8, "edit-1": 0.9}, draft="small-0.5b"),
            arm("ngram", {"chat-1": 1.0, "edit-1": 1.8}),
            arm("auto", {"chat-1": 1.0, "edit-1": 2.0}, draft="small-0.5b"),
        ),
        audit=Audit(18, 17, (Difference("auto", "chat-1", 2, 49, 11, 12, 0.01, False),)),
        calibration=MeasuredCosts({"small-0.5b": 0.02}, {1: 0.1, 2: 0.18, 4: 0.21}),
    )
    return dataclasses.replace(result, **changes)  # type: ignore[arg-type]


def fixed_run(auto_factor: float = 1.1) -> BenchResult:
    """With arms of fixed length besides: fixed-2 is the best, and `auto` is `auto_factor` times as fast everywhere."""
    fixed = {length: {"chat-1": 1.1, "edit-1": edit} for length, edit in ((1, 1.2), (2, 1.5), (3, 1.3))}
    return run(
        plain_arm(),
        arm("small-0.5b", {"chat-1": 1.2, "edit-1": 1.7}, draft="small-0.5b"),
        arm("auto", {prompt: auto_factor * one for prompt, one in fixed[2].items()}, draft="small-0.5b"),
        *(
            arm(f"fixed-{length}", factors, draft="small-0.5b", draft_length=length)
            for length, factors in fixed.items()
        ),
    )
