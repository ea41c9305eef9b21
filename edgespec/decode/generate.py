"""The generation loop: prompt in, tokens out, whatever drafts them. The target decides every token."""

import codecs
from collections.abc import Callable, Sequence
from collections.abc import Generator as PyGenerator
from time import perf_counter

from edgespec.decode.chain import Chain
from edgespec.decode.drafters.contract import Drafter
from edgespec.decode.drafting import Drafting
from edgespec.decode.engines import Target
from edgespec.decode.grammar.constraint import Constraint
from edgespec.decode.policy import DraftingPolicy
from edgespec.decode.token import DraftSource, GenerationStats, Token


class Generator:
    """Generates answers with one target and what drafts for it.

    Args:
        target: Decides every token.
        drafters: Guess ahead; none for plain decoding.
        policy: Says how much is drafted. Its costs are corrected on the way.
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
        self._drafting = Drafting(drafters, policy, clock, constraint)
        self._last = self._n_past = 0
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
        self.stats, self._inserted = stats, []
        stats.vanilla_step_s = self._policy.costs.step_s
        pieces = codecs.getincrementaldecoder("utf-8")("replace")
        began = self._clock()
        stats.prompt_evaluated_n = self._target.start(prompt)
        first = self._target.pick(0)
        stats.prefill_s = stats.ttft_s = self._clock() - began
        self._begin([*prompt, first])
        limit = min(max_tokens, self._target.free_tokens)
        batch, source_of = [first], [DraftSource.TARGET]
        round_s = stats.prefill_s
        while True:
            for token, source in zip(batch, source_of, strict=True):
                stats.predicted_n += 1
                ends = self._target.is_end(token) and not ignore_end
                last = ends or stats.predicted_n >= limit
                text = pieces.decode(b"" if ends else self._target.token_bytes(token), last)
                if last:
                    whole = stats.predicted_n >= max_tokens
                    stats.stopped = "eog" if ends else "length" if whole else "context"
                yield Token(token, text, source, round_s, len(batch))
                if last:
                    return
                history.append(token)
                if self._inserted:
                    break
            before = self._clock()
            if self._inserted:
                batch, source_of = self._go_on(history), [DraftSource.TARGET]
                limit = min(limit, stats.predicted_n + self._target.free_tokens)
            else:
                batch, source_of = self._round(limit - stats.predicted_n)
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
        self._begin([*history, first])
        return [first]

    def _begin(self, history: Sequence[int]) -> None:
        self._last = history[-1]
        self._n_past = len(history) - 1
        self._drafting.begin(history)

    def _round(self, remaining: int) -> tuple[list[int], list[DraftSource]]:
        """One target pass, with what was drafted for it; returns the tokens it brought, and who thought of each."""
        stats = self.stats
        before = self._clock()
        drafted = self._drafting.draft(stats.predicted_n, min(remaining, self._target.free_tokens))
        stats.draft_s += drafted.drafters_s
        stats.policy_s += self._clock() - before - drafted.drafters_s
        tokens = self._verify(drafted.chain)
        before = self._clock()
        self._drafting.observe(drafted, tokens)
        stats.policy_s += self._clock() - before
        tested = list(zip(drafted.chain.guesses, tokens, strict=False))
        sources, held = (
            [guess.source for guess, _ in tested],
            [guess.token == token for guess, token in tested],
        )
        stats.count_round(sources, held)
        n_held = sum(held)
        return tokens, sources[:n_held] + [DraftSource.TARGET] * (len(tokens) - n_held)

    def _verify(self, chain: Chain) -> list[int]:
        """One target decode; keeps the drafted tokens that the target itself picks, and its own next one."""
        costs = self._policy.costs
        rows = len(chain.tokens) + 1
        before = self._clock()
        batch = costs.batch_for.get(rows, rows) if rows > 1 else costs.step_batch
        evaluated = self._target.evaluate([self._last, *chain.tokens], batch)
        tokens: list[int] = []
        for row in range(rows):
            token = self._target.pick(row)
            tokens.append(token)
            if row == rows - 1 or token != chain.tokens[row] or self._target.is_end(token):
                break
        self._n_past += len(tokens)
        self._target.rollback(self._n_past)
        self._last = tokens[-1]
        seconds = self._clock() - before
        # A plain step costs what its batch does.
        costs.observe_verify(1 if rows == 1 and evaluated <= batch else evaluated, seconds)
        self.stats.verify_s += seconds
        self.stats.target_passes += 1
        return tokens
