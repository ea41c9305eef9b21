"""From samples to the figures of an arm: what is paired with what, and which samples count."""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from edgespec.bench.copying import copied_shares, group_of
from edgespec.bench.result import COPYING, NOT_COPYING, ArmResult, BenchResult, CategoryFigures, Sample
from edgespec.bench.statistics import (
    Estimate,
    geometric_mean,
    mean_ratio,
    median,
    outliers,
    ratio_interval,
    spread_of_rates,
)
from edgespec.decode.policy import Mode
from edgespec.decode.token import GenerationStats
from edgespec.errors import EdgespecError

PLAIN_ARM: Final = "plain"
"""The arm that every other one is compared with."""
AUTO_ARM: Final = "auto"
"""The arm of the policy."""


def arm_name(mode: Mode, draft: str | None, draft_length: int | None = None) -> str:
    """What an arm is called: `plain`, a draft's own name, `ngram`, `auto`, or `fixed-2` with a length for every draft."""
    if draft_length is not None:
        return f"fixed-{draft_length}"
    return {Mode.OFF: PLAIN_ARM, Mode.MODEL: draft or str(mode)}.get(mode, str(mode))


def sample_of(
    stats: GenerationStats,
    prompt_id: str,
    category: str,
    repeat: int,
    tokens: tuple[int, ...],
    copied_n: int | None = None,
    thought_n: int | None = None,
) -> Sample:
    """An answer's figures as a sample.

    Args:
        stats: Of an answer whose prompt was read from its start.
        prompt_id: Which prompt.
        category: Its category.
        repeat: Number of the answer, from 0.
        tokens: Ids of the answer.
        copied_n: How many of them are copied from the prompt, where that is known.
        thought_n: How many of them are thoughts, likewise.
    """
    return Sample(
        prompt_id=prompt_id,
        category=category,
        repeat=repeat,
        prompt_n=stats.prompt_n,
        predicted_n=stats.predicted_n,
        decode_s=stats.decode_s,
        tok_per_s=stats.tok_per_s,
        ttft_s=stats.ttft_s,
        prompt_tok_per_s=stats.prompt_tok_per_s,
        draft_n=stats.draft_n,
        draft_n_accepted=stats.draft_n_accepted,
        target_passes=stats.target_passes,
        draft_s=stats.draft_s,
        verify_s=stats.verify_s,
        policy_s=stats.policy_s,
        accepted_per_position=tuple(zip(stats.accepted_at, stats.tested_at, strict=True)),
        tokens=tokens,
        stopped=stats.stopped,
        copied_n=copied_n,
        thought_n=thought_n,
    )


def summarize_arm(
    name: str,
    draft: str | None,
    samples: Sequence[Sample],
    plain_samples: Sequence[Sample],
    *,
    t_d_s: float | None = None,
    peak_memory_bytes: int = 0,
    note: str = "",
    draft_length: int | None = None,
) -> ArmResult:
    """The figures of one arm.

    `spread_of_rates` defines the rate and its deviation, `mean_ratio` the speed-up and its error. Answers that were
    interrupted or that have no decode rate (fewer than two tokens) are kept among the samples but count nowhere.

    Args:
        name: As `arm_name` has it.
        draft: The draft model's name, or None.
        samples: Every answer of this arm.
        plain_samples: Every plain answer of the same run; the arm named `plain` is 1.0 by definition.
        t_d_s: One draft step in seconds, as measured with the costs.
        peak_memory_bytes: Highest resident memory while the arm ran.
        note: Why speculation was on or off.
        draft_length: Of every draft, where it is fixed.

    Raises:
        EdgespecError: no answer of this arm counts, so it has no figures.
    """
    counted = _counted(samples)
    if not counted:
        raise EdgespecError(
            f"arm {name!r} has no answer of two tokens or more, so it has no speed",
            "raise `max_tokens`, or choose other prompts with `prompts` or `category`",
        )
    rate = _rates(counted, lambda s: s.tok_per_s)
    speedup = Estimate(1.0, 0.0) if name == PLAIN_ARM else paired_ratio(counted, plain_samples)
    base = samples if name == PLAIN_ARM else plain_samples
    interval = ratio_interval(paired_ratios(counted, base))
    return ArmResult(
        name=name,
        draft=draft,
        tok_per_s=rate.value,
        tok_per_s_sd=rate.sd,
        speedup=speedup.value,
        speedup_sd=speedup.sd,
        acceptance=_quotient(sum(s.draft_n_accepted for s in counted), sum(s.draft_n for s in counted)),
        mean_accepted_len=_quotient(
            sum(s.predicted_n - 1 for s in counted), sum(s.target_passes for s in counted)
        ),
        t_d_s=t_d_s,
        ttft_s=_rates(counted, lambda s: s.ttft_s).value,
        prompt_tok_per_s=_rates(counted, lambda s: s.prompt_tok_per_s).value,
        peak_memory_bytes=peak_memory_bytes,
        draft_time_share=_time_share(counted, lambda s: s.draft_s),
        verify_time_share=_time_share(counted, lambda s: s.verify_s),
        policy_time_share=_time_share(counted, lambda s: s.policy_s),
        accept_rate_per_position=_per_position(counted),
        by_category=_by_category(counted, base),
        samples=tuple(samples),
        note=note,
        draft_length=draft_length,
        speedup_low=interval.low,
        speedup_high=interval.high,
        by_copying=_by_copying(counted, base),
        thought_share=_thought_share(counted),
    )


