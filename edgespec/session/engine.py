"""A target with its drafts, loaded, measured, and ready to generate in any mode."""

from collections.abc import Mapping
from time import perf_counter
from types import MappingProxyType

from edgespec.catalog.compatibility import check_writes_text
from edgespec.catalog.model_file import ModelFile
from edgespec.decode.acceptance import USUAL_ACCEPTANCE
from edgespec.decode.draft_length import best_token_s
from edgespec.decode.drafters.contract import Drafter
from edgespec.decode.drafters.draft_model import ModelDrafter
from edgespec.decode.drafters.forced import ForcedDrafter
from edgespec.decode.drafters.llama_draft import LlamaDraft
from edgespec.decode.drafters.ngrams import NgramDrafter
from edgespec.decode.engines import LlamaTarget
from edgespec.decode.fixed_policy import policy_for
from edgespec.decode.generate import Generator
from edgespec.decode.grammar.constraint import Constraint
from edgespec.decode.policy import MAX_DRAFT, Mode
from edgespec.lifetime import Closes
from edgespec.llama.sampler import Sampling
from edgespec.progress import SILENT, Progress
from edgespec.session.context_choice import cautions
from edgespec.session.context_pair import ContextPair, open_context_pair
from edgespec.session.loading import Loaded, check_pair, load_draft, load_target
from edgespec.session.measuring import measure_pair
from edgespec.session.pair_state import PairState
from edgespec.session.placing import check_draft_memory, check_memory, settle_context
from edgespec.session.settings import EngineSettings


def make_drafters(
    mode: Mode, model: ModelDrafter | None, state: PairState, constraint: Constraint | None = None
) -> list[Drafter]:
    """Who drafts for one answer.

    Args:
        mode: What may draft.
        model: The draft model's, if there is one.
        state: Of the pair.
        constraint: What the answer has to fit, if anything.
    """
    drafters: list[Drafter] = []
    if constraint and mode is not Mode.OFF:
        drafters.append(ForcedDrafter(constraint, state.acceptance))
    if mode in (Mode.NGRAM, Mode.AUTO):
        drafters.append(NgramDrafter(state.acceptance))
    if model and mode in (Mode.MODEL, Mode.AUTO):
        drafters.append(model)
    return drafters


