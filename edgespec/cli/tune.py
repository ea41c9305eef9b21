"""`edgespec tune TARGET`: make, prove and remember the fastest draft for a target on this machine."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from edgespec.cli.context import Settings
from edgespec.cli.options import option_group
from edgespec.cli.output import print_json
from edgespec.durations import parse_duration_s

if TYPE_CHECKING:
    from edgespec.catalog.entries import Catalog
    from edgespec.catalog.model_file import ModelFile
    from edgespec.tune.outcome import TuneOutcome
    from edgespec.tune.request import TuneRequest

_N_CTX = 4096
_LARGEST_SHARE = 0.8
"""A draft of nearly the target's size cannot win."""
_MOST_DRAFTS = 3

_SEARCH: Final = (
    click.option(
        "--draft",
        multiple=True,
        help="A small model; may be repeated [default: the pair's, and those on disk that fit; with none, the target itself].",
    ),
    click.option(
        "--budget", default="20m", show_default=True, help="Time for all of it, such as 90s, 20m or 1h."
    ),
    click.option(
        "--requantize-target", is_flag=True, help="Also try the target in types whose batches are cheaper."
    ),
    click.option(
        "--distill",
        is_flag=True,
        help="Also train the draft's last blocks on what the target says; needs a longer budget.",
    ),
    click.option(
        "--keep",
        default=3,
        show_default=True,
        type=click.IntRange(1, 20),
        help="How many of the best to benchmark.",
    ),
    click.option("-t", "--threads", type=click.IntRange(1), help="Threads [default: the physical cores]."),
)


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What was typed of the search."""

    draft: tuple[str, ...]
    budget: str
    requantize_target: bool
    distill: bool
    keep: int
    threads: int | None

    def make_request(self, target: str, settings: Settings) -> "TuneRequest":
        """The request, its models found or fetched.

        Raises:
            UsageError: a budget that is not a length of time.
            ModelMissingError: a model that is not there.
        """
        from edgespec.llama.library import default_threads
        from edgespec.tune.request import TuneRequest

        budget_s = parse_duration_s(self.budget, "budget")
        file, drafts = _find_models(target, self.draft, settings)
        return TuneRequest(
            file,
            drafts,
            budget_s,
            self.threads or default_threads(),
            requantizes=self.requantize_target,
            distills=self.distill,
            n_confirmed=self.keep,
        )


@click.command("tune")
@click.argument("target")
@option_group("search", SearchOptions, _SEARCH)
@click.option("--explain", is_flag=True, help="Show the last search for TARGET, a target or a tuned pair.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(settings: Settings, /, target: str, search: SearchOptions, explain: bool, as_json: bool) -> None:
    """Find the fastest draft for TARGET here, prove it with a benchmark, and remember it as a pair.

    TARGET writes answers once; every candidate reads them, and what it would bring is reckoned from measured costs. The
    best few are benchmarked side by side, on prompts that the search never saw. The winner becomes a pair in your
    models.toml that chat, run and bench know.
    """
    from edgespec.cli.tune_view import outcome_document, outcome_lines
    from edgespec.tune.outcome import load_outcome

    outcome = load_outcome(target) if explain else _search(target, search, settings)
    if as_json:
        print_json(outcome_document(outcome))
    else:
        click.echo("\n".join(outcome_lines(outcome)))


def _search(target: str, options: SearchOptions, settings: Settings) -> "TuneOutcome":
    from edgespec.cli.progress import shown_progress
    from edgespec.tune.save_pair import save_result
    from edgespec.tune.search import Search

    request = options.make_request(target, settings)
    with shown_progress(quiet=settings.quiet) as progress:
        outcome, winner = Search(request, progress).run()
    return save_result(request.target, outcome, winner)


def _find_models(
    target: str, drafts: tuple[str, ...], settings: Settings
) -> "tuple[ModelFile, tuple[ModelFile, ...]]":
    from edgespec.catalog.entries import NGRAM
    from edgespec.catalog.toml_file import load_catalog
    from edgespec.cli.opening import find_model

    catalog = load_catalog()
    pair = catalog.find_pair(target)
    name = pair.target if pair else target
    file = find_model(name, settings)
    # Drafts of a pair are fetched, as for `run`; those of a target's name are only pointed at. What was made for
    # a target by an earlier search is made anew.
    named = [draft for draft in pair.drafts if draft != NGRAM] if pair and not pair.tuned else []
    chosen = list(drafts) or _fitting(name, named, catalog, settings)
    return file, tuple(find_model(draft, settings) for draft in chosen)


def _fitting(target: str, named: list[str], catalog: "Catalog", settings: Settings) -> list[str]:
    """The pair's drafts, then what else is on disk and small enough; says what the catalogue knows besides."""
    from edgespec.catalog.candidates import PairTarget, find_candidates
    from edgespec.catalog.memory import available_memory_bytes
    from edgespec.paths import tuned_dir

    pair_target = PairTarget.of(target, catalog)
    rows = find_candidates(pair_target, catalog, _N_CTX, available_memory_bytes())
    fitting = [
        row.spec
        for row in rows
        if row.verdict == "ok"
        and row.path is not None
        and (row.size_ratio or 1.0) < _LARGEST_SHARE
        and not row.path.is_relative_to(tuned_dir())
    ]
    paired = catalog.drafts_for(pair_target.name)
    absent = [row.name for row in rows if row.path is None and row.name in paired and row.name not in named]
    if absent and not settings.quiet:
        click.echo(
            f"edgespec: {absent[0]} is a draft for {pair_target.name} by the catalogue and not on disk; "
            f"to try it too: edgespec models pull {absent[0]}",
            err=True,
        )
    return list(dict.fromkeys((*named, *fitting)))[:_MOST_DRAFTS]
