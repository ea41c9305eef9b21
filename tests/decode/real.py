"""Tiny models in llama.cpp whose reads take made-up time, so that what is drafted is the same on every machine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from edgespec.catalog.compatibility import token_map
from edgespec.catalog.metadata import read_metadata
from edgespec.decode.acceptance import Acceptance
from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.drafters.contract import Drafter
from edgespec.decode.drafters.draft_model import ModelDrafter
from edgespec.decode.drafters.forced import ForcedDrafter
from edgespec.decode.drafters.llama_draft import LlamaDraft
from edgespec.decode.drafters.ngrams import NgramDrafter
from edgespec.decode.engines import LlamaTarget
from edgespec.decode.fixed_policy import FixedPolicy
from edgespec.decode.generate import Generator
from edgespec.decode.grammar.constraint import Constraint
from edgespec.decode.policy import DraftingPolicy, Mode
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
        self,
        context: Context,
        sampling: Sampling,
        clock: FakeClock,
        points: Mapping[int, float],
        constraint: Constraint | None = None,
    ) -> None:
        super().__init__(context, sampling, constraint)
        self.clock, self.curve = clock, CostCurve(points)
        self.batches: list[tuple[int, int]] = []

    def evaluate(self, tokens: Sequence[int], batch: int) -> int:
        rows = super().evaluate(tokens, batch)
        self.batches.append((len(tokens), batch))
        self.clock.spend(self.curve.cost(rows))
        return rows


class TimedDraft(LlamaDraft):
    """A draft whose reads cost what a curve says."""

    def __init__(self, context: Context, translator: Translator) -> None:
        super().__init__(context, translator)
        self.clock, self.curve = FakeClock(), CostCurve(CHEAP_DRAFT)

    def read(self, history: Sequence[int], chain: Sequence[int], window: int | None = None) -> int:
        rows = super().read(history, chain, window)
        self.clock.spend(self.curve.cost(rows))
        return rows


class EagerPolicy(FixedPolicy):
    """Drafts whenever there can be any, 1 to 8 tokens in turn, of everybody in turn."""

    def __init__(self, costs: PairCosts) -> None:
        super().__init__(costs, length=8)

    def most(self, remaining: int) -> int:
        self.length = 1 + self.length % 8
        return super().most(remaining)


def always(length: int) -> Callable[[PairCosts], FixedPolicy]:
    """Drafts of that length."""
    return partial(FixedPolicy, length=length)


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
    policy: Callable[[PairCosts], DraftingPolicy] = EagerPolicy,
    verify: Mapping[int, float] = FLAT,
    constraint: Constraint | None = None,
) -> Answer:
    """Generates `count` tokens, by default with as many drafts as can be."""
    clock = draft.clock if draft else FakeClock()
    costs = PairCosts(CostCurve(verify), CostCurve(CHEAP_DRAFT) if draft else None)
    acceptance = Acceptance()
    drafters: list[Drafter] = []
    if constraint and mode is not Mode.OFF:
        drafters.append(ForcedDrafter(constraint, acceptance))
    if mode in (Mode.NGRAM, Mode.AUTO):
        drafters.append(NgramDrafter(acceptance))
    if draft and mode in (Mode.MODEL, Mode.AUTO):
        drafters.append(ModelDrafter(draft, costs, acceptance, clock))
    timed = TimedTarget(target, sampling, clock, verify, constraint)
    generator = Generator(timed, drafters, policy(costs), clock, constraint)
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


def random_tokens(seed: int, count: int) -> list[int]:
    random = Random(seed)
    return [random.randrange(3, 250) for _ in range(count)]


def begin(draft: LlamaDraft, history: Sequence[int], window: int | None = None) -> int:
    """A new answer, with all of its history read, or its end."""
    draft.begin(history)
    return draft.read(history, (), window)


def say(draft: LlamaDraft, history: Sequence[int], count: int) -> list[int]:
    """The next tokens that it drafts; the last one it has not read itself."""
    said: list[int] = []
    while len(said) < count:
        if said:
            draft.read(history, said)
        guess = draft.guess()
        if guess is None:
            break
        said.append(guess[0])
    return said
