"""`edgespec results`: list, show and compare saved benchmarks."""

import json
import math
from typing import TYPE_CHECKING, Final

import click

from edgespec.cli.columns import columns
from edgespec.cli.context import Settings
from edgespec.cli.result_view import OutputOptions, output_options, show_result

if TYPE_CHECKING:
    from edgespec.bench.compare import ComparedArm
    from edgespec.bench.result import BenchResult
    from edgespec.bench.store import Entry, ResultStore

_LIST_SCHEMA: Final = "edgespec.results/1"
_COMPARE_SCHEMA: Final = "edgespec.comparison/1"


@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List, show and compare saved benchmarks. Alone, it lists them."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_results)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_results(as_json: bool) -> None:
    """List the saved runs, oldest first."""
    store = _store()
    entries = store.entries()
    if as_json:
        _print_json({"schema": _LIST_SCHEMA, "results": [_entry_document(entry) for entry in entries]})
    elif entries:
        click.echo(columns(["RUN", "TARGET", "ARMS", "SPEED-UP", "STATE"], [_row(e) for e in entries]))
    else:
        click.echo(
            f"There are no saved runs in {store.folder}; `edgespec bench` makes the first one.", err=True
        )


@command.command()
@click.argument("run", default="latest")
@output_options
@click.pass_obj
def show(settings: Settings, /, run: str, output: OutputOptions) -> None:
    """Show RUN: an id, the beginning of one, or `latest` (the default)."""
    show_result(_store().load(run), output, quiet=settings.quiet)


@command.command()
@click.argument("before")
@click.argument("after")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(before: str, after: str, as_json: bool) -> None:
    """Compare two runs arm by arm: above 1.00x, AFTER is the faster one.

    TOK/S RATIO is taken over the prompts that both runs have. It contains whatever else changed on the machine;
    SPEED-UP RATIO does not, because each run has its own plain decoding.
    """
    from edgespec.bench.compare import compare as compare_runs
    from edgespec.bench.view import COMPARISON_HEADS, comparison_row

    store = _store()
    first, second = (_load_speculative(store, name) for name in (before, after))
    rows = compare_runs(first, second)
    if as_json:
        arms = [_compared_document(row) for row in rows]
        _print_json({"schema": _COMPARE_SCHEMA, "before": first.run_id, "after": second.run_id, "arms": arms})
        return
    click.echo(f"before: {first.run_id}  {first.target}")
    click.echo(f"after:  {second.run_id}  {second.target}")
    click.echo()
    cells = [comparison_row(row) for row in rows]
    click.echo(columns(list(COMPARISON_HEADS), cells, right=frozenset({1, 2, 3, 4, 5})))


@command.command()
def path() -> None:
    """Print the folder of the saved runs."""
    click.echo(_store().folder)


def _store() -> "ResultStore":
    from edgespec.bench.store import ResultStore
    from edgespec.paths import results_dir

    return ResultStore(results_dir())


def _load_speculative(store: "ResultStore", name: str) -> "BenchResult":
    from edgespec.bench.throughput.result import ThroughputResult
    from edgespec.errors import UsageError

    result = store.load(name)
    if isinstance(result, ThroughputResult):
        raise UsageError(
            f"{result.run_id} is a throughput sweep, and these are not compared",
            f"look at it with edgespec results show {result.run_id}",
        )
    return result


def _row(entry: "Entry") -> list[str]:
    result = entry.result
    if result is None:
        return [entry.run_id, "?", "?", "?", f"damaged: {entry.damage}"]
    from edgespec.bench.view import arms_and_speedup

    n_arms, speedup = arms_and_speedup(result)
    return [entry.run_id, result.target, n_arms, speedup, "done" if result.complete else "not finished"]


def _entry_document(entry: "Entry") -> dict[str, object]:
    from edgespec.bench.document import verdict_of

    result = entry.result
    return {
        "run_id": entry.run_id,
        "path": str(entry.path),
        "damage": entry.damage or None,
        "target": result.target if result else None,
        "started_at": result.started_at if result else None,
        "complete": result.complete if result else None,
        "verdict": verdict_of(result) if result else None,
    }


def _compared_document(row: "ComparedArm") -> dict[str, object]:
    return {
        "name": row.name,
        "before_tok_per_s": row.before.tok_per_s if row.before else None,
        "after_tok_per_s": row.after.tok_per_s if row.after else None,
        "shared_prompts": row.shared_prompts,
        "tok_per_s_ratio": _known(row.tok_per_s_ratio.value),
        "tok_per_s_ratio_sd": _known(row.tok_per_s_ratio.sd),
        "speedup_ratio": _known(row.speedup_ratio.value),
        "speedup_ratio_sd": _known(row.speedup_ratio.sd),
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _print_json(document: dict[str, object]) -> None:
    click.echo(json.dumps(document, allow_nan=False, indent=1))
