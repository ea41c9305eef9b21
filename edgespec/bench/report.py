"""A run as CSV for a spreadsheet and as Markdown for a page."""

import csv
import io
import math
from typing import Final

from edgespec.bench.category_rows import COPIED, HEAD, category_rows, compared_arms
from edgespec.bench.fixed_lengths import best_fixed_arm, regret_against
from edgespec.bench.result import ArmResult, BenchResult
from edgespec.bench.summary import (
    AUTO_ARM,
    PLAIN_ARM,
    arm_in_category,
    arm_named,
    copied_shares_of,
    has_thoughts,
)
from edgespec.bench.verdict import speedup_text, verdict, with_error
from edgespec.errors import EdgespecError

ALL: Final = "all"
"""The category of the rows over all prompts."""

CSV_COLUMNS: Final = (
    "run_id", "target", "arm", "draft", "category", "prompts", "samples", "tok_per_s", "tok_per_s_sd", "speedup",
    "speedup_sd", "acceptance", "mean_accepted_len", "t_d_s", "ttft_s", "prompt_tok_per_s", "peak_memory_bytes",
    "draft_time_share", "verify_time_share", "policy_time_share", "draft_length", "speedup_low", "speedup_high",
    "copied_share", "regret", "regret_sd", "thought_share",
)  # fmt: skip
"""The head of the CSV; names and units are those of the JSON."""

_MARKDOWN_HEAD: Final = (
    ("arm", "---"),
    ("t/s", "---:"),
    ("speed-up", "---:"),
    ("accept", "---:"),
    ("mean len", "---:"),
    ("t_d ms", "---:"),
    ("TTFT s", "---:"),
    ("prompt t/s", "---:"),
    ("peak MiB", "---:"),
    ("draft %", "---:"),
    ("verify %", "---:"),
)


def to_csv(result: BenchResult) -> str:
    """One row per arm for all prompts and one per arm and category; an unknown number is an empty cell.

    The regret stands in the rows of `auto`, in those of a category against the length that is best over all prompts.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    plain = arm_named(result, PLAIN_ARM)
    for arm in result.arms:
        writer.writerow(_csv_row(result, arm, ALL))
        for category in arm.by_category:
            try:
                part = arm_in_category(arm, category, plain)
            except EdgespecError:  # samples of a file made by hand may not cover its categories
                continue
            writer.writerow(_csv_row(result, part, category))
    return text.getvalue()


def _csv_row(result: BenchResult, arm: ArmResult, category: str) -> list[str]:
    best = best_fixed_arm(result)
    regret = regret_against(best, arm.samples) if best and arm.name == AUTO_ARM else None
    own = {
        "run_id": result.run_id,
        "target": result.target,
        "arm": arm.name,
        "draft": arm.draft,
        "category": category,
        "prompts": len({s.prompt_id for s in arm.samples}),
        "samples": len(arm.samples),
        "copied_share": copied_shares_of(result).get(category),
        "regret": regret and regret.regret,
        "regret_sd": regret and regret.regret_sd,
    }
    values = [own[name] if name in own else getattr(arm, name) for name in CSV_COLUMNS]
    return [csv_cell(value) for value in values]


def csv_cell(value: object) -> str:
    """A value in a CSV; an unknown number is an empty cell."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def to_markdown(result: BenchResult) -> str:
    """The table of arms in llama-bench's style, the speed-ups by category, and the verdict."""
    parts = [
        f"**{escape(result.target)}**: {escape(verdict(result))}",
        markdown_table(_markdown_head(result), _arm_rows(result)),
    ]
    rows = category_rows(result)
    if rows:
        head = ((HEAD, "---"), (COPIED, "---:"), *((arm.name, "---:") for arm in compared_arms(result)))
        cells = [[f"**{row.title}**" if row.is_sum else row.title, row.copied, *row.cells] for row in rows]
        parts.append(markdown_table(head, cells))
    return "\n\n".join(parts) + "\n"


def _markdown_head(result: BenchResult) -> tuple[tuple[str, str], ...]:
    return (*_MARKDOWN_HEAD, ("thought", "---:")) if has_thoughts(result) else _MARKDOWN_HEAD


def _arm_rows(result: BenchResult) -> list[list[str]]:
    return [
        [
            arm.name,
            with_error(arm.tok_per_s, arm.tok_per_s_sd, digits=2),
            speedup_text(arm),
            _percent(arm.acceptance),
            number(arm.mean_accepted_len, 2),
            number(arm.t_d_s, 1, 1e3),
            number(arm.ttft_s, 2),
            number(arm.prompt_tok_per_s, 1),
            number(arm.peak_memory_bytes or None, 0, 1 / 2**20),
            number(arm.draft_time_share, 0, 100),
            number(arm.verify_time_share, 0, 100),
            *([_percent(arm.thought_share)] if has_thoughts(result) else []),
        ]
        for arm in result.arms
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}".replace("%", " %")


def number(value: float | None, digits: int, scale: float = 1.0) -> str:
    """`value * scale` with so many decimals; `-` when it is unknown."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value * scale:.{digits}f}"


def markdown_table(head: tuple[tuple[str, str], ...], rows: list[list[str]]) -> str:
    """A table; `head` is every column's title and rule, such as `---:`."""
    lines = [[title for title, _ in head], [rule for _, rule in head], *rows]
    return "\n".join("| " + " | ".join(escape(cell) for cell in line) + " |" for line in lines)


def escape(text: str) -> str:
    """A text for Markdown, in one line and without what would end a cell."""
    return " ".join(text.split()).replace("|", "\\|")
