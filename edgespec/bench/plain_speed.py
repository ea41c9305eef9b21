"""Plain decoding of several models, a token each in turn: what the machine does meanwhile, it does to all of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Final

from edgespec.bench.builtin_text import TIMING_PROMPT
from edgespec.bench.interleave import run_interleaved, turned
from edgespec.bench.statistics import Estimate, mean_ratio, spread_of_rates
from edgespec.catalog.model_file import ModelFile
from edgespec.llama.context import Context
from edgespec.progress import SILENT, Progress
from edgespec.session.loading import Loaded, load_target
from edgespec.session.placing import check_memory
from edgespec.session.settings import EngineSettings

N_TOKENS: Final = 48
N_ROUNDS: Final = 5
_N_CTX: Final = 128
"""The prompt's ten tokens, and what is written after them."""


@dataclass(frozen=True, slots=True)
class PlainSpeed:
    """How fast a model decodes without any drafting."""

    tok_per_s: Estimate
    """Median of the rounds and the deviation of one."""
    speedup: Estimate
    """Over the first model, paired by round, with its standard error; exactly 1 for that one."""


def measure_plain_speeds(
    files: Sequence[ModelFile],
    engine: EngineSettings,
    *,
    n_tokens: int = N_TOKENS,
    n_rounds: int = N_ROUNDS,
    progress: Progress = SILENT,
    clock: Callable[[], float] = perf_counter,
) -> list[PlainSpeed]:
    """Lets all models write the same number of tokens, again and again; who goes first changes from round to round.

    Args:
        files: The first is what the others are compared with; all of them are in memory at once.
        engine: Placement, threads and types; the context is small.
        n_tokens: Of each model in each round.
        n_rounds: At least one; the spread needs two.
        progress: Advanced once per round.
        clock: Seconds; another one in tests.

    Raises:
        NotEnoughMemoryError: they do not fit together.
        ModelFileError: llama.cpp cannot load one.
    """
    settings = replace(engine, n_ctx=_N_CTX)
    check_memory(files[0], list(files[1:]), settings)
    rates: list[list[float]] = [[] for _ in files]
    with ExitStack() as opened:
        models: list[Loaded] = []
        for file in files:
            models.append(load_target(file, settings))
            opened.callback(models[-1].close)
        for number in range(n_rounds):
            order = turned(range(len(files)), number)
            taken = run_interleaved([_decode(models[at].context, n_tokens, clock) for at in order])
            for at, seconds in zip(order, taken, strict=True):
                rates[at].append(n_tokens / sum(seconds))
            progress.advance()
    return [_summary(own, rates[0], is_first=place == 0) for place, own in enumerate(rates)]


def _decode(context: Context, n_tokens: int, clock: Callable[[], float]) -> Iterator[float]:
    """Reads the prompt, then yields the seconds of each token; those that end a text do not end it here."""
    context.clear()
    context.prefill(context.model.tokenize(TIMING_PROMPT))
    token, _ = context.best_guess()
    for _ in range(n_tokens):
        began = clock()
        context.decode([token])
        token, _ = context.best_guess()
        yield clock() - began


def _summary(rates: list[float], first: list[float], *, is_first: bool) -> PlainSpeed:
    ratios = [own / other for own, other in zip(rates, first, strict=True)]
    speedup = Estimate(1.0, 0.0) if is_first else mean_ratio({"": ratios})
    return PlainSpeed(spread_of_rates({"": rates}), speedup)
