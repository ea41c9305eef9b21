"""The one record of a generated token, and the figures of a whole answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

STEADY: Final = 0.15
"""Share of their time by which passes may vary before an estimate from it is called rough: three times a quiet machine's."""


class DraftSource(StrEnum):
    """Who thought of a token first. Every token is the target's choice all the same."""

    TARGET = "target"
    MODEL = "model"
    NGRAM = "ngram"
    GRAMMAR = "grammar"


@dataclass(frozen=True, slots=True)
class CallDelta:
    """More of a call that is being written: its name and id come whole and first, its arguments in pieces."""

    index: int
    """Of the call in its answer, from 0."""
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token.

    `text` holds the characters that became complete with this token; a token inside a multi-byte character has
    none. `round_s` is the time of the round that brought it, shared by `round_tokens` tokens.
    """

    id: int
    text: str
    source: DraftSource
    round_s: float
    round_tokens: int
    thought: str = ""
    """Likewise, of what the model thinks before it answers; `text` is then the answer's alone."""
    calls: tuple[CallDelta, ...] = ()
    """Likewise, of the tools that it calls."""

    @property
    def from_draft(self) -> bool:
        """Whether a drafter proposed it."""
        return self.source is not DraftSource.TARGET


@dataclass(slots=True)
class GenerationStats:
    """What an answer cost. Filled while it is generated; times in seconds."""

    prompt_n: int = 0
    """Tokens of the prompt."""
    prompt_evaluated_n: int = 0
    """Of these, the ones that were not in the KV cache already."""
    predicted_n: int = 0
    thought_n: int = 0
    """Of these, the ones that the model thought with, marks included."""
    thought_s: float = 0.0
    prefill_s: float = 0.0
    ttft_s: float = 0.0
    decode_s: float = 0.0
    """From the first token to the last, drafting, catching up and deciding included."""
    draft_s: float = 0.0
    verify_s: float = 0.0
    policy_s: float = 0.0
    draft_n: int = 0
    """Draft tokens that were tested: up to and with the first rejected one (llama.cpp PR 14104)."""
    draft_n_accepted: int = 0
    target_passes: int = 0
    plain_step_s: float = 0.0
    """What a plain step cost here, for the estimated speed-up: a mean over the passes of this answer, of what each time was reckoned
    by plain steps among them, or taken where all were plain."""
    pass_deviation: float = 0.0
    """By how much passes of one size vary, as a share of their time, in the end: some 0.05 on a machine that does nothing else."""
    accepted_at: list[int] = field(default_factory=list)
    """By position in the draft, from the first; drafts of 2 and of 1 token, all accepted, give 2, 1."""
    tested_at: list[int] = field(default_factory=list)
    """As many."""
    by_source: dict[DraftSource, tuple[int, int]] = field(default_factory=dict)
    """Draft tokens by who thought of them: (tested, accepted)."""
    stopped: str = ""
    """`eog`, `length` (the limit), `context` (which is full), `stop` (a text that ends answers) or `interrupted`."""
    dropped_n: int = 0
    """Messages that were left out of the conversation, the oldest, to make room."""
    why: str = ""
    """Whether speculation was on, and the reason, in a sentence."""

    def count_round(self, sources: Sequence[DraftSource], held: Sequence[bool]) -> None:
        """Books the tested tokens of one draft: those up to and with the first rejected one.

        Args:
            sources: Who thought of each.
            held: Whether the target picked it too, as many.
        """
        while len(self.tested_at) < len(held):
            self.tested_at.append(0)
            self.accepted_at.append(0)
        for position, (source, accepted) in enumerate(zip(sources, held, strict=True)):
            tested_n, accepted_n = self.by_source.get(source, (0, 0))
            self.by_source[source] = (tested_n + 1, accepted_n + accepted)
            self.tested_at[position] += 1
            self.accepted_at[position] += accepted
        self.draft_n += len(held)
        self.draft_n_accepted += sum(held)

    def count_plain_step(self, step_s: float) -> None:
        """Books what a plain step would have taken in the place of the last pass."""
        self.plain_step_s += (step_s - self.plain_step_s) / max(1, self.target_passes)

    @property
    def is_disturbed(self) -> bool:
        """Whether other programs slowed the passes by turns: what is reckoned from their times is a rough guess."""
        return self.pass_deviation > STEADY

    def add(self, other: "GenerationStats") -> None:
        """Adds another answer's counts and times; what is not a sum stays as it is."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for source, (tested_n, accepted_n) in other.by_source.items():
            before = self.by_source.get(source, (0, 0))
            self.by_source[source] = (before[0] + tested_n, before[1] + accepted_n)

    @property
    def tok_per_s(self) -> float:
        """Decoding only: the first token belongs to the prompt's pass."""
        return (self.predicted_n - 1) / self.decode_s if self.decode_s > 0 else 0.0

    @property
    def prompt_tok_per_s(self) -> float:
        """Prefill speed over the tokens that were evaluated."""
        return self.prompt_evaluated_n / self.prefill_s if self.prefill_s > 0 else 0.0

    @property
    def acceptance(self) -> float | None:
        """Accepted / tested, 0 to 1; None when nothing was drafted."""
        return self.draft_n_accepted / self.draft_n if self.draft_n else None

    @property
    def mean_accepted_len(self) -> float | None:
        """Tokens gained per target pass, the target's own included, 1 and more; None before the first pass."""
        return (self.predicted_n - 1) / self.target_passes if self.target_passes else None

    @property
    def estimated_speedup(self) -> float | None:
        """Against plain steps at their cost in this answer: an estimate, not a measurement; None before it is known.

        It is never above the tokens that a pass brought: a pass takes at least as long as a plain step.
        """
        if not self.plain_step_s or not self.decode_s:
            return None
        estimate = (self.predicted_n - 1) * self.plain_step_s / self.decode_s
        most = self.mean_accepted_len
        return estimate if most is None else min(estimate, most)


_SUMS: Final = (
    "prompt_n",
    "prompt_evaluated_n",
    "predicted_n",
    "thought_n",
    "thought_s",
    "prefill_s",
    "decode_s",
    "draft_s",
    "verify_s",
    "policy_s",
    "draft_n",
    "draft_n_accepted",
    "target_passes",
)
