"""What the details pane says of a model."""

from dataclasses import dataclass
from typing import Final

from edgespec.catalog.candidates import DraftCandidate, PairTarget, find_candidates
from edgespec.catalog.model_file import UNREADABLE, ModelFile, open_file, why_unreadable
from edgespec.session.context_choice import choose_n_ctx
from edgespec.session.settings import DEFAULT_N_CTX
from edgespec.text import human_bytes
from quant.gguf.describe import describe_file, description_lines
from tui.models.rows import ModelList, ModelRow, Origin

_TOLD_BY_THE_ROW: Final = ("model", "file", "licence", "origin")
_PLACES: Final = {
    Origin.HUB: "in the cache of the hub",
    Origin.WHEELS: "in edgespec's models folder",
    Origin.MADE: "made in the workshop",
    Origin.OWN: "a file that your catalogue names",
    Origin.FOLDER: "in the current folder",
    Origin.LM_STUDIO: "in LM Studio's models folder",
    Origin.OLLAMA: "in ollama's models folder",
    Origin.LLAMA_CPP: "in llama.cpp's cache",
}
_REVISION_CHARACTERS: Final = 12


@dataclass(frozen=True, slots=True)
class Details:
    """Names and texts for people."""

    facts: tuple[tuple[str, str], ...]
    header: tuple[tuple[str, str], ...] = ()
    """What the file says of itself, its recipe included."""
    drafts: tuple[DraftCandidate, ...] = ()
    """The best first."""
    unchecked: int = 0
    """Models that are not here and that nothing is known of as drafts."""


def known_facts(row: ModelRow, models: ModelList) -> tuple[tuple[str, str], ...]:
    """What can be told without opening the file."""
    entry = row.entry
    facts = [("state", state_of(row))]
    if entry is not None and entry.description:
        facts.insert(0, ("", entry.description))
    facts += [("licence", row.licence or "not said"), ("memory", _memory(row, models))]
    if row.speed_text:
        facts.append(("speed", f"{row.speed_text} tok/s without drafting, predicted for this machine"))
    if entry is not None and entry.repo:
        revision = (entry.revision or "the newest")[:_REVISION_CHARACTERS]
        facts += [("repository", entry.repo), ("hub file", entry.file or "?"), ("revision", revision)]
        facts += [("also at", "a Python package index, with the same bytes")] if entry.wheels else []
    if row.path is not None:
        facts.append(("path", str(row.path)))
    return tuple(facts)


def describe_row(row: ModelRow, models: ModelList) -> Details:
    """Everything, from the headers of the model and of all that may draft for it. Call it from a thread."""
    facts = known_facts(row, models)
    if row.trouble:
        return Details((*facts, ("trouble", row.trouble)))
    try:
        file = open_file(row.name, row.path) if row.path is not None else None
        header = tuple(_header_facts(file)) if file else ()
        n_ctx = choose_n_ctx(file, models.settings) if file else models.settings.n_ctx or DEFAULT_N_CTX
        target = str(row.path) if row.path is not None and row.entry is None else row.spec
        found = find_candidates(
            PairTarget.of(target, models.catalog), models.catalog, n_ctx, models.free_bytes
        )
    except UNREADABLE as error:
        return Details((*facts, ("trouble", why_unreadable(error))))
    paired = models.catalog.drafts_for(row.name)
    known = tuple(draft for draft in found if draft.path is not None or draft.name in paired)
    return Details(facts, header, known, len(found) - len(known))


def state_of(row: ModelRow) -> str:
    """Whether it is here, and what can be done about it."""
    if row.origin is not None:
        return f"on disk, {_PLACES[row.origin]}"
    if row.arrived:
        whole = f" of {human_bytes(row.size_bytes)}" if row.size_bytes else ""
        return f"{human_bytes(row.arrived)}{whole} downloaded: p resumes, x discards"
    return "not on disk: p fetches it"


def _memory(row: ModelRow, models: ModelList) -> str:
    free = f"{human_bytes(models.free_bytes)} are free"
    if row.memory_bytes is None:
        return f"not known; {free}"
    guessed = "" if row.is_here else ", guessed from its size"
    return f"{row.fit}: about {human_bytes(row.memory_bytes)}{guessed}; {free}"


def _header_facts(file: ModelFile) -> list[tuple[str, str]]:
    meta = file.meta
    kind = f"{meta.architecture} {meta.quantization}, {human_bytes(meta.file_bytes)}, {meta.bpw:.2f} bpw"
    lines = description_lines(describe_file(file))
    return [("file", kind), *((name, text) for name, text in lines if name not in _TOLD_BY_THE_ROW)]
