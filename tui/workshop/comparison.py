"""What the workshop shows of a plan and of a comparison, as tables."""

import math
from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from edgespec.bench.builtin_text import BUILTIN_TEXT
from edgespec.bench.statistics import Estimate
from edgespec.text import human_bytes, one_line
from edgespec.worker.jobs.measure import Comparison, ModelFigures
from quant.prune.amount import human_count

_UNKNOWN = "…"


def lines_table(lines: Iterable[tuple[str, str]]) -> Table:
    """Things to be said, beside a word for what each is."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, value in lines:
        table.add_row(Text(one_line(name)), Text(one_line(value)))
    return table


def comparison_table(found: Comparison) -> Table:
    """Quality against speed, the dense model beside the new one."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True, style="bold")
    table.add_row("", Text("dense"), Text("new"))
    dense, made = found.dense, found.made
    rows = (
        ("parameters", human_count(dense.parameter_count), human_count(made.parameter_count)),
        ("size", human_bytes(dense.size_bytes), human_bytes(made.size_bytes)),
        ("bpw", f"{dense.bpw:.2f}", f"{made.bpw:.2f}"),
        ("perplexity", _perplexity(dense), _perplexity(made)),
        ("KL, nats", "0", _divergence(made)),
        ("same top token", "100%", _agreement(made)),
        ("decode tok/s", _rate(dense), _rate(made)),
        ("speed-up", "1x", _speedup(made)),
    )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def measured_on(found: Comparison) -> str:
    """Which text the quality is about; empty before it is measured."""
    quality = found.dense.quality
    return f"{BUILTIN_TEXT}, {quality.n_tokens} tokens scored" if quality else ""


def sentence(found: Comparison) -> str:
    """What the figures come to."""
    speed, quality, before = found.made.speed, found.made.quality, found.dense.quality
    if speed is None or quality is None or before is None:
        return ""
    ratio = speed.speedup
    verdict = f"{ratio.value:.2f}x as fast"
    if not ratio.differs_from(1.0):
        verdict = f"as fast as before ({ratio.value:.2f}x, within the spread)"
    cost = quality.perplexity / before.perplexity - 1
    return (
        f"{verdict}, perplexity {cost:+.0%}"
        if cost < 10
        else f"{verdict}, and barely a language model any more"
    )


def _perplexity(figures: ModelFigures) -> str:
    quality = figures.quality
    return _UNKNOWN if quality is None else f"{quality.perplexity:.4g} ± {quality.perplexity_se:.2g}"


def _divergence(figures: ModelFigures) -> str:
    distance = figures.quality.distance if figures.quality else None
    return _UNKNOWN if distance is None else f"{distance.kl_mean:.4f} ± {distance.kl_se:.4f}"


def _agreement(figures: ModelFigures) -> str:
    distance = figures.quality.distance if figures.quality else None
    return _UNKNOWN if distance is None else f"{distance.top1_agreement:.1%}"


def _rate(figures: ModelFigures) -> str:
    return _UNKNOWN if figures.speed is None else _with_spread(figures.speed.tok_per_s, ".1f")


def _speedup(figures: ModelFigures) -> str:
    return _UNKNOWN if figures.speed is None else f"{_with_spread(figures.speed.speedup, '.2f')}x"


def _with_spread(estimate: Estimate, number_format: str) -> str:
    spread = "" if math.isnan(estimate.sd) else f" ± {estimate.sd:{number_format}}"
    return f"{estimate.value:{number_format}}{spread}"
