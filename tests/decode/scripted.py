"""A scripted target and draft with a clock of their own: decoding without a model, in exact and made-up time.

Both follow one `Script`. The target says its tokens as long as what it has read is the script so far; after anything
else it says `STRAY`. The draft guesses right where the script says so. What they read costs time on a `FakeClock`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from edgespec.decode.acceptance import Acceptance
from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.drafters.contract import Drafter
from edgespec.decode.drafters.draft_model import ModelDrafter
from edgespec.decode.drafters.ngrams import NgramDrafter
from edgespec.decode.engines import shared_prefix
from edgespec.decode.fixed_policy import FixedPolicy
from edgespec.decode.generate import Generator
from edgespec.decode.policy import DraftingPolicy, Mode, Policy
from edgespec.decode.token import GenerationStats, Token
from edgespec.errors import ContextOverflowError

STRAY = 900_000
"""What the target says after a prefix that is not the script's."""
WRONG = 800_000
"""Added to a token by a draft that guesses wrong."""
PROMPT = (700_001, 700_002, 700_003)

LINEAR = {1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0, 16: 16.0}
"""A compute-bound target: n rows cost n steps, so nothing can be gained."""
FLAT = {1: 1.0, 2: 1.05, 4: 1.1, 8: 1.2, 16: 1.4}
"""A bandwidth-bound target: rows are nearly free."""
STAIRCASE = {1: 1.0, 2: 1.7, 3: 2.2, 4: 1.5, 6: 3.0, 8: 3.2, 12: 5.0, 16: 5.5}
"""A CPU's: 4 rows cost less than 2 or 3 (notes in docs/how-it-decides.md)."""
MIXED = {1: 1.0, 2: 1.69, 3: 2.2, 4: 2.15, 6: 3.6, 8: 4.4, 12: 6.0, 16: 7.0}
"""Measured on two cores: a target that is half compute-bound."""
CHEAP_DRAFT = {1: 0.05, 2: 0.06, 8: 0.1, 32: 0.4}
USUAL_DRAFT = {1: 0.25, 2: 0.4, 8: 1.2, 32: 3.7}
DEAR_DRAFT = {1: 0.45, 2: 0.77, 8: 2.0, 32: 6.0}

Cost = Callable[[int], float]


@dataclass(slots=True)
class FakeClock:
    """Seconds that pass only when somebody spends them."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s

    def spend(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass(frozen=True, slots=True)
class Script:
    """What is said, place by place of the answer."""

    tokens: tuple[int, ...]
    held: tuple[bool, ...]
    """Whether the draft guesses the token right."""
    leads: tuple[float, ...]
    """The draft's lead in logits there."""
    prompt: tuple[int, ...] = PROMPT
    silent: frozenset[int] = frozenset()
    """Places where the draft's vocabulary has no word."""
    ends: frozenset[int] = frozenset()
    """Token ids that end an answer."""

    def __add__(self, other: "Script") -> "Script":
        """An answer that goes on as another one, with the prompt of the first."""
        return Script(
            self.tokens + other.tokens, self.held + other.held, self.leads + other.leads, self.prompt
        )


def script_of(tokens: Sequence[int], *, held: bool | Sequence[bool] = True, lead: float = 8.0) -> Script:
    """A script with the same lead everywhere."""
    count = len(tokens)
    right = (held,) * count if isinstance(held, bool) else tuple(held)
    return Script(tuple(tokens), right, (lead,) * count)


def fresh_tokens(count: int, first: int = 1) -> list[int]:
    """Tokens without any repetition: nothing for n-grams."""
    return list(range(first, first + count))


