"""Arms side by side: the one loop behind the benchmark, the proof of what a search found, and the race.

All arms answer a prompt at the same time, a token each in turn: what the machine does meanwhile, it does to all of
them. Where arms share a target, it reads the prompt once and every arm continues from a copy of that KV cache;
TTFT and prompt speed are then the target's own and the same for all of them. Drafts start empty and pay for what they
read. Texts of one target must be equal: every answer is audited against that of the target's first arm.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Final

from edgespec.bench.arm import Arm, ArmSpec
from edgespec.bench.audit import compare_answers, merge_audits
from edgespec.bench.copying import count_copied
from edgespec.bench.interleave import run_interleaved, turned
from edgespec.bench.prompts import Prompt
from edgespec.bench.result import ArmResult, Audit, Sample
from edgespec.bench.summary import has_figures, sample_of
from edgespec.catalog.memory import available_memory_bytes
from edgespec.chat.template import Think
from edgespec.chat.thinking import ChatPrompt, Thinking, count_thoughts, read_prompt
from edgespec.decode.generate import Generator
from edgespec.decode.token import Token
from edgespec.errors import NotEnoughMemoryError
from edgespec.lifetime import Closes
from edgespec.llama.context import Context
from edgespec.llama.interrupts import HeldInterrupts
from edgespec.llama.sampler import Sampling
from edgespec.session.engine import Engine
from edgespec.session.loading import Loaded, resident_bytes
from edgespec.session.memory_needs import TARGET_ROWS, estimate_context
from edgespec.text import human_bytes

ARM_WARM_UP_TOKENS: Final = 12
"""Of an answer that touches all buffers of an arm, with a few rounds of its drafts, before one is timed."""


@dataclass(frozen=True, slots=True)
class TokenizedPrompt:
    """A prompt as the target reads it."""

    id: str
    category: str
    tokens: tuple[int, ...]
    chat: ChatPrompt | None = field(default=None, compare=False)
    """The conversation behind the tokens; None where nobody counts the thoughts of the answers."""


def tokenize_prompts(
    engine: Engine, prompts: Sequence[Prompt], think: Think = "auto"
) -> list[TokenizedPrompt]:
    """The prompts in the target's tokens, chat template included.

    Args:
        engine: With the target.
        prompts: As they are typed.
        think: Whether the model is to think before it answers.

    Raises:
        ContextOverflowError: one does not fit the context.
    """
    context = engine.target.context
    chats = [read_prompt(context, prompt.messages, thinking=Thinking(think)) for prompt in prompts]
    return [
        TokenizedPrompt(prompt.id, prompt.category, tuple(chat.tokens), chat)
        for prompt, chat in zip(prompts, chats, strict=True)
    ]


class ArmLoop(Closes):
    """Arms with their caches open; `audit` is that of all rounds.

    Args:
        specs: The first is plain decoding, where one is; of each target the first arm's text is that of all others.
        prompts: What will be answered: the caches have room for the longest.
        max_tokens: Of an answer.
        sampling: How tokens are picked. Only plain greedy texts can fail the audit.
        came: Told of every token and whose it is.
        ended: Told whose answer has ended.

    Raises:
        NotEnoughMemoryError: there is not enough memory for caches of all arms; said before any is opened, where it
            can be foreseen.
    """

    def __init__(
        self,
        specs: Sequence[ArmSpec],
        prompts: Sequence[TokenizedPrompt],
        max_tokens: int,
        sampling: Sampling | None = None,
        *,
        came: Callable[[Arm, Token], None] = lambda _arm, _token: None,
        ended: Callable[[Arm], None] = lambda _arm: None,
    ) -> None:
        self._prompts, self._max_tokens, self._sampling = prompts, max_tokens, sampling or Sampling()
        self._came, self._ended = came, ended
        self.arms: list[Arm] = []
        self.audit = Audit()
        n_ctx = max(len(prompt.tokens) for prompt in prompts) + max_tokens + TARGET_ROWS
        _check_memory(specs, n_ctx)
        try:
            for spec in specs:
                self._open(spec, n_ctx)
        except BaseException:
            self.close()
            raise

    def _open(self, spec: ArmSpec, n_ctx: int) -> None:
        before = resident_bytes()
        # Between a cache and its place in the list, Ctrl-C would lose it.
        with HeldInterrupts():
            contexts = spec.engine.open_context_pair(spec.draft, n_ctx)
            self.arms.append(Arm(spec, copy.deepcopy(spec.state), contexts))
        self.arms[-1].context_bytes = resident_bytes() - before

    def warm_up(self) -> None:
        """Lets every arm begin to answer the first prompt; what it learns from that is forgotten."""
        for arm in self.arms:
            before = resident_bytes()
            generator = arm.generator(copy.deepcopy(arm.state), arm.contexts.target, self._sampling)
            for _ in generator.generate(self._prompts[0].tokens, ARM_WARM_UP_TOKENS):
                pass
            generator.close()
            arm.context_bytes += resident_bytes() - before

    def run(self, prompt: TokenizedPrompt, repeat: int, turn: int) -> None:
        """Lets all arms answer a prompt and audits the answers.

        Args:
            prompt: One of those that the caches were opened for.
            repeat: Number of the samples; those of one prompt and number are paired.
            turn: Which arm goes first: another one in each round, so that none always has the same neighbours.

        Raises:
            KeyboardInterrupt: the user stopped it. Only whole, audited rounds count: no arm has a sample more than
                another.
        """
        prefill_s = self._read(prompt.tokens)
        texts = self._answer(prompt.tokens, turn)
        samples: dict[str, Sample] = {}
        for arm in self.arms:
            # As if the arm had read the prompt itself.
            arm.stats.prefill_s = arm.stats.ttft_s = prefill_s[arm.engine]
            arm.stats.prompt_evaluated_n = arm.stats.prompt_n
            text = texts[arm.name]
            copied_n = count_copied(prompt.tokens, text)
            thought_n = _count_thoughts(arm, prompt, text)
            samples[arm.name] = sample_of(
                arm.stats, prompt.id, prompt.category, repeat, text, copied_n, thought_n
            )
        audits = [self._compare(prompt.tokens, group, samples) for group in self._by_target().values()]
        with HeldInterrupts():
            self.audit = merge_audits([self.audit, *audits])
            for arm in self.arms:
                arm.samples.append(samples[arm.name])
                arm.peak_bytes = max(arm.peak_bytes, self._memory_of(arm))

    def results(self) -> tuple[ArmResult, ...]:
        """The figures of the arms that have any, against the first one."""
        return tuple(arm.result(self.arms[0]) for arm in self.arms if has_figures(arm.samples))

    def close(self) -> None:
        """Frees the caches. A second call does nothing."""
        with HeldInterrupts():
            for arm in self.arms:
                arm.contexts.close()

    def _by_target(self) -> dict[Engine, list[Arm]]:
        """The arms of each target, in their order."""
        groups: dict[Engine, list[Arm]] = {}
        for arm in self.arms:
            groups.setdefault(arm.engine, []).append(arm)
        return groups

    def _read(self, tokens: Sequence[int]) -> dict[Engine, float]:
        """Has every target read a prompt once and copies the cache to all of its arms; seconds of the reading."""
        seconds: dict[Engine, float] = {}
        for engine, group in self._by_target().items():
            first, *others = (arm.contexts.target for arm in group)
            first.clear()
            before = perf_counter()
            first.prefill(tokens)
            first.logits(1)  # waits for devices that compute on their own
            seconds[engine] = perf_counter() - before
            if others:
                saved = first.save()
                for context in others:
                    context.restore(saved)
        for arm in self.arms:
            if arm.contexts.draft:
                arm.contexts.draft.clear()
        return seconds

    def _answer(self, tokens: Sequence[int], turn: int) -> dict[str, tuple[int, ...]]:
        """The answers' tokens by the arms' names."""
        arms = turned(self.arms, turn)
        with ExitStack() as ended:
            streams = []
            for arm, target in zip(arms, self._deal_caches(arms), strict=True):
                generator = arm.generator(arm.state, target, self._sampling)
                ended.callback(generator.close)
                streams.append(self._stream(arm, generator, tokens))
            texts = run_interleaved(streams, lambda place: self._ended(arms[place]))
        return {arm.name: tuple(text) for arm, text in zip(arms, texts, strict=True)}

    def _deal_caches(self, arms: Sequence[Arm]) -> list[Context]:
        """A cache of its target for each arm; in another order of the arms, another one.

        Where a cache lies in memory can be worth a percent: so each arm has each in turn. Of arms a, b, c with caches
        A, B, C, turn 1 gives A to b, B to c, and C to a.
        """
        free = {
            engine: iter([arm.contexts.target for arm in group])
            for engine, group in self._by_target().items()
        }
        return [next(free[arm.engine]) for arm in arms]

    def _stream(self, arm: Arm, generator: Generator, tokens: Sequence[int]) -> Iterator[int]:
        for token in generator.generate(tokens, self._max_tokens):
            arm.stats = generator.stats
            self._came(arm, token)
            yield token.id

    def _compare(self, tokens: Sequence[int], group: Sequence[Arm], samples: dict[str, Sample]) -> Audit:
        """The audit of one target's answers; the caches are free again."""
        first, *others = group
        return compare_answers(
            first.contexts.target,
            tokens,
            samples[first.name],
            {arm.name: samples[arm.name] for arm in others},
            # The gap is one of bare logits: it says nothing about a choice that penalties had a part in.
            judge=self._sampling.is_plain_greedy,
        )

    def _memory_of(self, arm: Arm) -> int:
        """Resident memory of a program with this arm alone: the engine's own contexts stand for the arm's."""
        used = (arm.engine.target, arm.engine.drafts.get(arm.spec.draft or ""))
        loaded = (one for engine in self._by_target() for one in (engine.target, *engine.drafts.values()))
        unused = sum(one.memory_bytes for one in loaded if all(one is not other for other in used))
        return resident_bytes() - unused - sum(other.context_bytes for other in self.arms)


