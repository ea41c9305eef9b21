"""Speed-ups by category as rows: the mix of all prompts first, then what copies and what does not, each with its categories.

The terminal's table and the Markdown share them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from edgespec.bench.copying import group_of
from edgespec.bench.result import COPYING, NOT_COPYING, ArmResult, BenchResult, CategoryFigures
from edgespec.bench.summary import PLAIN_ARM, categories, copied_shares_of
from edgespec.bench.verdict import multiple_text

HEAD: Final = "speed-up by category"
COPIED: Final = "copied"
"""Head of the shares of the plain answers that are copied from their prompts."""
_TITLES: Final = {COPYING: "kinds that copy", NOT_COPYING: "kinds that do not"}


@dataclass(frozen=True, slots=True)
class CategoryRow:
    """A row for a category, or for several together."""

    title: str
    is_sum: bool
    """Whether it is for several."""
    depth: int
    """0 or 1: below how many sums it stands."""
    copied: str
    cells: tuple[str, ...]
    """By arm, in the order of `compared_arms`."""


def compared_arms(result: BenchResult) -> list[ArmResult]:
    """The arms that have a speed-up: all but plain."""
    return [arm for arm in result.arms if arm.name != PLAIN_ARM]


def category_rows(result: BenchResult) -> list[CategoryRow]:
    """The rows; none for a run with one category. Of an older run nobody knows what copies: its categories have no sums."""
    names, arms = categories(result.arms), compared_arms(result)
    if len(names) < 2 or not arms:
        return []
    shares = copied_shares_of(result)
    rows = [_sum_row("all prompts", [multiple_text(arm) for arm in arms])]
    for group, title in _TITLES.items():
        members = [name for name in names if name in shares and group_of(shares[name]) == group]
        if members:
            rows.append(_sum_row(title, [_cell(arm, arm.by_copying.get(group), members) for arm in arms]))
            rows += [_row(name, arms, 1, f"{shares[name]:.0%}".replace("%", " %")) for name in members]
    return rows + [_row(name, arms, 0, "") for name in names if name not in shares]


def _sum_row(title: str, cells: Sequence[str]) -> CategoryRow:
    return CategoryRow(title, True, 0, "", tuple(cells))


def _row(name: str, arms: Sequence[ArmResult], depth: int, copied: str) -> CategoryRow:
    cells = tuple(_cell(arm, arm.by_category.get(name), [name]) for arm in arms)
    return CategoryRow(name, False, depth, copied, cells)


def _cell(arm: ArmResult, figures: CategoryFigures | None, among: Collection[str]) -> str:
    """`1.42x`, `plain` where the arm drafted nothing, or `-` where it has no figure."""
    return multiple_text(arm, figures, among) if figures else "-"
