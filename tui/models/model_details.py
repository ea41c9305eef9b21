"""The pane beside the table: everything that is known of the highlighted model."""

import asyncio
from collections.abc import Iterable
from typing import Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from edgespec.catalog.candidates import DraftCandidate, Verdict
from edgespec.text import human_bytes, one_line
from tui.common.setting_labels import with_labels
from tui.models.details import Details, describe_row, known_facts
from tui.models.rows import ModelList, ModelRow, Role

_VERDICT_STYLES: Final[dict[Verdict, str]] = {"ok": "green", "mapped": "green", "refused": "red"}
_SHOWN_DRAFTS: Final = 12
_REST: Final = {
    True: "more that are not on disk or cannot draft for it",
    False: "smaller models of the catalogue are not on disk, so not checked",
}
_ROLES: Final = {Role.TARGET: "as the target", Role.DRAFT: "as the draft"}
_SETTLE_S: Final = 0.1
"""A cursor that runs over the table reads no files."""


class ModelDetails(VerticalScroll):
    """Says what is known at once, and then what the files' headers say."""

    def __init__(self) -> None:
        super().__init__(id="models-details")
        self._models: ModelList | None = None
        self._described: dict[str, Details] = {}
        """By spec, of this list."""

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static("", id="models-facts", markup=False)

    @work(exclusive=True, group="details")
    async def show(self, models: ModelList | None, row: ModelRow | None, role: Role | None) -> None:
        """Another model, or another list of them; `role` is what it is loaded as."""
        if models is not self._models:
            self._models = models
            self._described.clear()
        facts = self.query_one("#models-facts", Static)
        if row is None or models is None:
            facts.update("No model matches the filter. Esc clears it." if models else "")
            return
        known = self._described.get(row.spec)
        if known is None:
            facts.update(_painted(row, role, Details(known_facts(row, models))))
            await asyncio.sleep(_SETTLE_S)
            known = await asyncio.to_thread(describe_row, row, models)
            self._described[row.spec] = known
        facts.update(_painted(row, role, known))


def _painted(row: ModelRow, role: Role | None, details: Details) -> Text:
    text = Text(one_line(row.name), style="bold", end="")
    _add_facts(text, [("loaded", _ROLES[role])] if role else [])
    _add_facts(text, details.facts)
    if details.drafts or details.unchecked:
        text.append("\n\nDrafts for it")
    for draft in details.drafts[:_SHOWN_DRAFTS]:
        text.append_text(_draft_lines(draft))
    rest = max(len(details.drafts) - _SHOWN_DRAFTS, 0) + details.unchecked
    if rest:
        text.append(f"\n{rest} {_REST[bool(details.drafts)]}", style="not bold dim")
    if details.header:
        text.append("\n\nIts file")
        _add_facts(text, details.header)
    return text


def _add_facts(text: Text, facts: Iterable[tuple[str, str]]) -> None:
    for name, value in facts:
        text.append("\n")
        text.append(f"{name}: " if name else "", style="not bold dim")
        text.append(one_line(with_labels(value)), style="not bold")


def _draft_lines(draft: DraftCandidate) -> Text:
    size = f"  {human_bytes(draft.size_bytes)}" if draft.size_bytes else ""
    text = Text(f"\n{draft.verdict}", style=f"not bold {_VERDICT_STYLES.get(draft.verdict, 'dim')}")
    text.append(f"  {one_line(draft.name)}{size}", style="default not dim")
    reason = draft.reason + ("; the pair does not fit into the memory" if draft.fits is False else "")
    text.append(f"\n  {one_line(with_labels(reason))}", style="default dim")
    return text
