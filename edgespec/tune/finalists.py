"""The finalists: which predictions are worth a benchmark in the time that is left, and their models, loaded for it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from edgespec.bench.arm import ArmSpec
from edgespec.catalog.model_file import open_file
from edgespec.decode.policy import Mode
from edgespec.paths import derived_file
from edgespec.session.engine import Engine
from edgespec.session.settings import DraftType, EngineSettings
from edgespec.tune.answers import held_out_prompts
from edgespec.tune.predictions import CandidatePrediction
from edgespec.tune.recordings import ANSWER_TOKENS
from edgespec.tune.timing import TIMING_N_CTX
from edgespec.tune.variants import DraftVariant, write_draft

_FEWEST: Final = 3
_SPARE: Final = 0.1
"""Of the time left, not planned with: ten finalists took 4 % of the budget more than was reckoned."""
_LOAD_S: Final = 6.0
"""Of a finalist: loading and timing it, for a model of 1.5B on two cores."""
_PROMPT_ROWS: Final = 16
"""A prompt's tokens cost no more each than those of so many rows."""


def choose_finalists(
    predictions: Sequence[CandidatePrediction], n_confirmed: int, left_s: float, prompt_tokens: float
) -> list[CandidatePrediction]:
    """Plain decoding of the published target, what `auto` does without tuning, and those that promise most.

    All of them answer a prompt of every category: they are as many as the time is enough for, but always three.

    Args:
        predictions: The one first that promises most.
        n_confirmed: Of those that promise most, at most.
        left_s: Seconds that are left for all of it.
        prompt_tokens: Mean of the prompts.
    """
    plain = next(one for one in predictions if one.mode is Mode.OFF and one.target.variant.is_published)
    untuned = [one for one in predictions if one.candidate.is_untuned][:1]
    others = [one for one in predictions if one not in (plain, *untuned) and one.mode is not Mode.OFF]
    chosen = [plain, *untuned, *others[:n_confirmed]]
    while len(chosen) > _FEWEST and confirm_s(chosen, prompt_tokens) > (1 - _SPARE) * left_s:
        chosen.pop()
    return chosen


def confirm_s(chosen: Sequence[CandidatePrediction], prompt_tokens: float) -> float:
    """Seconds that loading takes, and one prompt of every category if they are all like the average one.

    Args:
        chosen: All finalists.
        prompt_tokens: Mean of the prompts.
    """
    n_categories = len({one.category for one in held_out_prompts()})
    answer_s = sum(
        one.target.curve.cost(_PROMPT_ROWS) / _PROMPT_ROWS * prompt_tokens
        + ANSWER_TOKENS / one.candidate.predicted_tok_per_s
        for one in chosen
    )
    return n_categories * answer_s + len(chosen) * _LOAD_S


@contextmanager
def loaded_finalists(chosen: Sequence[CandidatePrediction], n_threads: int) -> Iterator[list[ArmSpec]]:
    """Every target variant once, with all of its drafts as they would be saved, shortlists and all.

    Raises:
        NotEnoughMemoryError: no room for a model or a context.
        DiskSpaceError: no room for a draft's file.
    """
    settings = EngineSettings(n_ctx=TIMING_N_CTX, n_threads=n_threads, draft_type=DraftType.AS_IS)
    engines: dict[str, Engine] = {}
    finalists = []
    with ExitStack() as opened:
        for number, one in enumerate(chosen):
            target, draft, name = one.target.variant, one.pair.draft, None
            if target.label not in engines:
                engine = Engine(open_file(target.label, target.path), [], settings)
                engines[target.label] = opened.enter_context(engine)
            engine = engines[target.label]
            if draft is not None:
                name = draft.label
                engine.add_draft(open_file(name, _written(draft, number, opened)))
            label = f"{one.candidate.target} + {one.candidate.draft}"
            finalists.append(ArmSpec(label, engine, one.mode, name, engine.measure_costs(name)))
        yield finalists


def _written(draft: DraftVariant, number: int, opened: ExitStack) -> Path:
    """The draft as a file that is deleted when `opened` ends."""
    path = derived_file(draft.path, f"tune-finalist-{number}.gguf")
    opened.callback(_delete, path)
    write_draft(draft, path)
    return path


def _delete(path: Path) -> None:
    # A system that does not let go of a mapped file keeps this one in the cache; the next search writes it anew.
    with suppress(OSError):
        path.unlink(missing_ok=True)
