"""The models of a shared session, loaded and measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from types import MappingProxyType

from edgespec.catalog.compatibility import check_writes_text
from edgespec.catalog.model_file import ModelFile
from edgespec.decode.drafters.contract import Drafter
from edgespec.decode.fixed_policy import policy_for
from edgespec.decode.grammar.constraint import Constraint
from edgespec.decode.policy import MAX_DRAFT, DraftingPolicy, Mode
from edgespec.decode.shared.batch import Batch, Drafts
from edgespec.decode.shared.kept import KeptTexts
from edgespec.decode.shared.model_drafter import SharedModelDrafter
from edgespec.decode.shared.pool import Pool
from edgespec.decode.shared.seats import Seat, Seats
from edgespec.lifetime import Closes
from edgespec.llama.build import native_kernels
from edgespec.llama.model import Model
from edgespec.llama.slots import Slots
from edgespec.progress import SILENT, Progress
from edgespec.session.choice import mode_for
from edgespec.session.cost_store import CostStore
from edgespec.session.engine import make_drafters
from edgespec.session.fast_draft import shortlist_of
from edgespec.session.loading import LoadedAs, check_pair, load_as, place_draft
from edgespec.session.measuring import measure_pair
from edgespec.session.placing import check_contexts, place_file, settle_context
from edgespec.session.settings import EngineSettings
from edgespec.session.shared.kept_files import KeptFiles
from edgespec.session.shared.size import choose_cache_bytes, choose_idle_cells, choose_size


class SharedEngine(Closes):
    """Owns a target and perhaps a draft model, each with a cache for many conversations.

    Args:
        target: Its file.
        drafts: The draft's, one at most.
        settings: Placement, context, threads; `n_ctx` is what one conversation may have.
        n_parallel: Answers that are computed at a time.
        draft: As it was asked for: `auto`, `ngram`, `none`, or a model.
        cache_bytes: What copies of conversations may take that have left the cache; None for a share of what is free.
        cache_dir: Where conversations are kept between runs; None keeps none.
        acceptance: What was measured of the draft elsewhere, by its name.
        progress: Gets a stage for every model that is loaded, and where the pair has to be measured.

    Raises:
        IncompatibleDraftError: the draft cannot serve the target.
        NotEnoughMemoryError: they do not fit, said before anything is loaded.
        ModelFileError: the target writes no text, or llama.cpp cannot load one.
    """

    def __init__(
        self,
        target: ModelFile,
        drafts: Sequence[ModelFile],
        settings: EngineSettings,
        n_parallel: int,
        *,
        draft: str,
        cache_bytes: int | None = None,
        cache_dir: Path | None = None,
        acceptance: Mapping[str, float] = MappingProxyType({}),
        progress: Progress = SILENT,
    ) -> None:
        check_writes_text(target.name, target.meta)
        files = list(drafts)
        verdicts = [check_pair(target, file) for file in files]
        self.settings = settings = settle_context(target, files, settings)
        self.size = size = choose_size(target, files, settings, n_parallel)
        self.n_parallel, self.n_ctx = n_parallel, size.n_each
        contexts = [(target, size.target), *((file, size.draft) for file in files)]
        check_contexts(contexts, settings, first_alone="`draft` none")
        self.mode = mode_for(draft)
        self.draft_name = files[0].name if files else None
        self.target = self._load_target(target, progress)
        self.draft: LoadedAs[Slots] | None = None
        self._seats: Seats | None = None
        self._pool: Pool | None = None
        try:
            if files:
                chosen, placement, has_list = place_draft(files[0], settings, size.draft.n_ctx, progress)
                lists = size.draft.n_sequences if has_list else 0
                partner = (self.target, verdicts[0])

                def make_context(model: Model) -> Slots:
                    made = [shortlist_of(chosen.meta) for _ in range(lists)]
                    shortlists = [one for one in made if one]
                    return Slots(model, size.draft, size.n_each_draft, shortlists)

                self.draft = load_as(chosen, placement, settings, make_context, progress, partner)
            self._store = CostStore(self.target, self.draft)
            known = acceptance.get(self.draft_name or "")
            name = self.draft_name or target.name
            self.state = self._store.load() or measure_pair(name, self.target, self.draft, known, progress)
            self._kept_files = KeptFiles(cache_dir, self.target) if cache_dir else None
            self.cache_bytes = choose_cache_bytes() if cache_bytes is None else cache_bytes
        except BaseException:
            self._free()
            raise

    def _load_target(self, file: ModelFile, progress: Progress) -> LoadedAs[Slots]:
        size, settings = self.size, self.settings
        progress.stage(f"loading {file.name}", 1)
        placement = place_file(file, settings.placement, size.target, settings)
        return load_as(
            file, placement, settings, lambda model: Slots(model, size.target, size.n_each), progress
        )

    def make_batch(self) -> Batch:
        """The answers of these models, none yet."""
        if self.draft and self.mode is Mode.AUTO:
            self._seats = Seats(self.draft.context, self.draft.translator, self.state.costs.draft_batch)
        drafts = Drafts(self._make_drafters, self._make_policy, self._seats)
        kept = KeptTexts(self.cache_bytes)
        for text in self._kept_files.read() if self._kept_files else ():
            kept.add(text)
        self._pool = Pool(self.target.context, kept, self._idle_cells())
        return Batch(self._pool, self.state.costs, drafts, self.n_parallel)

    def _make_drafters(self, seat: Seat | None, constraint: Constraint | None) -> Sequence[Drafter]:
        model, state = None, self.state
        if seat and self._seats:
            model = SharedModelDrafter(seat.draft, state.costs, state.acceptance, perf_counter, self._seats)
        return make_drafters(self.mode, model, state, constraint)

    def _idle_cells(self) -> int | None:
        """Cells for conversations that wait; None for any number."""
        if self.target.model.placement.gpu_layers or not self.cache_bytes:
            return None
        n_threads = self.target.context.settings.n_threads
        are_passed = bool(native_kernels().isa)
        return choose_idle_cells(self.target.file, self.state.costs.step_s, n_threads, are_passed=are_passed)

    def _make_policy(self) -> DraftingPolicy:
        abilities = self.target.context.abilities
        longest = min(abilities.most_drafted or MAX_DRAFT, MAX_DRAFT)
        return policy_for(self.state.costs, None, longest=longest, replays=abilities.replays)

    def close(self) -> None:
        """Keeps what was learnt and frees everything. A second call does nothing."""
        try:
            if self.target.context.handle:
                self._store.save(self.state)
                if self._kept_files and self._pool:
                    self._kept_files.write(self._pool.keep_all(), self.cache_bytes)
        finally:
            self._free()

    def _free(self) -> None:
        if self.draft:
            self.draft.close()
        self.target.close()
