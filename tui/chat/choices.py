"""The drafts that the target of the chat can be given."""

from edgespec.catalog.candidates import PairTarget, find_candidates
from edgespec.catalog.entries import NGRAM
from edgespec.catalog.memory import available_memory_bytes
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import EdgespecError
from edgespec.session.choice import NONE
from edgespec.text import human_bytes, one_line
from edgespec.worker.protocol import PairOpened
from tui.common.ask import Choice
from tui.common.setting_labels import with_labels


def draft_choices(pair: PairOpened) -> list[Choice]:
    """No draft model, the text itself, and every model that is here, the best first; with reasons why one cannot serve."""
    choices = [
        Choice(NONE, "none", "No draft model; the text itself is still used where it repeats."),
        Choice(NGRAM, "ngram", "Only what the text itself repeats."),
    ]
    catalog = load_catalog()
    try:
        rows = find_candidates(
            PairTarget.of(pair.target, catalog), catalog, pair.n_ctx, available_memory_bytes()
        )
    except EdgespecError:
        rows = []  # a target that was named by its path: only its own name is known here
    for row in rows:
        if row.path is None:
            continue
        size = human_bytes(row.size_bytes) if row.size_bytes else "?"
        serves = row.verdict in ("ok", "mapped")
        title = f"{row.name}  {size}" + ("" if serves else "  cannot draft")
        choices.append(Choice(row.spec, one_line(title), with_labels(row.reason), disabled=not serves))
    return choices
