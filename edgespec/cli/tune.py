"""`edgespec tune TARGET`: make, prove and remember the fastest draft for a target on this machine."""

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from edgespec.cli.context import Settings
from edgespec.errors import UsageError

if TYPE_CHECKING:
    from edgespec.session.loading import ModelFile
    from edgespec.tune.outcome import TuneOutcome

_UNITS = {"": 60.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@click.command("tune")
@click.argument("target")
@click.option(
    "--draft",
    "drafts",
    multiple=True,
    help="A small model; may be repeated [default: the catalogue's on disk; with none, the target itself].",
)
@click.option(
    "--budget", default="20m", show_default=True, help="Time for all of it, such as 90s, 20m or 1h."
)
@click.option(
    "--requantize-target", is_flag=True, help="Also try the target in types whose batches are cheaper."
)
@click.option(
    "--keep",
    default=3,
    show_default=True,
    type=click.IntRange(1, 20),
    help="How many of the best to benchmark.",
)
@click.option("-t", "--threads", type=click.IntRange(1), help="Threads [default: the physical cores].")
@click.option("--explain", is_flag=True, help="Show the last search for TARGET, a target or a tuned pair.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    settings: Settings,
    /,
    target: str,
    drafts: tuple[str, ...],
    budget: str,
    requantize_target: bool,
    keep: int,
    threads: int | None,
    explain: bool,
    as_json: bool,
) -> None:
    """Find the fastest draft for TARGET here, prove it with a benchmark, and remember it as a pair.

    TARGET writes answers once; every candidate reads them, and what it would bring is reckoned from measured costs. The
    best few are benchmarked side by side. The winner becomes a pair in your models.toml that chat, run and bench know.
    """
    from edgespec.tune.outcome import load_outcome

    outcome = (
        load_outcome(target)
        if explain
        else _search(target, drafts, budget, requantize_target, keep, threads, settings)
    )
    if as_json:
        from edgespec.cli.tune_view import outcome_document

        click.echo(json.dumps(outcome_document(outcome), indent=2, ensure_ascii=True))
        return
    from edgespec.cli.tune_view import outcome_lines

    click.echo("\n".join(outcome_lines(outcome)))


def _search(
    target: str,
    drafts: tuple[str, ...],
    budget: str,
    requantizes: bool,
    n_confirmed: int,
    threads: int | None,
    settings: Settings,
) -> "TuneOutcome":
    from edgespec.cli.progress import progress, to_stages
    from edgespec.tune.keep import forget_pair, keep_pair
    from edgespec.tune.outcome import save_outcome
    from edgespec.tune.search import Search, TuneRequest, is_worth_keeping

    budget_s = parse_duration(budget)
    file, small = _models(target, drafts, settings)
    with progress(None, "tuning", quiet=settings.quiet) as meter:
        request = TuneRequest(file, small, budget_s, requantizes, n_confirmed, threads or 0)
        outcome, target_form, draft_form = Search(request, to_stages(meter)).run()
    if is_worth_keeping(outcome):
        kept = keep_pair(file.name, file.path, target_form, draft_form, outcome.best.label)
        outcome = replace(outcome, pair=kept.pair)
    else:
        forget_pair(file.name)
    save_outcome(outcome)
    return outcome


def _models(
    target: str, drafts: tuple[str, ...], settings: Settings
) -> "tuple[ModelFile, tuple[ModelFile, ...]]":
    from edgespec.catalog.entries import NGRAM, load_catalog
    from edgespec.catalog.resolve import find_on_disk
    from edgespec.cli.opening import find_model

    catalog = load_catalog()
    pair = catalog.find_pair(target)
    file = find_model(pair.target if pair else target, settings)
    chosen = list(drafts)
    if not chosen:
        own = [entry for entry in catalog.pairs.values() if entry.target == file.name and not entry.tuned]
        names = dict.fromkeys(name for entry in own for name in entry.drafts if name != NGRAM)
        chosen = [name for name in names if find_on_disk(catalog.models[name]) is not None]
    return file, tuple(find_model(name, settings) for name in chosen)


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `20m` or `1h`; a plain number is minutes.

    Raises:
        UsageError: something else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip().lower())
    if match is None:
        raise UsageError(f"--budget {text!r} is no length of time", "write it as 90s, 20m or 1h")
    return float(match[1]) * _UNITS[match[2]]
