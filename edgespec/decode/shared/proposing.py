"""What all answers of a round propose to the target: each decides for itself, and passes of the draft model are made together."""

from collections import Counter
from collections.abc import Sequence
from time import perf_counter

from edgespec.decode.costs import PairCosts
from edgespec.decode.drafters.contract import Steps
from edgespec.decode.shared.answer import Answer
from edgespec.decode.shared.seats import Seats
from edgespec.errors import EdgespecError
from edgespec.llama.slots import Part

_ROWS_DOUBT = 1.15
"""Times their price that rows have to be worth: an answer that ends sooner saves its share of the rounds to come only if another one
takes its place. With 1, eight answers of SmolLM2 that ended together lost 5 % to drafts that were worth what they cost."""


class Proposer:
    """Gathers the rows of rounds.

    Args:
        costs: Of the pair.
        seats: Of the draft model, if there is one.
    """

    def __init__(self, costs: PairCosts, seats: Seats | None) -> None:
        self._costs, self._seats = costs, seats

    def propose(
        self, answers: Sequence[Answer], rows_max: int
    ) -> tuple[list[tuple[Answer, list[int]]], list[tuple[Answer, EdgespecError]]]:
        """The rows of every answer, those that pay all together, and whose drafting failed.

        Each drafts as if all the others drafted as much; what of all that is verified is seen then.

        Args:
            answers: Those that write.
            rows_max: Of all together.
        """
        done: dict[Answer, list[int]] = {}
        failed: list[tuple[Answer, EdgespecError]] = []
        wanting: list[tuple[Answer, Steps[list[int]], Part]] = []
        count = len(answers)
        fair = max(rows_max // max(count, 1), 1)
        for answer in answers:
            assert answer.policy and answer.rounds and answer.course and answer.slot
            answer.policy.join(count)
            remaining = min(answer.course.remaining, answer.slot.free_tokens, fair)
            self._go_on(answer, answer.rounds.steps(remaining), done, wanting, failed)
        if self._seats:
            self._seats.drafting_n = len(wanting)
        while wanting:
            now, wanting = wanting, []
            error = self._decode([part for _, _, part in now])
            for answer, steps, _ in now:
                if error:
                    failed.append((answer, error))
                else:
                    self._go_on(answer, steps, done, wanting, failed)
        if len(done) > 1:
            self._cut(done)
        # In the order of the answers, whoever was ready first.
        return [(answer, done[answer]) for answer in answers if answer in done], failed

    def _cut(self, done: dict[Answer, list[int]]) -> None:
        """Keeps what is worth its rows: of all drafted tokens together the likeliest, as many as promise most over a plain step."""
        writing = [(answer, answer.rounds, answer.policy) for answer in done]
        worths = [
            (promise * policy.token_worth, answer)
            for answer, rounds, policy in writing
            if rounds and policy
            for promise in rounds.promises
        ]
        if not worths:
            return
        worths.sort(key=lambda one: -one[0])
        plain, cost = len(done), self._costs.verify.cost
        plain_s, share_s = cost(plain), self._costs.share_s(plain)
        best = promised = 0.0
        kept = 0
        for more, (worth, _) in enumerate(worths, 1):
            promised += worth
            gain = promised - _ROWS_DOUBT * (cost(plain + more) - plain_s) / share_s
            if gain > best:
                best, kept = gain, more
        counts = Counter(answer for _, answer in worths[:kept])
        price = (cost(plain + kept) - plain_s) / share_s / kept if kept else 0.0
        for answer, rounds, policy in writing:
            assert rounds and policy
            done[answer] = rounds.cut(counts[answer])
            policy.charge(price)

    def _go_on(
        self,
        answer: Answer,
        steps: Steps[list[int]],
        done: dict[Answer, list[int]],
        wanting: list[tuple[Answer, Steps[list[int]], Part]],
        failed: list[tuple[Answer, EdgespecError]],
    ) -> None:
        """An answer decides until it wants a pass of the draft model, or has all that it wants."""
        try:
            wanting.append((answer, steps, next(steps)))
        except StopIteration as stopped:
            done[answer] = stopped.value
        except EdgespecError as error:
            failed.append((answer, error))

    def _decode(self, parts: Sequence[Part]) -> EdgespecError | None:
        """A pass of the draft model with the rows of several answers."""
        assert self._seats
        rows = sum(len(part.tokens) + part.slot.n_unread for part in parts)
        pad_to = self._costs.draft_batch if len(parts) == 1 else 0
        before = perf_counter()
        try:
            self._seats.context.decode(parts, pad_to)
            self._seats.context.logits(1)
        except EdgespecError as error:
            return error
        self._costs.observe_draft(rows, perf_counter() - before)
        return None