def random_script(
    random: Random, count: int, *, acceptance: float, telling: float = 1.0, repeats: float = 0.0
) -> Script:
    """An answer of stretches that the draft follows and stretches that it does not.

    Args:
        random: Source of everything.
        count: Tokens.
        acceptance: Mean share of places where the draft is right.
        telling: 1: the draft's leads are like a real one's; 0: they say nothing at all.
        repeats: Share of the answer that is copied from earlier in it.
    """
    tokens: list[int] = []
    while len(tokens) < count:
        if len(tokens) > 40 and random.random() < repeats:
            start = random.randrange(len(tokens) - 20)
            tokens += tokens[start : start + random.randint(5, 30)]
        else:
            tokens += [random.randrange(1, 5000) for _ in range(random.randint(5, 30))]
    held, leads = [], []
    local = acceptance
    for _ in range(count):
        if random.random() < 0.05:
            local = min(max(random.gauss(acceptance, 0.15), 0.0), 1.0)
        right = random.random() < local
        told = right if random.random() < telling else random.random() < 0.6
        held.append(right)
        leads.append(random.gammavariate(3.0, 2.0) if told else random.expovariate(1.0))
    return Script(tuple(tokens[:count]), tuple(held), tuple(leads))


class ScriptedTarget:
    """The target of a script. A read of n rows costs `cost(n)` seconds; a prompt costs nothing."""

    def __init__(
        self,
        script: Script,
        clock: FakeClock,
        cost: Cost,
        *,
        n_ctx: int = 100_000,
        pieces: Mapping[int, bytes] | None = None,
    ) -> None:
        self.script, self.clock, self.cost, self.n_ctx = script, clock, cost, n_ctx
        self.pieces = pieces or {}
        self.cache: list[int] = []
        self.passes: list[tuple[list[int], int]] = []
        """Tokens and batch size of every evaluation."""
        self.closed = False
        self._rows = 1

    @property
    def free_tokens(self) -> int:
        return self.n_ctx - len(self.cache)

    def start(self, prompt: Sequence[int]) -> int:
        kept = min(shared_prefix(self.cache, prompt), len(prompt) - 1)
        self.cache = list(prompt)
        self._rows = 1
        return len(prompt) - kept

    def evaluate(self, tokens: Sequence[int], batch: int) -> int:
        if len(tokens) > self.free_tokens:
            raise ContextOverflowError("the script's context is full")
        self.cache.extend(tokens)
        self._rows = len(tokens)
        self.passes.append((list(tokens), batch))
        rows = max(len(tokens), batch)
        self.clock.spend(self.cost(rows))
        return rows

    def pick(self, row: int) -> int:
        end = len(self.cache) - self._rows + row + 1
        place = end - len(self.script.prompt)
        if self.cache[:end] != [*self.script.prompt, *self.script.tokens[:place]]:
            return STRAY
        return self.script.tokens[place]

    def rollback(self, n_past: int) -> None:
        assert n_past <= len(self.cache)
        del self.cache[n_past:]

    def is_end(self, token: int) -> bool:
        return token in self.script.ends

    def token_bytes(self, token: int) -> bytes:
        return self.pieces.get(token, b"%d " % token)

    def close(self) -> None:
        self.closed = True


class ScriptedDraft:
    """The draft of a script: right where `held`, one off elsewhere and after what is not the script."""

    most_read = 100_000

    def __init__(self, script: Script, clock: FakeClock, cost: Cost) -> None:
        self.script, self.clock, self.cost = script, clock, cost
        self.cache: list[int] = []
        """Of all that was said, from token `first` on."""
        self.first = 0
        self.reads: list[int] = []
        """Rows of every read."""
        self._held = 0

    @property
    def n_read(self) -> int:
        return self._held

    def begin(self, history: Sequence[int]) -> None:
        del history
        self.first = self._held = 0
        self.cache.clear()

    def missing(self, history: Sequence[int]) -> int | None:
        text = history[self.first :]
        self._held = shared_prefix(self.cache, text)
        return max(len(text) - self._held, 1) if self._held else None

    def read(self, history: Sequence[int], chain: Sequence[int], window: int | None = None) -> int:
        if window is not None:
            self.first = max(len(history) - window, 0)
            self.cache.clear()
        text = [*history[self.first :], *chain]
        rows = len(text) - min(shared_prefix(self.cache, text), len(text) - 1)
        self.cache, self._held = text, len(text) - len(chain)
        self.reads.append(rows)
        self.clock.spend(self.cost(rows))
        return rows

    def guess(self) -> tuple[int, float] | None:
        script = self.script
        end = self.first + len(self.cache)
        place = end - len(script.prompt)
        if place in script.silent:
            return None
        if place >= len(script.tokens):
            return WRONG, script.leads[-1]
        on_script = self.cache == [*script.prompt, *script.tokens[:place]][self.first :]
        right = on_script and script.held[place]
        return script.tokens[place] + (0 if right else WRONG), script.leads[place]


