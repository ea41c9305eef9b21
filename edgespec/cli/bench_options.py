"""What is typed after `edgespec bench`, as values: what belongs to one kind of benchmark stands together."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from edgespec.bench.throughput.shapes import DEFAULT_BATCHES, DEFAULT_SHAPES, parse_batches, parse_shapes
from edgespec.cli.bench_variants import WantedVariants
from edgespec.cli.options import option_group
from edgespec.cli.thinking_options import THINK_OPTION
from edgespec.durations import parse_duration_s
from edgespec.errors import UsageError

if TYPE_CHECKING:
    from edgespec.bench.prompts import Prompt
    from edgespec.bench.speculative import BenchSettings
    from edgespec.bench.sweep.sweep import SweepSettings
    from edgespec.llama.sampler import Sampling

METHODS: Final = ("depth", "flap", "llm-pruner")
_MAX_TOKENS: Final = 96
_ANSWERS: Final = 3
"""Per prompt and arm."""
_BATCHES: Final = 5
"""Per point."""
_WARM_UP: Final = 2
_RATIO: Final = 0.27
"""9 of LLaMA-7B's 32 blocks, as in figure 2."""

_SPECULATIVE: Final = (
    click.option(
        "--prompts", type=click.Path(path_type=Path), help="JSONL in Spec-Bench's form [default: built in]."
    ),
    click.option("--category", multiple=True, help="Only this category; may be repeated."),
    click.option(
        "--limit",
        type=click.IntRange(1),
        help="Prompts of each category [default: 1 of each of the ten kinds built in, of a file all].",
    ),
    click.option(
        "-n", "--max-tokens", type=click.IntRange(2), help=f"Longest answer [default: {_MAX_TOKENS}]."
    ),
    click.option(
        "--fixed",
        help="Also drafts of these fixed lengths, such as 1,2,3,4, and what auto loses against the best one.",
    ),
    THINK_OPTION,
)
_THROUGHPUT: Final = (
    click.option("--shape", help=f"Tokens in and out of every sequence [default: {DEFAULT_SHAPES}]."),
    click.option("--batch", help=f"Sequences at once [default: {DEFAULT_BATCHES}]."),
    click.option("--prune", help=f"Also versions of TARGET pruned by {', '.join(METHODS)}: a list."),
    click.option(
        "--ratio",
        type=click.FloatRange(0, 1),
        help=f"How much of the blocks these lose [default: {_RATIO}].",
    ),
    click.option(
        "--warmup",
        type=click.IntRange(0),
        help=f"Short batches before one is timed [default: {_WARM_UP}].",
    ),
    click.option(
        "--budget",
        help="Leave out what does not fit into this time, such as 10m; making versions and scoring their text come first.",
    ),
    click.option("--resume", is_flag=True, help="Resume the last sweep of the same models."),
)


@dataclass(frozen=True, slots=True)
class SpeculativeOptions:
    """What was typed of a benchmark of plain against speculative decoding."""

    prompts: Path | None
    category: tuple[str, ...]
    limit: int | None
    max_tokens: int | None
    fixed: str | None
    think: Literal["auto", "on", "off"]

    def choose_prompts(self) -> "tuple[Prompt, ...]":
        """The prompts of the file, or the built-in ones, as far as they are wanted.

        Raises:
            UsageError: the file cannot be read, or a category that no prompt has.
            ConfigError: a line of the file is not a prompt.
        """
        from edgespec.bench.prompts import builtin_prompts, load_prompts, select

        limit = self.limit or (None if self.prompts else 1)
        known = load_prompts(self.prompts) if self.prompts else builtin_prompts()
        return select(known, self.category, limit)

    def make_settings(self, repeat: int | None, sampling: "Sampling") -> "BenchSettings":
        """What is run, with the defaults for what was not typed.

        Raises:
            UsageError: a fixed length that makes no sense.
        """
        from edgespec.bench.fixed_lengths import parse_draft_lengths
        from edgespec.bench.speculative import BenchSettings

        fixed = () if self.fixed is None else parse_draft_lengths(self.fixed)
        return BenchSettings(self.max_tokens or _MAX_TOKENS, repeat or _ANSWERS, sampling, fixed, self.think)


@dataclass(frozen=True, slots=True)
class ThroughputOptions:
    """What was typed of a sweep over batch sizes."""

    shape: str | None
    batch: str | None
    prune: str | None
    ratio: float | None
    warmup: int | None
    budget: str | None
    resume: bool

    def make_settings(self, repeat: int | None, sampling: "Sampling") -> "SweepSettings":
        """What is run, with the defaults for what was not typed.

        Raises:
            UsageError: a value that makes no sense.
        """
        from edgespec.bench.sweep.sweep import SweepSettings

        return SweepSettings(
            shapes=parse_shapes(self.shape or DEFAULT_SHAPES),
            batches=parse_batches(self.batch or DEFAULT_BATCHES),
            warm_up=_WARM_UP if self.warmup is None else self.warmup,
            repeat=repeat or _BATCHES,
            budget_s=parse_duration_s(self.budget, "budget") if self.budget else None,
            sampling=sampling,
        )

    def choose_variants(self, targets: tuple[str, ...], drafts: tuple[str, ...]) -> WantedVariants:
        """What is compared: the targets, versions of the first one by each method, and the first one with each draft.

        Raises:
            UsageError: an unknown method, or a ratio without one.
        """
        methods = [name.strip() for name in (self.prune or "").split(",") if name.strip()]
        for name in methods:
            if name not in METHODS:
                raise UsageError(f"--prune {name!r} is not a method", f"choose from {', '.join(METHODS)}")
        if self.ratio is not None and not methods:
            raise UsageError("--ratio goes with --prune", f"add --prune {','.join(METHODS)}")
        ratio = _RATIO if self.ratio is None else self.ratio
        return WantedVariants(targets, tuple(dict.fromkeys(methods)), ratio, drafts)


speculative_options: Final = option_group("speculative", SpeculativeOptions, _SPECULATIVE)
"""Adds the options of plain against speculative decoding, taken as `speculative`."""
throughput_options: Final = option_group("throughput", ThroughputOptions, _THROUGHPUT)
"""Adds the options of a sweep, taken as `throughput`."""
