"""`edgespec pair TARGET`: which drafts fit, and why others do not. Reads headers only; loads and fetches nothing."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from edgespec.cli.columns import columns
from edgespec.cli.output import print_json
from edgespec.text import human_bytes

if TYPE_CHECKING:
    from edgespec.catalog.candidates import DraftCandidate, PairTarget

_SCHEMA: Final = "edgespec.pair/1"


@click.command()
@click.argument("target")
@click.option(
    "-c", "--ctx-size", default=4096, show_default=True, type=click.IntRange(1), help="Tokens of context."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(target: str, ctx_size: int, as_json: bool) -> None:
    """Show which drafts fit TARGET (a model, a pair or a file), and why others do not.

    Nothing is loaded or fetched: the answers come from the files' headers. Every target can also draft from
    the text itself (`--draft ngram`), which needs no second model.
    """
    from edgespec.catalog.candidates import PairTarget, find_candidates
    from edgespec.catalog.compatibility import check_writes_text
    from edgespec.catalog.memory import available_memory_bytes
    from edgespec.catalog.toml_file import load_catalog

    catalog = load_catalog()
    pair = catalog.find_pair(target)
    name = pair.target if pair else target
    pair_target = PairTarget.of(name, catalog)
    if pair_target.meta is not None:
        check_writes_text(pair_target.name, pair_target.meta)
    free = available_memory_bytes()
    rows = find_candidates(pair_target, catalog, ctx_size, free)
    if as_json:
        print_json(_document(pair_target, rows, ctx_size, free))
        return
    click.echo(_headline(pair_target))
    if not rows:
        click.echo(
            "no smaller model is on disk or in the catalogue; --draft ngram drafts from the text itself"
        )
        return
    click.echo()
    heads = ["DRAFT", "VERDICT", "SIZE", "RATIO", "MEMORY", "WHY"]
    click.echo(columns(heads, [_cells(row, free) for row in rows], right=frozenset({2, 3, 4})))


def _headline(target: "PairTarget") -> str:
    if target.meta is None:
        return (
            f"target {target.name} (not on disk; edgespec models pull {target.name} lets drafts be checked)"
        )
    meta = target.meta
    return (
        f"target {target.name}: {meta.architecture} {meta.quantization}, {human_bytes(meta.file_bytes)}, "
        f"{meta.vocab_size} tokens in its vocabulary"
    )


def _cells(row: "DraftCandidate", free: int) -> list[str]:
    reason = row.reason
    if row.fits is False:
        reason += f"; the pair does not fit into the {human_bytes(free)} that are free"
    return [
        row.name,
        row.verdict,
        human_bytes(row.size_bytes) if row.size_bytes else "?",
        f"{row.size_ratio:.2f}" if row.size_ratio else "?",
        human_bytes(row.memory_bytes) if row.memory_bytes else "?",
        reason,
    ]


def _document(
    target: "PairTarget", rows: "list[DraftCandidate]", ctx_size: int, free: int
) -> dict[str, object]:
    """What is printed as JSON; a draft's fields are those of `DraftCandidate`."""
    return {
        "schema": _SCHEMA,
        "target": {"name": target.name, "path": target.path, "size_bytes": target.size_bytes},
        "n_ctx": ctx_size,
        "available_memory_bytes": free,
        "drafts": [asdict(row) for row in rows],
    }