@dataclass(slots=True)
class Machine:
    """A pair on a machine: what reads truly cost, and what the policy believes (the same, unless said)."""

    verify: Mapping[int, float]
    draft: Mapping[int, float] | None = None
    mode: Mode = Mode.AUTO
    draft_length: int | None = None
    """Of every draft; None: as long as it pays."""
    n_ctx: int = 100_000
    acceptance: Acceptance = field(default_factory=Acceptance)
    believed_verify: Mapping[int, float] | None = None
    believed_draft: Mapping[int, float] | None = None
    noise: Callable[[], float] = lambda: 1.0
    """A factor on every read's time."""
    pieces: Mapping[int, bytes] | None = None
    clock: FakeClock = field(default_factory=FakeClock)

    def costs(self) -> PairCosts:
        draft = self.believed_draft or self.draft
        return PairCosts(CostCurve(self.believed_verify or self.verify), CostCurve(draft) if draft else None)

    def generator(
        self, script: Script, costs: PairCosts | None = None
    ) -> tuple[Generator, ScriptedTarget, ScriptedDraft | None]:
        """A generator of this script. Pass the `costs` of an earlier answer to go on with what they learnt."""
        costs = costs or self.costs()
        target = ScriptedTarget(
            script, self.clock, self._timed(self.verify), n_ctx=self.n_ctx, pieces=self.pieces
        )
        draft = ScriptedDraft(script, self.clock, self._timed(self.draft)) if self.draft else None
        drafters: list[Drafter] = []
        if self.mode in (Mode.NGRAM, Mode.AUTO):
            drafters.append(NgramDrafter(self.acceptance))
        if draft and self.mode in (Mode.MODEL, Mode.AUTO):
            drafters.append(ModelDrafter(draft, costs, self.acceptance, self.clock))
        length = self.draft_length
        policy: DraftingPolicy = FixedPolicy(costs, length) if length else Policy(costs)
        return Generator(target, drafters, policy, self.clock), target, draft

    def play(
        self,
        script: Script,
        max_tokens: int | None = None,
        *,
        ignore_end: bool = False,
        costs: PairCosts | None = None,
    ) -> "Performance":
        """Generates one answer."""
        generator, target, draft = self.generator(script, costs)
        tokens = list(
            generator.generate(script.prompt, max_tokens or len(script.tokens), ignore_end=ignore_end)
        )
        return Performance(tokens, generator.stats, target, draft, self.verify[1])

    def _timed(self, points: Mapping[int, float]) -> Cost:
        curve = CostCurve(points)
        return lambda rows: curve.cost(rows) * self.noise()


@dataclass(frozen=True, slots=True)
class Performance:
    """An answer and what it cost."""

    tokens: list[Token]
    stats: GenerationStats
    target: ScriptedTarget
    draft: ScriptedDraft | None
    step_s: float

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.tokens]

    @property
    def plain_s(self) -> float:
        """What plain steps would have taken, exactly."""
        return (len(self.tokens) - 1) * self.step_s

    @property
    def speedup(self) -> float:
        """Against plain steps."""
        return self.plain_s / self.stats.decode_s

    @property
    def lost_steps(self) -> float:
        """Plain steps that drafts cost more than they brought; below 0 for a win."""
        return (self.stats.decode_s - self.plain_s) / self.step_s
