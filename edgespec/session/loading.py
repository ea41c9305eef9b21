"""Loads a target and its drafts: checked against each other, placed, opened."""

import logging
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgespec.catalog.compatibility import Compatibility, check_draft, token_map
from edgespec.catalog.metadata import GgufMetadata
from edgespec.catalog.model_file import ModelFile
from edgespec.decode.timed_text import arbitrary_tokens
from edgespec.decode.tokenmap import SameVocabulary, TextMap, Translator
from edgespec.errors import IncompatibleDraftError
from edgespec.llama.context import Context
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from edgespec.llama.rpc import notice_silence
from edgespec.llama.slots import Slot, Slots
from edgespec.progress import SILENT, Progress
from edgespec.session.context_choice import choose_n_ctx
from edgespec.session.fast_draft import SHORTLIST_KEY, choose_draft_file, shortlist_of
from edgespec.session.memory_needs import draft_context, target_context
from edgespec.session.placing import place_file
from edgespec.session.settings import EngineSettings

log = logging.getLogger(__name__)


_WOKEN = 5.0
"""Times that every expert is woken on the average: exp(-5) of them, 0.7 %, stay asleep where all are alike."""


AnyContext = TypeVar("AnyContext", Context, Slots)


@dataclass(frozen=True, slots=True)
class LoadedAs(Generic[AnyContext]):
    """A model with its context; `translator` joins a draft's vocabulary to the target's."""

    file: ModelFile
    model: Model
    context: AnyContext
    translator: Translator
    memory_bytes: int
    """Growth of resident memory through loading it."""

    def close(self) -> None:
        """Frees context and weights."""
        self.context.close()
        self.model.close()


Loaded = LoadedAs[Context]
"""For one answer at a time."""
AnyLoaded = LoadedAs[Context] | LoadedAs[Slots]
Partner = tuple[AnyLoaded, Compatibility]
"""The target of a draft, and what its vocabulary has to do with the draft's."""


def check_pair(target: ModelFile, draft: ModelFile) -> Compatibility:
    """Whether the draft can serve the target.

    Raises:
        IncompatibleDraftError: it cannot; the message says why.
    """
    verdict = check_draft(target.meta, draft.meta)
    if not verdict.ok:
        # A model that was named by its path is called after the file, which no command finds again.
        named = target.path if target.name == target.path.stem else target.name
        raise IncompatibleDraftError(
            f"{draft.name} cannot draft for {target.name}: {verdict.reason}",
            f"`edgespec pair {named}` lists drafts that can",
        )
    return verdict


def load_target(file: ModelFile, settings: EngineSettings, progress: Progress = SILENT) -> Loaded:
    """Loads the target; its context keeps logits for a whole verification.

    Args:
        file: Checked against the memory before.
        settings: Placement, context, threads.
        progress: Gets a stage for it.

    Raises:
        EngineError: an RPC server cannot be reached.
        ModelFileError: llama.cpp cannot load it.
        NotEnoughMemoryError: there is no room for it.
        UsageError: there is no such device, or the model cannot have such a cache.
    """
    n_ctx = choose_n_ctx(file, settings)
    progress.stage(f"loading {file.name}", 1)
    context_settings = target_context(settings, n_ctx)
    placement = place_file(file, settings.placement, context_settings, settings)
    return load_as(file, placement, settings, lambda model: Context(model, context_settings), progress)


def load_draft(
    target: Loaded, file: ModelFile, verdict: Compatibility, settings: EngineSettings, progress: Progress
) -> Loaded:
    """Loads a draft, as a faster copy where that pays; its context keeps one row of logits.

    Args:
        target: Whom it drafts for.
        file: Checked against the memory before.
        verdict: On the two vocabularies.
        settings: Placement, context, threads.
        progress: Gets a stage for loading it, and one before for the copy.

    Raises:
        EngineError: an RPC server cannot be reached.
        ModelFileError: llama.cpp cannot load it.
        NotEnoughMemoryError: there is no room for it.
        UsageError: there is no such device, or the model cannot have such a cache.
    """
    chosen, placement, has_list = place_draft(file, settings, target.context.n_ctx, progress)
    context_settings = draft_context(settings, target.context.n_ctx)

    def make_context(model: Model) -> Context:
        return Context(model, context_settings, shortlist=shortlist_of(chosen.meta) if has_list else None)

    return load_as(chosen, placement, settings, make_context, progress, (target, verdict))