class Engine(Closes):
    """Owns the models. Generators made from it share its contexts, one at a time, unless they get contexts of their own.

    Args:
        target: The target's file.
        drafts: Draft files of different names; each must be able to serve the target.
        settings: Placement, context, threads.
        progress: Gets a stage for every model that is loaded.
        acceptance: What was measured of the drafts elsewhere, by their names: what is believed before they have drafted.

    Raises:
        IncompatibleDraftError: a draft that cannot serve the target.
        NotEnoughMemoryError: they do not fit, said before anything is loaded.
        ModelFileError: the target writes no text, or llama.cpp cannot load one.
    """

    def __init__(
        self,
        target: ModelFile,
        drafts: list[ModelFile],
        settings: EngineSettings,
        progress: Progress = SILENT,
        acceptance: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        check_writes_text(target.name, target.meta)
        verdicts = [check_pair(target, draft) for draft in drafts]
        settings = settle_context(target, drafts, settings)
        check_memory(target, drafts, settings)
        self.settings, self._acceptance = settings, acceptance
        self.target = load_target(target, settings, progress)
        self.drafts: dict[str, Loaded] = {}
        try:
            for draft, verdict in zip(drafts, verdicts, strict=True):
                self.drafts[draft.name] = load_draft(self.target, draft, verdict, settings, progress)
        except BaseException:
            self.close()
            raise
        self.states: dict[str | None, PairState] = {}

    def add_draft(self, draft: ModelFile, progress: Progress = SILENT) -> None:
        """Loads one more draft beside what is loaded already.

        Args:
            draft: Its file.
            progress: Gets a stage for loading it.

        Raises:
            IncompatibleDraftError: it cannot serve the target.
            NotEnoughMemoryError: it does not fit, said before anything is loaded.
            ModelFileError: llama.cpp cannot load it.
        """
        if draft.name in self.drafts:
            return
        verdict = check_pair(self.target.file, draft)
        check_draft_memory(draft, self.target.context.n_ctx, self.settings)
        self.drafts[draft.name] = load_draft(self.target, draft, verdict, self.settings, progress)

    def drop_draft(self, name: str) -> None:
        """Frees a draft that no generator uses."""
        self.states.pop(name, None)
        self.drafts.pop(name).close()

    def measure_costs(self, name: str | None, progress: Progress = SILENT) -> PairState:
        """Measures the costs of the target with a draft, in about four seconds; of its acceptance what was measured elsewhere is known.

        Args:
            name: Of a loaded draft; None for the target alone.
            progress: Gets a stage, in seconds.

        Raises:
            EngineError: llama.cpp failed.
        """
        draft = self.drafts[name] if name else None
        known = self._acceptance.get(name or "")
        state = measure_pair(name or self.target.file.name, self.target, draft, known, progress)
        self.states[name] = state
        return state

    def best_draft(self) -> str | None:
        """The measured draft that promises the most at the usual acceptance."""
        named = [name for name in self.states if name]
        if not named:
            return None

        def promise(name: str) -> float:
            costs = self.states[name].costs
            return costs.step_s / best_token_s(costs, costs.draft_step_s, USUAL_ACCEPTANCE, MAX_DRAFT)

        return max(named, key=promise)

    def generator(
        self,
        mode: Mode,
        draft_name: str | None,
        sampling: Sampling,
        state: PairState,
        contexts: ContextPair | None = None,
        draft_length: int | None = None,
        constraint: Constraint | None = None,
    ) -> Generator:
        """A generator with its own n-gram table.

        Args:
            mode: What may draft.
            draft_name: Of a loaded draft; None without one.
            sampling: How the target picks.
            state: Its costs and its acceptance are corrected as the generator runs.
            contexts: Its own, from `open_context_pair`; None for the engine's, which serve one generator at a time.
            draft_length: Of every draft; None: as long as it pays.
            constraint: What the answer has to fit, if anything.
        """
        loaded = self.drafts[draft_name] if draft_name else None
        contexts = contexts or ContextPair(self.target.context, loaded.context if loaded else None)
        model = None
        if loaded and contexts.draft:
            draft = LlamaDraft(contexts.draft, loaded.translator, state.costs.draft_batch)
            model = ModelDrafter(draft, state.costs, state.acceptance, perf_counter)
        drafters = make_drafters(mode, model, state, constraint)
        abilities = contexts.target.abilities
        longest = min(abilities.most_drafted or MAX_DRAFT, MAX_DRAFT)
        policy = policy_for(state.costs, draft_length, longest=longest, replays=abilities.replays)
        target = LlamaTarget(contexts.target, sampling, constraint)
        return Generator(target, drafters, policy, constraint=constraint)

    def open_context_pair(self, draft_name: str | None, n_ctx: int) -> ContextPair:
        """Contexts of its own for one generator, to be closed before the engine is.

        Args:
            draft_name: Of a loaded draft; None without one.
            n_ctx: Tokens.

        Raises:
            NotEnoughMemoryError: there is no room for them.
        """
        return open_context_pair(self.target, self.drafts[draft_name] if draft_name else None, n_ctx)

    def placements(self) -> list[str]:
        """Where each model's layers went, a clause per model that is not wholly on the CPU."""
        loaded = [self.target, *self.drafts.values()]
        return [
            f"{one.file.name}: {one.model.placement.reason}"
            for one in loaded
            if one.model.placement.gpu_layers
        ]

    def cautions(self) -> list[str]:
        """What the models do badly with the settings that were asked for, a clause each."""
        named = [(self.target, True), *((draft, False) for draft in self.drafts.values())]
        return [
            clause
            for loaded, is_target in named
            for clause in cautions(loaded.file, self.settings, is_target=is_target)
        ]

    def close(self) -> None:
        """Frees everything. A second call does nothing."""
        for draft in self.drafts.values():
            draft.close()
        self.target.close()
