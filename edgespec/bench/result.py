"""The values of a benchmark run: samples, arms, audit, measured costs. JSON is made of these and of nothing else."""

import math
from dataclasses import dataclass, field
from typing import Final

SCHEMA: Final = "edgespec.bench/1"
"""Name and version of the JSON contract; a field that changes its meaning changes the number."""
COPYING: Final = "copying"
"""What categories are together whose plain answers repeat their prompts."""
NOT_COPYING: Final = "not_copying"
"""And all others."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of one arm: one prompt, one repeat.

    `tok_per_s` covers decoding only: `predicted_n - 1` tokens over `decode_s`, because the first token comes out
    of the prompt's own pass and is counted in `ttft_s`.
    """

    prompt_id: str
    category: str
    repeat: int
    prompt_n: int
    predicted_n: int
    decode_s: float
    tok_per_s: float
    ttft_s: float
    prompt_tok_per_s: float
    draft_n: int
    """Draft tokens that the target tested."""
    draft_n_accepted: int
    target_passes: int
    """Target decodes after the prompt."""
    draft_s: float
    verify_s: float
    policy_s: float
    accepted_per_position: tuple[tuple[int, int], ...]
    """(accepted, tested) for draft position 1, 2, ..."""
    tokens: tuple[int, ...]
    stopped: str
    """`eog`, `length`, `context` or `interrupted`."""
    copied_n: int | None = None
    """Tokens of the answer that go on as its prompt does (`copying.count_copied`); None in older runs."""
    thought_n: int | None = None
    """Tokens of the answer that the model thought with, marks included; None in older runs."""


@dataclass(frozen=True, slots=True)
class CategoryFigures:
    """An arm in one category, or in several together."""

    tok_per_s: float
    speedup: float
    speedup_low: float = math.nan
    """As of an arm."""
    speedup_high: float = math.nan

    @property
    def is_slower(self) -> bool:
        """Whether all of the interval lies below plain decoding."""
        return self.speedup_high < 1.0


@dataclass(frozen=True, slots=True)
class ArmResult:
    """An arm: `plain`, a draft, `ngram`, `auto` or `fixed-K`, with its figures over all samples.

    Rates are geometric means over prompts of the median over repeats, so that one long prompt does not rule;
    `speedup` is the geometric mean of the per-prompt ratios to plain decoding in the same run.
    """

    name: str
    draft: str | None
    tok_per_s: float
    tok_per_s_sd: float
    speedup: float
    speedup_sd: float
    acceptance: float | None
    """Accepted / tested; None for an arm that never drafted."""
    mean_accepted_len: float | None
    """Tokens gained per target pass, the target's own token included."""
    t_d_s: float | None
    """One draft step; None without a model draft."""
    ttft_s: float
    prompt_tok_per_s: float
    peak_memory_bytes: int
    draft_time_share: float
    verify_time_share: float
    policy_time_share: float
    accept_rate_per_position: tuple[float, ...]
    by_category: dict[str, CategoryFigures]
    samples: tuple[Sample, ...]
    note: str = ""
    """Why speculation was on or off, in words."""
    draft_length: int | None = None
    """Of every draft; None where it is as long as it pays."""
    speedup_low: float = math.nan
    """With `speedup_high` the 95 % interval of `speedup`; `nan` for a single answer and in older runs."""
    speedup_high: float = math.nan
    by_copying: dict[str, CategoryFigures] = field(default_factory=dict)
    """Over the categories that copy (`COPYING`) and over those that do not (`NOT_COPYING`); empty in older runs."""
    thought_share: float | None = None
    """Of the answers' tokens, those that the model thought with, 0 to 1; None in older runs."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where an output leaves the plain one of the same target."""

    arm: str
    prompt_id: str
    repeat: int
    position: int
    plain_token: int
    arm_token: int
    logit_gap: float
    """Best minus second best logit of the plain decode at that place; small means a floating-point tie."""
    large: bool
    """True when the gap is too large for a tie: the run fails."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The equality audit of a run."""

    compared: int = 0
    identical: int = 0
    first_differences: tuple[Difference, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether any difference cannot be explained by a tie."""
        return any(difference.large for difference in self.first_differences)


@dataclass(frozen=True, slots=True)
class MeasuredCosts:
    """What a draft step and a target decode of n rows cost here, in seconds."""

    t_d_s: dict[str, float] = field(default_factory=dict)
    """By draft name."""
    t_v_s: dict[int, float] = field(default_factory=dict)
    """By number of rows."""


@dataclass(frozen=True, slots=True)
class BenchResult:
    """A whole run, finished or not (`complete` says which)."""

    run_id: str
    started_at: str
    """ISO 8601, UTC."""
    target: str
    env: dict[str, object]
    settings: dict[str, object]
    arms: tuple[ArmResult, ...]
    audit: Audit
    calibration: MeasuredCosts
    complete: bool = True
