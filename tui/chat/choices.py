"""The drafts that the target of the chat can be given."""

from collections.abc import Sequence

from edgespec.catalog.candidates import PairTarget, find_candidates
from edgespec.catalog.entries import NGRAM
from edgespec.catalog.memory import available_memory_bytes
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import EdgespecError
from edgespec.session.choice import NONE
from edgespec.text import human_bytes, one_line
from edgespec.worker.protocol import PairOpened
from tui.chat.conversation import Message
from tui.common.ask import Choice
from tui.common.setting_labels import with_labels

_TITLE = 80
"""Characters of a message in a list."""


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


def message_choices(messages: Sequence[Message]) -> list[Choice]:
    """By their places, the newest first: a question is written anew, after an answer another question is asked."""
    rows = [
        Choice(
            str(place),
            f"{'You' if message.role == 'user' else 'Answer'}: {one_line(message.written)[:_TITLE]}",
            "It is written anew." if message.role == "user" else "Another message follows it.",
        )
        for place, message in enumerate(messages)
    ]
    return rows[::-1]
