"""The generation loop: prompt in, tokens out, whatever drafts them. The target decides every token."""

import codecs
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from edgespec.decode.engines import Draft, Target
from edgespec.decode.ngram import NgramIndex, NgramMatch
from edgespec.decode.policy import Kind, Policy, RoundChoice
from edgespec.decode.token import DraftSource, GenerationStats, Token


@dataclass(frozen=True, slots=True)
class Proposal:
    """Draft tokens and what the policy wants to know of them afterwards; without any it is a plain step."""

    tokens: list[int] = field(default_factory=list)
    leads: list[float] = field(default_factory=list)
    """Of a model's tokens, one each, in logits; empty for n-grams."""
    source: DraftSource = DraftSource.TARGET
    draft_rows: list[int] = field(default_factory=list)
    """Rows of each pass of the draft model, the catch-up first."""


class Generator:
    """Generates answers with one target and at most one draft.

    Args:
        target: Decides every token.
        draft: Guesses ahead; None for n-grams or plain decoding.
        policy: Says how much is drafted. Its costs and acceptance are corrected on the way.
        clock: Seconds; another one in tests.
    """

    def __init__(
        self, target: Target, draft: Draft | None, policy: Policy, clock: Callable[[], float] = perf_counter
    ) -> None:
        self._target, self._draft, self._policy, self._clock = target, draft, policy, clock
        self._index = NgramIndex()
        self.stats = GenerationStats()

    def generate(
        self, prompt: Sequence[int], max_tokens: int, *, ignore_end: bool = False
    ) -> Iterator[Token]:
        """Yields the answer's tokens; `stats` is complete when the iterator ends.

        Args:
            prompt: Token ids, at least one.
            max_tokens: Length limit; what fits the context is another.
            ignore_end: Goes on after an end token, for timings of equal length.

        Raises:
            ContextOverflowError: the prompt does not fit.
            EngineError: llama.cpp failed.
        """
        stats = self.stats = GenerationStats(prompt_n=len(prompt))
        stats.vanilla_step_s = self._policy.costs.step_s
        pieces = codecs.getincrementaldecoder("utf-8")("replace")
        began = self._clock()
        stats.prompt_evaluated_n = self._target.start(prompt)
        first = self._target.pick(0)
        stats.prefill_s = stats.ttft_s = self._clock() - began
        self._begin(prompt, first)
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
                    stats.stopped = "eog" if ends else "length"
                yield Token(token, text, source, round_s, len(batch))
                if last:
                    return
            before = self._clock()
            batch, source_of = self._round(limit - stats.predicted_n)
            round_s = self._clock() - before
            stats.decode_s += round_s
            self._policy.observe_time(round_s)

    def close(self) -> None:
        """Frees the target's sampler; contexts belong to whoever opened them."""
        self._target.close()

    def _begin(self, prompt: Sequence[int], first: int) -> None:
        self._policy.begin()
        self._index.reset([*prompt, first])
        if self._draft:
            self._policy.certainty.add(self._target.certainty(0, first))
            self._draft.begin()

    def _round(self, remaining: int) -> tuple[list[int], list[DraftSource]]:
        """One target pass, with what was drafted for it; returns the tokens it brought."""
        started = self._clock()
        history = self._index.history
        match = self._index.find() if self._policy.drafts else None
        done = self.stats.predicted_n
        considered = self._draft if self._policy.may_use_model(done) else None
        missing = considered.missing(history) if considered else None
        choice = self._policy.choose(match, missing, done, min(remaining, self._target.free_tokens))
        self.stats.policy_s += self._clock() - started
        proposal = self._propose(choice, match, remaining, started)
        tokens = self._verify(proposal)
        self._learn(match, tokens)
        if choice.kind is not Kind.PLAIN:
            self._policy.observe_round(
                choice.kind, len(tokens), len(proposal.tokens) + 1, proposal.draft_rows
            )
        self._index.extend(tokens)
        drafted = min(len(tokens), len(proposal.tokens))
        agreed = sum(a == b for a, b in zip(tokens, proposal.tokens, strict=False))
        sources = [proposal.source] * min(agreed, drafted)
        return tokens, sources + [DraftSource.TARGET] * (len(tokens) - len(sources))

    def _propose(
        self, choice: RoundChoice, match: NgramMatch | None, remaining: int, started: float
    ) -> Proposal:
        if choice.kind is Kind.NGRAM and match:
            return Proposal(self._index.propose(match, choice.count), [], DraftSource.NGRAM)
        if choice.kind is Kind.MODEL and self._draft:
            return self._draft_with_model(self._draft, choice.rate, remaining, started)
        return Proposal()

    def _draft_with_model(self, draft: Draft, rate: float, remaining: int, started: float) -> Proposal:
        """Drafts until the next token would not pay; the draft's own steps correct the cost model.

        Args:
            draft: Reads what it lacks first.
            rate: Tokens per second that the round has promised.
            remaining: Tokens that the answer may still have.
            started: When the round began, for the statistics.
        """
        before = self._clock()
        rows = [draft.catch_up(self._index.history)]
        tokens: list[int] = []
        leads: list[float] = []
        while (guess := draft.guess()) is not None:
            now = self._clock()
            self._policy.costs.observe_draft(rows[-1], now - before)
            tokens.append(guess[0])
            leads.append(guess[1])
            if not self._policy.keeps_drafting(leads, rate, remaining):
                break
            before = self._clock()
            rows.append(1)
            draft.advance()
        kept = self._policy.n_worth_verifying(leads, rate)
        self.stats.draft_s += self._clock() - started
        return Proposal(tokens[:kept], leads[:kept], DraftSource.MODEL, rows)

    def _verify(self, proposal: Proposal) -> list[int]:
        """One target decode; keeps the drafted tokens that the target itself picks, and its own next one."""
        history, costs = self._index.history, self._policy.costs
        n_past = len(history) - 1
        rows = len(proposal.tokens) + 1
        before = self._clock()
        batch = costs.batch_for.get(rows, rows) if rows > 1 else costs.step_batch
        self._target.evaluate([history[-1], *proposal.tokens], batch)
        tokens: list[int] = []
        for row in range(rows):
            token = self._target.pick(row)
            tokens.append(token)
            if row == rows - 1 or token != proposal.tokens[row] or self._target.is_end(token):
                break
        self._target.rollback(n_past + len(tokens))
        seconds = self._clock() - before
        costs.observe_verify(max(rows, batch) if rows > 1 else 1, seconds)
        self.stats.verify_s += seconds
        self.stats.target_passes += 1
        self._count(proposal, tokens)
        return tokens

    def _count(self, proposal: Proposal, tokens: list[int]) -> None:
        """Books acceptance: every position up to and with the first rejected one."""
        policy = self._policy
        accepted = 0
        for row, token in enumerate(tokens):
            if row < len(proposal.tokens):
                held = token == proposal.tokens[row]
                accepted += held
                if proposal.source is DraftSource.MODEL:
                    policy.count_guess(proposal.leads[row], held)
            if self._draft:
                policy.certainty.add(self._target.certainty(row, token))
        if proposal.tokens:
            tested = min(len(tokens), len(proposal.tokens))
            self.stats.count_round(proposal.source, tested, accepted)

    def _learn(self, match: NgramMatch | None, tokens: list[int]) -> None:
        """What the match would have brought is known whether it was used or not."""
        if match is None:
            return
        proposed = self._index.propose(match, len(tokens))
        for offset, (guess, token) in enumerate(zip(proposed, tokens, strict=True)):
            self._policy.count_match(match.length + offset, match.agreed, guess == token)
            if guess != token:
                return
