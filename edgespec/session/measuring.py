"""Measures a pair, and keeps it in mind where a device takes part: its driver may end the process in a decode of several rows.

While such a pair is measured a note lies in the cache. A process that is ended leaves it behind. Who finds it there within a day times
plain steps alone and drafts nothing; without it every start would end as that one did.
"""

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from edgespec.decode.acceptance import Acceptance
from edgespec.decode.measure_costs import BUDGET_S, TIMED_TARGET_ROWS, measure_pair_costs
from edgespec.llama.build import native_version
from edgespec.llama.context import Context
from edgespec.llama.slots import Slot, Slots
from edgespec.locks import is_left_behind, locked
from edgespec.paths import costs_dir, identity_of
from edgespec.progress import SILENT, Progress
from edgespec.session.cost_store import describe_placement
from edgespec.session.loading import AnyLoaded
from edgespec.session.pair_state import PairState

log = logging.getLogger(__name__)

_HEEDED_S: Final = 24 * 3600.0
"""How old a note may be: the next day there may be another driver, or it was only the power that failed."""


def measure_pair(
    name: str,
    target: AnyLoaded,
    draft: AnyLoaded | None,
    known: float | None = None,
    progress: Progress = SILENT,
) -> PairState:
    """Measures what the pair costs, in about four seconds.

    Args:
        name: Of the draft, or of the target where there is none.
        target: Loaded; its context is empty afterwards.
        draft: Likewise, if there is one.
        known: What was measured of the draft's acceptance elsewhere.
        progress: Gets a stage, in seconds.

    Raises:
        EngineError: llama.cpp failed.
    """
    progress.stage(f"measuring {name}", BUDGET_S, unit="seconds")
    note, unmeasured = measuring_note(target, draft), ""
    rows: Sequence[int] = TIMED_TARGET_ROWS
    drafts = draft
    if note is not None and _is_heeded(note):
        unmeasured = f"a process did not survive measuring {name} on its device"
        log.warning(
            "nothing is drafted: %s; `gpu_layers` 0 measures on the CPU, and without the file '%s' it is tried again, as it is in a day",
            unmeasured,
            note,
        )
        note, rows, drafts = None, TIMED_TARGET_ROWS[:1], None
    with _noted(note):
        costs = measure_pair_costs(
            _sequence(target), _sequence(drafts) if drafts else None, rows=rows, progress=progress
        )
    costs.doubt()
    acceptance = Acceptance() if known is None else Acceptance.measured(known)
    return PairState(costs, acceptance, unmeasured)


def measuring_note(target: AnyLoaded, draft: AnyLoaded | None) -> Path | None:
    """The file that is there while the pair is measured; None where all layers are on the CPU.

    It is that of the models, the devices, the layers there, and the llama.cpp: of a context with other settings no less.
    """
    pair = [loaded for loaded in (target, draft) if loaded]
    if not any(loaded.model.placement.gpu_layers for loaded in pair):
        return None
    parts = [f"{identity_of(loaded.file.path)} {describe_placement(loaded.model)}" for loaded in pair]
    key = hashlib.sha256("|".join([*parts, native_version()]).encode()).hexdigest()[:16]
    return costs_dir() / f"{target.file.path.stem}.{key}.measuring"


def _is_heeded(note: Path) -> bool:
    """Whether a process left it behind, and not long ago; an older one is removed."""
    if not is_left_behind(note):
        return False
    with suppress(OSError):
        if abs(time.time() - note.stat().st_mtime) < _HEEDED_S:
            return True
        note.unlink()
    return False


@contextmanager
def _noted(note: Path | None) -> Iterator[None]:
    """The note lies there while the block runs."""
    with ExitStack() as stack:
        if note is not None:
            # Where another process measures the same at this moment the note is its own.
            with suppress(OSError):
                stack.enter_context(locked(note, wait_s=0.0))
        yield


def _sequence(loaded: AnyLoaded) -> Context | Slot:
    context = loaded.context
    return context.slots[0] if isinstance(context, Slots) else context