def has_figures(samples: Sequence[Sample]) -> bool:
    """Whether any of these answers counts, so that `summarize_arm` can say something about them."""
    return bool(_counted(samples))


def arm_in_category(arm: ArmResult, category: str, plain: ArmResult | None) -> ArmResult:
    """The same arm as if the run had had this category's prompts alone.

    Raises:
        EdgespecError: no answer in this category counts.
    """
    return summarize_arm(
        arm.name,
        arm.draft,
        [s for s in arm.samples if s.category == category],
        [s for s in plain.samples if s.category == category] if plain else [],
        t_d_s=arm.t_d_s,
        peak_memory_bytes=arm.peak_memory_bytes,
        note=arm.note,
        draft_length=arm.draft_length,
    )


def paired_ratio(samples: Sequence[Sample], base: Sequence[Sample]) -> Estimate:
    """How much faster `samples` decode than `base`: answers to the same prompt in the same repeat are paired.

    Both parts are `nan` when nothing can be paired. Two runs can be compared too: their repeats are then paired by
    number, which leaves the error estimate unbiased because the two runs' noise is independent.
    """
    return mean_ratio(paired_ratios(samples, base))


def paired_ratios(samples: Sequence[Sample], base: Sequence[Sample]) -> dict[str, list[float]]:
    """What `paired_ratio` is the mean of: rates of `samples` over those of `base`, of each prompt by repeat."""
    base_rates = {(s.prompt_id, s.repeat): s.tok_per_s for s in _counted(base)}
    by_prompt: defaultdict[str, list[float]] = defaultdict(list)
    for s in _counted(samples):
        plain = base_rates.get((s.prompt_id, s.repeat))
        if plain is not None:
            by_prompt[s.prompt_id].append(s.tok_per_s / plain)
    return by_prompt


def copied_shares_of(result: BenchResult) -> dict[str, float]:
    """Copied share of the plain answers by category; empty for older runs."""
    plain = arm_named(result, PLAIN_ARM)
    return copied_shares(_counted(plain.samples)) if plain else {}


def has_thoughts(result: BenchResult) -> bool:
    """Whether any answer thought: only then there is something to show of it."""
    return any(arm.thought_share for arm in result.arms)


def arm_named(result: BenchResult, name: str) -> ArmResult | None:
    """The arm of that name, or None."""
    return next((arm for arm in result.arms if arm.name == name), None)


def is_plain(
    arm: ArmResult, figures: ArmResult | CategoryFigures | None = None, among: Collection[str] | None = None
) -> bool:
    """Whether an arm drafted nothing and is as fast as plain decoding within its interval: the rest of its speed-up is noise.

    Args:
        arm: Any but plain.
        figures: Of some of its prompts; None for all of them.
        among: The categories that these are of.
    """
    own = arm if figures is None else figures
    is_known, is_sure = math.isfinite(own.speedup), own.speedup_low > 1 or own.speedup_high < 1
    return is_known and not is_sure and drafted_nothing(arm, among)