def _count_thoughts(arm: Arm, prompt: TokenizedPrompt, text: Sequence[int]) -> int | None:
    """How many tokens of an answer are thoughts; after it was timed, lest it costs the arm anything."""
    if prompt.chat is None:
        return None
    return count_thoughts(arm.engine.target.model, prompt.chat, text, ended=arm.stats.stopped == "eog")


def _check_memory(specs: Sequence[ArmSpec], n_ctx: int) -> None:
    """Compares what caches of all arms would take with what this machine has, before any is opened.

    Raises:
        NotEnoughMemoryError: they do not fit.
    """
    needed = 0
    for spec in specs:
        needed += _cache_bytes(spec.engine.target, n_ctx)
        if spec.draft:
            # Another tokenizer may need more tokens for the same text.
            needed += _cache_bytes(spec.engine.drafts[spec.draft], 2 * n_ctx)
    free = available_memory_bytes()
    if needed > free:
        raise NotEnoughMemoryError(
            f"the caches of {len(specs)} arms side by side would take {human_bytes(needed)} "
            f"and this machine has {human_bytes(free)} free",
            "take a shorter prompt or fewer `max_tokens`, or close other programs",
        )


def _cache_bytes(loaded: Loaded, n_ctx: int) -> int:
    """Of one more context, as far as it is in this machine's own memory."""
    context = replace(loaded.context.settings, n_ctx=min(n_ctx, loaded.context.n_ctx))
    on_device = loaded.model.placement.gpu_layers / ((loaded.file.meta.block_count or 0) + 1)
    return round((1 - on_device) * estimate_context(loaded.file.meta, context).beside_weights_bytes)