def place_draft(
    file: ModelFile, settings: EngineSettings, n_ctx: int, progress: Progress
) -> tuple[ModelFile, Placement, bool]:
    """Which file drafts, where its layers go, and whether it guesses from a list of tokens.

    Args:
        file: The draft as it was asked for.
        settings: Placement, context, threads.
        n_ctx: Tokens of its context.
        progress: Gets a stage for a faster copy, if one is made, and one for loading.
    """
    # The loaded target is already missing from the free memory that the devices report.
    context_settings = draft_context(settings, n_ctx)
    placement = place_file(file, settings.draft_placement, context_settings, settings, takes_remote=False)
    chosen = choose_draft_file(file, placement, settings, progress)
    progress.stage(f"loading {chosen.name}", 1)
    is_fast = chosen is not file or (SHORTLIST_KEY in file.meta.fields and not placement.gpu_layers)
    return chosen, placement, is_fast


def load_as(
    file: ModelFile,
    placement: Placement,
    settings: EngineSettings,
    make_context: Callable[[Model], AnyContext],
    progress: Progress,
    partner: Partner | None = None,
) -> LoadedAs[AnyContext]:
    """Loads a model with a context of any kind, touches its weights once, and joins its vocabulary to its partner's.

    Args:
        file: The model.
        placement: Where its layers go.
        settings: Name RPC servers.
        make_context: Makes its context.
        progress: Advanced by what is loaded.
        partner: Of a draft: its target.
    """
    before = resident_bytes()
    with ExitStack() as undo:
        model = undo.enter_context(Model(file.path, placement, progress))
        # What is mapped into memory comes from the disk only now, and nobody knows how far that is.
        progress.stage(f"loading {file.name}")
        context = undo.enter_context(make_context(model))
        warm_up(context.slots[0] if isinstance(context, Slots) else context, file.meta)
        notice_silence(settings.rpc)
        translator = _translator(model, file, partner)
        undo.pop_all()
    log.info("%s: %s", file.name, placement.reason)
    return LoadedAs(file, model, context, translator, max(0, resident_bytes() - before))


def _translator(model: Model, file: ModelFile, partner: Partner | None) -> Translator:
    if partner is None:
        return SameVocabulary(model.n_vocab, model.n_vocab)
    target, verdict = partner
    if verdict.kind == "same-vocabulary":
        return SameVocabulary(target.model.n_vocab, model.n_vocab)
    to_target, to_draft = token_map(target.file.meta, file.meta)

    def pieces(token: int) -> list[int]:
        text = target.model.token_bytes(token).decode("utf-8", "replace")
        return model.tokenize(text, add_special=False, parse_special=False)

    return TextMap(to_target, to_draft, pieces)


def warm_up(context: Context | Slot, meta: GgufMetadata) -> None:
    """Touches all weights once, so that the first answer is not the one that reads them from the disk.

    Args:
        context: Empty afterwards.
        meta: Of its model. One token wakes only a few experts of a mixture, so as many are read as wake nearly all.
    """
    rows = 1
    if meta.expert_used_count:
        rows = math.ceil(_WOKEN * meta.expert_count / meta.expert_used_count)
    rows = min(rows, context.settings.n_batch, context.free_tokens)
    context.decode(arbitrary_tokens(context.model, rows))
    context.clear()


def resident_bytes() -> int:
    """Resident memory of this process."""
    import psutil

    return int(psutil.Process().memory_info().rss)