def drafted_nothing(arm: ArmResult, among: Collection[str] | None = None) -> bool:
    """Whether no draft was tried in any answer, or in those of some categories."""
    return not any(s.draft_n for s in arm.samples if among is None or s.category in among)


def categories(arms: Iterable[ArmResult]) -> tuple[str, ...]:
    """All categories of these arms, in the order in which they first appear."""
    return tuple(dict.fromkeys(name for arm in arms for name in arm.by_category))


def unsteady_samples(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Answers whose rate is an outlier against the other repeats of their prompt: something disturbed the machine."""
    counted = _counted(samples)
    middles = {key: median(values) for key, values in _by_prompt(counted, lambda s: s.tok_per_s).items()}
    found = outliers([math.log(s.tok_per_s / middles[s.prompt_id]) for s in counted])
    return tuple(counted[i] for i in found)


def _counted(samples: Sequence[Sample]) -> list[Sample]:
    return [
        s
        for s in samples
        if s.stopped != "interrupted" and s.predicted_n > 1 and math.isfinite(s.tok_per_s) and s.tok_per_s > 0
    ]


def _by_prompt(samples: Sequence[Sample], figure: Callable[[Sample], float]) -> dict[str, list[float]]:
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for sample in samples:
        value = figure(sample)
        if math.isfinite(value) and value > 0:
            groups[sample.prompt_id].append(value)
    return groups


def _rates(samples: Sequence[Sample], figure: Callable[[Sample], float]) -> Estimate:
    return spread_of_rates(_by_prompt(samples, figure))


def _by_category(samples: Sequence[Sample], plain: Sequence[Sample]) -> dict[str, CategoryFigures]:
    found: dict[str, CategoryFigures] = {}
    for name in dict.fromkeys(s.category for s in samples):
        found[name] = _figures([s for s in samples if s.category == name], plain)
    return found


def _by_copying(samples: Sequence[Sample], plain: Sequence[Sample]) -> dict[str, CategoryFigures]:
    groups = {category: group_of(share) for category, share in copied_shares(_counted(plain)).items()}
    found: dict[str, CategoryFigures] = {}
    for group in (COPYING, NOT_COPYING):
        own = [s for s in samples if groups.get(s.category) == group]
        if own:
            found[group] = _figures(own, plain)
    return found


def _figures(samples: Sequence[Sample], plain: Sequence[Sample]) -> CategoryFigures:
    medians = [median(values) for values in _by_prompt(samples, lambda s: s.tok_per_s).values()]
    ratios = paired_ratios(samples, plain)
    interval = ratio_interval(ratios)
    return CategoryFigures(geometric_mean(medians), mean_ratio(ratios).value, interval.low, interval.high)


def _time_share(samples: Sequence[Sample], part: Callable[[Sample], float]) -> float:
    whole = math.fsum(s.decode_s for s in samples)
    return math.fsum(map(part, samples)) / whole if whole > 0 else 0.0


def _thought_share(samples: Sequence[Sample]) -> float | None:
    known = [(s.thought_n, s.predicted_n) for s in samples if s.thought_n is not None]
    return _quotient(sum(thought_n for thought_n, _ in known), sum(predicted_n for _, predicted_n in known))


def _per_position(samples: Sequence[Sample]) -> tuple[float, ...]:
    """Accepted / tested for draft position 1, 2, ..., up to the last position that was ever tested."""
    accepted: defaultdict[int, int] = defaultdict(int)
    tested: defaultdict[int, int] = defaultdict(int)
    for sample in samples:
        for position, (hits, tries) in enumerate(sample.accepted_per_position):
            accepted[position] += hits
            tested[position] += tries
    last = max((p for p, tries in tested.items() if tries), default=-1)
    return tuple(accepted[p] / tested[p] if tested[p] else 0.0 for p in range(last + 1))


def _quotient(above: int, below: int) -> float | None:
    return above / below if below else None
