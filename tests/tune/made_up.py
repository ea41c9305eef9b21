"""Made-up values for the tests of tune, and a progress that notes what it is told."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgespec.bench.arm_loop import TokenizedPrompt
from edgespec.catalog.model_file import open_file
from edgespec.decode.costs import CostCurve
from edgespec.decode.replay import Guesses, GuessView, Recording
from edgespec.tune.request import TuneRequest
from edgespec.tune.timing import TimedDraft, TimedTarget
from edgespec.tune.variants import PUBLISHED, DraftVariant, TargetVariant
from quant.measure.evaluate import Distance

WRONG = 5
"""A token that no made-up answer has."""


def recording(tokens: Sequence[int], prompt: Sequence[int] = (1, 2, 3)) -> Recording:
    """A target's answer."""
    return Recording(tuple(prompt), tuple(tokens))


def guesses(one: Recording, held: Callable[[int], bool] = lambda _place: True) -> Guesses:
    """What a sure draft guesses, having read all of the text; it is right at the places that `held` says."""
    tokens = (token if held(place) else WRONG for place, token in enumerate(one.tokens))
    return Guesses((GuessView(0, 0, tuple(tokens), (9.0,) * len(one.tokens)),))


def asked(*lengths: int, categories: Sequence[str] = ()) -> list[TokenizedPrompt]:
    """Prompts of so many tokens, of the categories named or of one each."""
    named = categories or [f"kind {number}" for number in range(len(lengths))]
    return [
        TokenizedPrompt(f"{category}-1", category, tuple(range(100, 100 + length)))
        for category, length in zip(named, lengths, strict=True)
    ]


def timed_target(
    points: Mapping[int, float], label: str = PUBLISHED, *, pads: bool = False, kl: float | None = None
) -> TimedTarget:
    """A target variant whose passes cost so many seconds by their rows."""
    distance = None if kl is None else Distance(9.0, kl, 0.01, 1.0, 0.9)
    return TimedTarget(TargetVariant(label, Path(f"{label}.gguf"), distance), CostCurve(points), pads)


def timed_draft(points: Mapping[int, float], label: str = "small, Q4_0", **fields: object) -> TimedDraft:
    """A draft variant whose passes cost so many seconds by their rows."""
    variant = DraftVariant(label, "small", Path("small.gguf"), "fast copy", **fields)  # type: ignore[arg-type]
    return TimedDraft(variant, CostCurve(points), pads=False)


def tune_request(target: Path, *drafts: Path, budget_s: float = 600.0, **fields: bool | int) -> TuneRequest:
    """A request for files, named like them; one thread."""
    small = tuple(open_file(draft.stem, draft) for draft in drafts)
    return TuneRequest(open_file(target.stem, target), small, budget_s, n_threads=1, **fields)  # type: ignore[arg-type]


@contextmanager
def shorter_answers() -> Iterator[None]:
    """A held-out question of each category, 24 tokens for each answer, and little to distill from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgespec.tune.questions._HELD_OUT_PER_CATEGORY", 1)
        for module in ("recordings", "finalists", "search"):
            patch.setattr(f"edgespec.tune.{module}.ANSWER_TOKENS", 24)
        patch.setattr("edgespec.tune.distillation.DATA_TOKENS", 100)
        patch.setattr("edgespec.tune.distillation_data._ANSWER_TOKENS", 32)
        yield
