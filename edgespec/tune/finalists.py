"""The finalists: which predictions are worth a benchmark in the time that is left, on what, and their models, loaded for it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from edgespec.bench.arm import ArmSpec
from edgespec.bench.arm_loop import TokenizedPrompt
from edgespec.catalog.model_file import open_file
from edgespec.decode.policy import Mode
from edgespec.files import scratch_folder
from edgespec.paths import derived_models_dir
from edgespec.session.engine import Engine
from edgespec.session.memory_needs import TARGET_ROWS
from edgespec.session.settings import DraftType, EngineSettings
from edgespec.tune.predictions import CandidatePrediction
from edgespec.tune.questions import SPARED_CATEGORIES
from edgespec.tune.recordings import ANSWER_TOKENS
from edgespec.tune.variants import write_draft

_FEWEST: Final = 3
_SPARE: Final = 0.1
"""Of the time left, not planned with: ten finalists took 4 % of the budget more than was reckoned."""
_LOAD_S: Final = 6.0
"""Of a finalist: loading and timing it, for a model of 1.5B on two cores."""
_PROMPT_ROWS: Final = 16
"""A prompt's tokens cost no more each than those of so many rows."""


def choose_finalists(
    predictions: Sequence[CandidatePrediction],
    n_confirmed: int,
    left_s: float,
    prompts: Sequence[TokenizedPrompt],
) -> list[CandidatePrediction]:
    """Plain decoding of the published target, what `auto` does without tuning, and those that promise most.

    All of them answer all prompts: they are as many as the time is enough for, but always three.

    Args:
        predictions: The one first that promises most.
        n_confirmed: Of those that promise most, at most.
        left_s: Seconds that are left for all of it.
        prompts: Of the proof.
    """
    plain = next(one for one in predictions if one.mode is Mode.OFF and one.target.variant.is_published)
    untuned = [one for one in predictions if one.candidate.is_untuned][:1]
    others = [one for one in predictions if one not in (plain, *untuned) and one.mode is not Mode.OFF]
    chosen = [plain, *untuned, *others[:n_confirmed]]
    while len(chosen) > _FEWEST and not _is_time_for(chosen, prompts, left_s):
        chosen.pop()
    return chosen


def choose_prompts(
    chosen: Sequence[CandidatePrediction], left_s: float, prompts: Sequence[TokenizedPrompt]
) -> list[TokenizedPrompt]:
    """All prompts where there is time for them; else without some of `SPARED_CATEGORIES`, and never without others.

    Args:
        chosen: All finalists.
        left_s: Seconds that are left for all of it.
        prompts: Of the proof.
    """
    asked = list(prompts)
    for name in reversed(SPARED_CATEGORIES):
        if _is_time_for(chosen, asked, left_s):
            break
        asked = [prompt for prompt in asked if prompt.category != name]
    return asked


def _is_time_for(
    chosen: Sequence[CandidatePrediction], prompts: Sequence[TokenizedPrompt], left_s: float
) -> bool:
    return confirm_s(chosen, prompts) <= (1 - _SPARE) * left_s


def confirm_s(chosen: Sequence[CandidatePrediction], prompts: Sequence[TokenizedPrompt]) -> float:
    """Seconds that loading takes, and one answer of every finalist to every prompt.

    Args:
        chosen: All finalists. A target reads a prompt once for all of its drafts; what those read is in what was predicted.
        prompts: Of the proof.
    """
    targets = {one.target.variant: one.target.curve for one in chosen}
    row_s = sum(curve.cost(_PROMPT_ROWS) / _PROMPT_ROWS for curve in targets.values())
    reading_s = row_s * sum(len(prompt.tokens) for prompt in prompts)
    answer_s = sum(ANSWER_TOKENS / one.candidate.predicted_tok_per_s for one in chosen)
    return reading_s + len(prompts) * answer_s + len(chosen) * _LOAD_S


@contextmanager
def loaded_finalists(
    chosen: Sequence[CandidatePrediction], prompts: Sequence[TokenizedPrompt], n_threads: int
) -> Iterator[list[ArmSpec]]:
    """Every target variant once, with all of its drafts as they would be saved, shortlists and all.

    Args:
        chosen: All finalists.
        prompts: What they will answer: the longest one fits.
        n_threads: Of the CPU.

    Raises:
        NotEnoughMemoryError: no room for a model or a context.
        DiskSpaceError: no room for a draft's file.
    """
    n_ctx = max(len(prompt.tokens) for prompt in prompts) + ANSWER_TOKENS + TARGET_ROWS
    settings = EngineSettings(n_ctx=n_ctx, n_threads=n_threads, draft_type=DraftType.AS_IS)
    engines: dict[str, Engine] = {}
    finalists = []
    derived_models_dir().mkdir(parents=True, exist_ok=True)
    # A folder of this search's own: another one that runs has finalists too.
    with scratch_folder(derived_models_dir()) as folder, ExitStack() as opened:
        for number, one in enumerate(chosen):
            target, draft, name = one.target.variant, one.pair.draft, None
            if target.label not in engines:
                engine = Engine(open_file(target.label, target.path), [], settings)
                engines[target.label] = opened.enter_context(engine)
            engine = engines[target.label]
            if draft is not None:
                name, file = draft.label, folder / f"finalist-{number}.gguf"
                write_draft(draft, file)
                engine.add_draft(open_file(name, file))
            label = f"{one.candidate.target} + {one.candidate.draft}"
            finalists.append(ArmSpec(label, engine, one.mode, name, engine.measure_costs(name)))
        yield finalists
