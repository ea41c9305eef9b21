"""Finalists for real: all of them answer the same prompts side by side, a token each in turn, whatever their target.

Paired like `edgespec bench`, but across forms of the target: what the machine does meanwhile, it does to all of them.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from edgespec.bench.interleave import run_interleaved
from edgespec.bench.prompts import Prompt
from edgespec.bench.statistics import geometric_mean, mean_ratio, median
from edgespec.decode.chat_template import tokenize_chat
from edgespec.decode.policy import Mode
from edgespec.llama.sampler import Sampling
from edgespec.session.context_pair import ContextPair
from edgespec.session.engine import Engine, PairState
from edgespec.session.loading import TARGET_ROWS

_WARM_UP_TOKENS = 12
_LEAST_TOKENS = 2


@dataclass(frozen=True, slots=True)
class Finalist:
    """A target form with a draft in some mode."""

    engine: Engine
    mode: Mode
    draft: str | None
    state: PairState


@dataclass(frozen=True, slots=True)
class Measured:
    """What a finalist did, against the first one."""

    tok_per_s: float
    """Geometric mean over prompts."""
    speedup: float
    speedup_sd: float
    lowest_category: float
    """Speed-up in the category where it is least."""


@dataclass(slots=True)
class _Entry:
    finalist: Finalist
    lane: ContextPair
    rates: dict[str, list[float]] = field(default_factory=dict)


def measure_finalists(
    finalists: Sequence[Finalist],
    prompts: Sequence[Prompt],
    max_tokens: int,
    *,
    has_time: Callable[[], bool],
    report: Callable[[int, int], None],
    repeats: int = 2,
) -> list[Measured]:
    """Lets all answer all prompts, again while there is time; the first is what the others are compared with.

    Args:
        finalists: Loaded and calibrated.
        prompts: The first of every category is answered in any case, and first.
        max_tokens: Of each answer.
        has_time: Whether another prompt may begin, once every category had its first.
        report: Told about prompts.
        repeats: Rounds at most.

    Raises:
        NotEnoughMemoryError: no room for a cache of each.
    """
    with ExitStack() as opened:
        engine = finalists[0].engine
        asked = [(one, tokenize_chat(engine.target.context, one.messages)) for one in by_turns(prompts)]
        least = len({one.category for one in prompts})
        longest = max(len(tokens) for _, tokens in asked)
        entries = []
        for finalist in finalists:
            lane = finalist.engine.open_context_pair(finalist.draft, longest + max_tokens + TARGET_ROWS)
            opened.callback(lane.close)
            entries.append(_Entry(finalist, lane))
        _answer(entries, "", asked[0][1], _WARM_UP_TOKENS)
        for entry in entries:
            entry.rates.clear()
        total = repeats * len(asked)
        for number in range(total):
            if number >= least and not has_time():
                break
            prompt, tokens = asked[number % len(asked)]
            turn = number % len(entries)
            _answer(entries[turn:] + entries[:turn], prompt.id, tokens, max_tokens)
            report(number + 1, total)
    categories = {prompt.id: prompt.category for prompt in prompts}
    return [_measured(entry, entries[0], categories) for entry in entries]


def by_turns(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The first of every category, then the second of every one, and so on."""
    seen: Counter[str] = Counter()
    places = []
    for prompt in prompts:
        places.append(seen[prompt.category])
        seen[prompt.category] += 1
    return [prompt for _, prompt in sorted(zip(places, prompts, strict=True), key=lambda pair: pair[0])]


def _answer(entries: Sequence[_Entry], prompt: str, tokens: list[int], max_tokens: int) -> None:
    for entry in entries:
        # Read by each on its own: their caches are of different models. Drafts start empty, as in a benchmark.
        entry.lane.target.clear()
        entry.lane.target.prefill(tokens)
        if entry.lane.draft:
            entry.lane.draft.clear()
    with ExitStack() as ended:
        generators = []
        for entry in entries:
            one = entry.finalist
            generators.append(one.engine.generator(one.mode, one.draft, Sampling(), one.state, entry.lane))
            ended.callback(generators[-1].close)
        run_interleaved([generator.generate(tokens, max_tokens) for generator in generators])
        for entry, generator in zip(entries, generators, strict=True):
            if generator.stats.predicted_n >= _LEAST_TOKENS:
                entry.rates.setdefault(prompt, []).append(generator.stats.tok_per_s)


def _measured(entry: _Entry, first: _Entry, categories: dict[str, str]) -> Measured:
    ratios = {
        prompt: [own / other for own, other in zip(rates, first.rates.get(prompt, []), strict=False)]
        for prompt, rates in entry.rates.items()
    }
    ratios = {prompt: values for prompt, values in ratios.items() if values}
    estimate = mean_ratio(ratios)
    by_category: dict[str, list[float]] = {}
    for prompt, values in ratios.items():
        by_category.setdefault(categories[prompt], []).append(median(values))
    lowest = min((geometric_mean(values) for values in by_category.values()), default=math.nan)
    rate = geometric_mean([median(values) for values in entry.rates.values()])
    sd = 0.0 if entry is first or math.isnan(estimate.sd) else estimate.sd
    return Measured(rate, estimate.value, sd, lowest)
