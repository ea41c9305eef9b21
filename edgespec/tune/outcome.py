"""What a search found: values that JSON can hold, and the file that they are saved in."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from edgespec.catalog.entries import NGRAM
from edgespec.documents import build, read_json
from edgespec.errors import DiskSpaceError, UsageError
from edgespec.files import written_whole
from edgespec.paths import tunes_dir
from edgespec.text import nearest

SCHEMA: Final = "edgespec.tune/1"
NO_DRAFT: Final = "none"
WORTH_SAVING: Final = 1.02
"""The fastest must beat what `auto` does without tuning by this factor to be saved."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target variant with a draft variant or none, what was predicted of it, and what was measured."""

    target: str
    draft: str
    """Its label; `ngram` drafts from the text alone, `none` not at all."""
    acceptance: float | None
    """Share of the target's tokens that the draft guesses; None without a draft model."""
    draft_step_share: float | None
    """Seconds of a draft step over those of a plain step of this target variant."""
    predicted_tok_per_s: float
    predicted_speedup: float
    """Over plain decoding of the published target."""
    measured_tok_per_s: float | None = None
    measured_speedup: float | None = None
    """Over plain decoding of the published target, too."""
    measured_sd: float | None = None
    """Of the measured speed-up."""
    lowest_category: float | None = None
    """Over plain decoding of the published target, in the category where it gains least."""
    is_untuned: bool = False
    """Whether it is what `auto` does without tuning."""
    kl: float | None = None
    """Of the target variant from the published file, mean nats per token; None for that file itself."""
    top1_agreement: float | None = None
    """Share of tokens, 0 to 1, for which both hold the same token for the most likely."""

    @property
    def label(self) -> str:
        """Both variants in words."""
        with_draft = {NO_DRAFT: "plain", NGRAM: "n-gram drafts"}.get(self.draft, f"draft {self.draft}")
        return f"target {self.target}, {with_draft}"


@dataclass(frozen=True, slots=True)
class TuneOutcome:
    """A finished or stopped search."""

    target: str
    pair: str
    """Name of the pair that was saved; empty where none was."""
    candidates: tuple[Candidate, ...]
    """Fastest first: measured ones by what was measured, then the others by what was predicted."""
    winner: int
    """Place of the fastest in `candidates`."""
    verdict: str
    seconds: float
    budget_s: float
    proof: tuple[str, ...] = ()
    """Ids of the built-in prompts that were measured on, none of which the search had seen; empty where an earlier version
    measured on those that it had searched with."""

    @property
    def best(self) -> Candidate:
        """The fastest."""
        return self.candidates[self.winner]

    @property
    def proof_note(self) -> str:
        """What it was measured on, in words; empty where the search had seen that."""
        return f"proved on {len(self.proof)} prompts that the search never saw" if self.proof else ""


def conclude(
    target: str, candidates: Sequence[Candidate], seconds: float, budget_s: float, proof: Sequence[str]
) -> TuneOutcome:
    """What these candidates come to; nothing is saved yet.

    Args:
        target: Its name.
        candidates: In any order; plain decoding of the published target is among them.
        seconds: Used.
        budget_s: Given, in seconds.
        proof: Ids of the prompts that were measured on.
    """
    in_order = ranked(candidates)
    best = find_winner(in_order)
    verdict = verdict_of(best, in_order)
    winner = in_order.index(best)
    return TuneOutcome(target, "", tuple(in_order), winner, verdict, seconds, budget_s, tuple(proof))


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Measured ones first, the fastest at the head."""
    return sorted(
        candidates,
        key=lambda one: (one.measured_speedup is None, -(one.measured_speedup or one.predicted_speedup)),
    )


def find_winner(candidates: Sequence[Candidate]) -> Candidate:
    """The first that was measured and loses in no category; plain decoding where there is not one.

    Args:
        candidates: In the order of `ranked`.
    """
    for one in candidates:
        if one.measured_speedup is not None and (one.lowest_category or 0.0) >= 1 / WORTH_SAVING:
            return one
    return next(one for one in candidates if one.draft == NO_DRAFT)


def is_worth_saving(outcome: TuneOutcome) -> bool:
    """Whether the fastest is clearly faster than what `auto` does without tuning."""
    best = outcome.best
    reference = max(_untuned_speedup(outcome.candidates) or 1.0, 1.0)
    return (
        not best.is_untuned
        and best.draft != NO_DRAFT
        and (best.measured_speedup or 0.0) > WORTH_SAVING * reference
    )


def verdict_of(best: Candidate, candidates: Sequence[Candidate]) -> str:
    """One sentence about the fastest, without a full stop."""
    if best.measured_speedup is None or best.measured_speedup <= WORTH_SAVING:
        return "nothing beats plain decoding of the published file here"
    sentence = f"{best.label}: {best.measured_speedup:.2f}x plain decoding of the published file"
    if best.is_untuned:
        return f"{sentence}; that is what auto does without tuning"
    untuned = _untuned_speedup(candidates)
    if untuned is not None:
        sentence += f", {best.measured_speedup / untuned:.2f}x what auto does without tuning"
    if best.kl is not None:
        sentence += f"; its text is that of {best.target}, KL {best.kl:.3f} from the published file"
    return sentence


def _untuned_speedup(candidates: Sequence[Candidate]) -> float | None:
    """What `auto` does without tuning, over plain decoding; None where it was not measured."""
    return next((one.measured_speedup for one in candidates if one.is_untuned and one.measured_speedup), None)


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


def _file_of(name: str) -> Path:
    return tunes_dir() / (re.sub(r"[^\w.-]", "_", name) + ".json")
