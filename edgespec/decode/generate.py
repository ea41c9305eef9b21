"""The generation loop: prompt in, tokens out, whatever drafts them. The target decides every token."""

from collections.abc import Callable, Sequence
from collections.abc import Generator as PyGenerator
from time import perf_counter

from edgespec.decode.course import Course
from edgespec.decode.drafters.contract import Drafter
from edgespec.decode.engines import Target
from edgespec.decode.grammar.constraint import Constraint
from edgespec.decode.policy import DraftingPolicy
from edgespec.decode.rounds import Rounds
from edgespec.decode.token import DraftSource, GenerationStats, Token


class Generator:
    """Generates answers with one target and what drafts for it.

    Args:
        target: Decides every token.
        drafters: Guess ahead; none for plain decoding.
        policy: Says how much is drafted. Its costs are corrected on the way, where there are drafters.
        clock: Seconds; another one in tests.
        constraint: What the target's tokens have to fit, if anything.
    """

    def __init__(
        self,
        target: Target,
        drafters: Sequence[Drafter],
        policy: DraftingPolicy,
        clock: Callable[[], float] = perf_counter,
        constraint: Constraint | None = None,
    ) -> None:
        self._target, self._policy, self._clock = target, policy, clock
        # Without drafters nothing is decided, and nobody has to know what passes cost now.
        self._drafts = bool(drafters)
        self._rounds = Rounds(target, drafters, policy, clock, constraint)
        self._inserted: list[int] = []
        self.stats = GenerationStats()

    def insert(self, tokens: Sequence[int]) -> None:
        """Puts tokens into the answer that is under way: it goes on as if the target had picked them after the last one.

        They are neither yielded nor counted. What does not fit the context is left out.
        """
        self._inserted = list(tokens)

    def generate(
        self, prompt: Sequence[int], max_tokens: int, *, ignore_end: bool = False
    ) -> PyGenerator[Token, None, None]:
        """Yields the answer's tokens; `stats` is complete when the iterator ends.

        Args:
            prompt: Token ids, at least one.
            max_tokens: Length limit; what fits the context is another, and another reason to stop.
            ignore_end: Goes on after an end token, for timings of equal length.

        Raises:
            ContextOverflowError: the prompt does not fit.
            EngineError: llama.cpp failed.
        """
        stats, history = GenerationStats(prompt_n=len(prompt)), list(prompt)
        self.stats = self._rounds.stats = stats
        self._inserted = []
        stats.plain_step_s = self._policy.costs.step_s
        began = self._clock()
        stats.prompt_evaluated_n = self._target.start(prompt)
        first = self._target.pick(0)
        stats.prefill_s = stats.ttft_s = self._clock() - began
        self._rounds.begin([*prompt, first])
        course = Course(self._target, stats, max_tokens, self._target.free_tokens, ignore_end=ignore_end)
        batch, source_of = [first], [DraftSource.TARGET]
        round_s = stats.prefill_s
        while True:
            for token, source in zip(batch, source_of, strict=True):
                text = course.take(token)
                yield Token(token, text, source, round_s, len(batch))
                if stats.stopped:
                    return
                history.append(token)
                if self._inserted:
                    break
            before = self._clock()
            if self._inserted:
                batch, source_of = self._go_on(history), [DraftSource.TARGET]
                course.narrow(self._target.free_tokens)
            else:
                batch, source_of = self._round(course.remaining)
            round_s = self._clock() - before
            stats.decode_s += round_s

    def close(self) -> None:
        """Frees the target's sampler; contexts belong to whoever opened them."""
        self._target.close()

    def _go_on(self, history: list[int]) -> list[int]:
        """The target's next token after what was inserted, which joins the history."""
        inserted, self._inserted = self._inserted, []
        if len(inserted) < self._target.free_tokens:
            history += inserted
        self._target.start(history)
        self.stats.target_passes += 1
        first = self._target.pick(0)
        self._rounds.begin([*history, first])
        return [first]

    def _round(self, remaining: int) -> tuple[list[int], list[DraftSource]]:
        """One target pass, with what was drafted for it; returns the tokens it brought, and who thought of each."""
        proposed = self._rounds.propose(min(remaining, self._target.free_tokens))
        costs, rows = self._policy.costs, len(proposed)
        before = self._clock()
        batch = costs.batch_for.get(rows, rows) if rows > 1 else costs.step_batch
        evaluated = self._target.evaluate(proposed, batch)
        tokens = self._rounds.verify()
        seconds = self._clock() - before
        if self._drafts:
            # A plain step costs what its batch does.
            costs.observe_verify(1 if rows == 1 and evaluated <= batch else evaluated, seconds)
        self.stats.verify_s += seconds
        sources = self._rounds.learn(tokens)
        self.stats.count_plain_step(costs.step_s if self._drafts else seconds)
        return tokens, sources
