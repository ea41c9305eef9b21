"""What a search found: values that JSON can hold, and the file that keeps them for `--explain`."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from edgespec.documents import build, read_json
from edgespec.errors import DiskSpaceError, UsageError
from edgespec.files import written_whole
from edgespec.paths import tunes_dir
from edgespec.text import nearest

SCHEMA: Final = "edgespec.tune/1"
WORTH_IT: Final = 1.02
"""The fastest must beat what `auto` does without tuning by this much to be kept."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target form with a draft form (or none), what was predicted of it, and what was measured."""

    target: str
    draft: str
    """Its label; `ngram` drafts from the text alone, `none` not at all."""
    acceptance: float | None
    """Share of the target's tokens that the draft guesses; None without a draft model."""
    draft_step_share: float | None
    """Cost of a draft step in steps of this target form."""
    predicted_tok_per_s: float
    predicted_speedup: float
    """Over plain decoding of the published target."""
    measured_tok_per_s: float | None = None
    measured_speedup: float | None = None
    measured_sd: float | None = None
    lowest_category: float | None = None
    """Over plain decoding of the published target, in the category where it gains least."""
    is_untuned: bool = False
    """Whether it is what `auto` does without tuning."""
    kl: float | None = None
    """Of the target form from the published file, mean nats per token."""
    top1_agreement: float | None = None

    @property
    def label(self) -> str:
        """Both forms in words."""
        with_draft = {"none": "plain", "ngram": "n-gram drafts"}.get(self.draft, f"draft {self.draft}")
        return f"target {self.target}, {with_draft}"


@dataclass(frozen=True, slots=True)
class TuneOutcome:
    """A finished or stopped search."""

    target: str
    pair: str
    """Name of the pair that was stored; empty where nothing was."""
    candidates: tuple[Candidate, ...]
    """Fastest first: measured ones by what was measured, then the others by what was predicted."""
    winner: int
    """Place of the fastest in `candidates`."""
    verdict: str
    seconds: float
    budget_s: float

    @property
    def best(self) -> Candidate:
        """The fastest."""
        return self.candidates[self.winner]


def ranked(candidates: list[Candidate]) -> list[Candidate]:
    """Measured ones first, the fastest at the head."""
    return sorted(
        candidates,
        key=lambda one: (one.measured_speedup is None, -(one.measured_speedup or one.predicted_speedup)),
    )


def is_worth_keeping(outcome: TuneOutcome) -> bool:
    """Whether the fastest is clearly faster than what `auto` does without tuning."""
    best = outcome.best
    untuned = next((one for one in outcome.candidates if one.is_untuned and one.measured_speedup), None)
    reference = max(untuned.measured_speedup or 1.0, 1.0) if untuned else 1.0
    return (
        not best.is_untuned and best.draft != "none" and (best.measured_speedup or 0.0) > WORTH_IT * reference
    )


def verdict_of(best: Candidate, candidates: Sequence[Candidate]) -> str:
    """One sentence about the fastest."""
    untuned = next((one for one in candidates if one.is_untuned and one.measured_speedup), None)
    if best.measured_speedup is None or best.measured_speedup <= WORTH_IT:
        return "nothing beats plain decoding of the published file here"
    sentence = f"{best.label}: {best.measured_speedup:.2f}x plain decoding of the published file"
    if best.is_untuned:
        return f"{sentence}; that is what auto does without tuning"
    if untuned is not None and untuned.measured_speedup:
        sentence += f", {best.measured_speedup / untuned.measured_speedup:.2f}x what auto does without tuning"
    if best.kl is not None:
        sentence += f"; its text is that of {best.target}, KL {best.kl:.3f} from the published file"
    return sentence


def save_outcome(outcome: TuneOutcome) -> Path:
    """Writes it under the target's name, in place of what was found before.

    Raises:
        DiskSpaceError: it cannot be written.
    """
    file = _file_of(outcome.target)
    document = {"schema": SCHEMA, **asdict(outcome)}
    try:
        with written_whole(file) as unfinished:
            unfinished.write_text(json.dumps(document, indent=2), encoding="utf-8")
    except OSError as err:
        raise DiskSpaceError(
            f"{file} cannot be written: {err.strerror or err}", "free some space there"
        ) from err
    return file


def load_outcome(name: str) -> TuneOutcome:
    """The last search of a target, by its name or by that of the tuned pair.

    Raises:
        UsageError: none is kept.
        ConfigError: its file is damaged.
    """
    known = {path.stem: path for path in sorted(tunes_dir().glob("*.json"))}
    file = known.get(_file_of(name).stem) or known.get(_file_of(name.removesuffix("-tuned")).stem)
    if file is None:
        near = nearest(name, known)
        raise UsageError(
            f"nothing was tuned for {name!r}",
            f"tuned: {', '.join(near or known)}" if known else f"run `edgespec tune {name}` first",
        )
    return build(TuneOutcome, read_json(file, schema=SCHEMA), str(file), hint="tune again, or delete it")


def with_measurement(
    candidate: Candidate, tok_per_s: float, speedup: float, sd: float, lowest: float
) -> Candidate:
    """The candidate with what a benchmark said."""
    return replace(
        candidate,
        measured_tok_per_s=tok_per_s,
        measured_speedup=speedup,
        measured_sd=sd,
        lowest_category=lowest,
    )


def _file_of(name: str) -> Path:
    return tunes_dir() / (re.sub(r"[^\w.-]", "_", name) + ".json")
