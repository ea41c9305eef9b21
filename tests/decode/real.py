"""Tiny models in llama.cpp whose reads take made-up time, so that what is drafted is the same on every machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgespec.catalog.compatibility import token_map
from edgespec.catalog.metadata import read_metadata
from edgespec.decode.acceptance import Acceptance
from edgespec.decode.costs import PairCosts, curve_from
from edgespec.decode.draft import LlamaDraft
from edgespec.decode.engines import LlamaTarget
from edgespec.decode.generate import Generator
from edgespec.decode.ngram import NgramMatch
from edgespec.decode.policy import Kind, Mode, Policy, RoundChoice
from edgespec.decode.token import GenerationStats
from edgespec.decode.tokenmap import SameVocabulary, TextMap, Translator
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.kv_types import KvType
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampling
from edgespec.llama.shortlist import Shortlist
from tests.decode.scripted import CHEAP_DRAFT, FLAT, FakeClock

GREEDY = Sampling()


def open_context(
    model: Model,
    n_ctx: int = 256,
    *,
    n_outputs_max: int = 16,
    n_batch: int = 512,
    shortlist: Shortlist | None = None,
) -> Context:
    """A context with full precision throughout: batches of different sizes agree to the last bits."""
    return Context(
        model,
        ContextSettings(
            n_ctx=n_ctx,
            n_threads=1,
            n_outputs_max=n_outputs_max,
            n_batch=n_batch,
            type_k=KvType.F32,
            type_v=KvType.F32,
        ),
        shortlist=shortlist,
    )


class TimedTarget(LlamaTarget):
    """A target whose reads cost what a curve says."""

    def __init__(
        self, context: Context, sampling: Sampling, clock: FakeClock, points: Mapping[int, float]
    ) -> None:
        super().__init__(context, sampling)
        self.clock, self.curve = clock, curve_from(points)
        self.batches: list[tuple[int, int]] = []

    def evaluate(self, tokens: Sequence[int], batch: int) -> None:
        super().evaluate(tokens, batch)
        self.batches.append((len(tokens), batch))
        self.clock.spend(self.curve.cost(max(len(tokens), batch)))


class TimedDraft(LlamaDraft):
    """A draft whose reads cost what a curve says."""

    def __init__(self, context: Context, translator: Translator, window: int = 384) -> None:
        super().__init__(context, translator, window)
        self.clock, self.curve = FakeClock(), curve_from(CHEAP_DRAFT)
        self.reads: list[int] = []

    def catch_up(self, history: Sequence[int]) -> int:
        rows = super().catch_up(history)
        self._spend(rows)
        return rows

    def advance(self) -> None:
        super().advance()
        self._spend(1)

    def _spend(self, rows: int) -> None:
        self.reads.append(rows)
        self.clock.spend(self.curve.cost(rows))


class EagerPolicy(Policy):
    """Drafts whenever it may, 1 to 8 tokens in turn, whatever was accepted before."""

    turn: int = 0

    def choose(self, match: NgramMatch | None, missing: int | None, done: int, remaining: int) -> RoundChoice:
        self.turn = done
        if remaining > 1 and match and self.mode in (Mode.NGRAM, Mode.AUTO):
            return RoundChoice(Kind.NGRAM, min(1 + done % 8, remaining - 1), 1.0)
        if remaining > 1 and missing is not None and self.mode in (Mode.MODEL, Mode.AUTO):
            return RoundChoice(Kind.MODEL, 0, 1.0)
        return RoundChoice(Kind.PLAIN, 0, 1.0)

    def keeps_drafting(self, leads: list[float], rate: float, remaining: int) -> bool:
        return len(leads) < min(1 + self.turn % 8, remaining - 1)

    def n_worth_verifying(self, leads: list[float], rate: float) -> int:
        return len(leads)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was generated."""

    ids: list[int]
    text: str
    stats: GenerationStats
    batches: list[tuple[int, int]]
    """Rows and batch size of every verification."""


def answer(
    target: Context,
    draft: TimedDraft | None,
    prompt: Sequence[int],
    count: int,
    *,
    mode: Mode = Mode.AUTO,
    sampling: Sampling = GREEDY,
    policy: type[Policy] = EagerPolicy,
    verify: Mapping[int, float] = FLAT,
) -> Answer:
    """Generates `count` tokens, by default with as many drafts as can be."""
    clock = draft.clock if draft else FakeClock()
    costs = PairCosts(curve_from(verify), curve_from(CHEAP_DRAFT) if draft else None)
    timed = TimedTarget(target, sampling, clock, verify)
    generator = Generator(timed, draft, policy(costs, Acceptance(), mode), clock)
    try:
        tokens = list(generator.generate(prompt, count))
    finally:
        generator.close()
    return Answer(
        [token.id for token in tokens],
        "".join(token.text for token in tokens),
        generator.stats,
        timed.batches,
    )


def plain_answer(
    target: Context, prompt: Sequence[int], count: int, *, sampling: Sampling = GREEDY
) -> Answer:
    """Generates without any draft, from an empty cache."""
    target.clear()
    return answer(target, None, prompt, count, mode=Mode.OFF, sampling=sampling)


def same_vocabulary(target: Model, draft: Model) -> SameVocabulary:
    return SameVocabulary(target.n_vocab, draft.n_vocab)


def text_map(target: Model, draft: Model) -> TextMap:
    """The map of a pair with different tokenizers, from the files' own vocabularies."""
    to_target, to_draft = token_map(read_metadata(Path(target.path)), read_metadata(Path(draft.path)))

    def pieces(token: int) -> list[int]:
        text = target.token_bytes(token).decode("utf-8", "replace")
        return draft.tokenize(text, add_special=False, parse_special=False)

    return TextMap([int(token) for token in to_target], [int(token) for token in to_draft], pieces)
