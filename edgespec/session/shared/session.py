"""One pair for many callers: what they ask is taken in between rounds, and every round is told to all of them."""

import math
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Final

from edgespec.chat.answer_grammar import constrain_answer
from edgespec.chat.prompt_tokens import check_length
from edgespec.chat.template import template_of
from edgespec.chat.thinking import ChatPrompt, TokenReader, notes_of
from edgespec.decode.shared.answer import Answer, Wanted
from edgespec.decode.shared.batch import Batch, Got
from edgespec.decode.shared.picker import Picking
from edgespec.decode.token import GenerationStats
from edgespec.errors import (
    EdgespecError,
    UsageError,
)
from edgespec.lifetime import Closes
from edgespec.llama.memory import release_freed_memory
from edgespec.llama.sampling_wish import settle_sampling
from edgespec.ranges import check_ranges
from edgespec.session.explain import explain
from edgespec.session.own_sampling import own_sampling
from edgespec.session.shared.asked import (
    Ask,
    Asked,
    Began,
    Cancel,
    Detokenize,
    Embed,
    Ended,
    Look,
    LookAtAnswers,
    Tokenize,
    Tokenized,
    Told,
)
from edgespec.session.shared.choice import Choice
from edgespec.session.shared.engine import SharedEngine
from edgespec.session.shared.long_texts import LongTexts, Read, is_long
from edgespec.session.shared.looks import figures_of, places_of
from edgespec.session.shared.reading import read_asked
from edgespec.session.shared.refusing import refusal_of
from edgespec.session.shared.vocabulary import check_tokens, detokenize

_MOST_CHOICES, _MOST_LOGPROBS = 128, 100
_RELEASE_S: Final = 1.0
"""Between two looks at what the C library keeps of freed copies of conversations: it never gets back what lies between others."""
_TAKING_IN_S: Final = 0.1
"""After so long the rest of what was asked waits for a round of the answers under way."""
_SEEDS = 2**32 - 1
"""The number behind the last seed asks llama.cpp for a random one."""


class SharedSession(Closes):
    """Answers many at a time, in one thread. What was learnt is kept when it closes.

    `submit` takes in what is asked and computes nothing; `step` computes a round of all answers and returns what there is to tell.

    Args:
        engine: With the models; closed with the session.
    """

    def __init__(self, engine: SharedEngine) -> None:
        self.engine = engine
        self.own_sampling = own_sampling(engine.target.file)
        """How the target's tokens are picked where nobody says."""
        self._batch: Batch = engine.make_batch()
        self._inbox: deque[Asked] = deque()
        self._choices: dict[int, list[Choice]] = {}
        """What is under way, by the caller's number."""
        self._of: dict[Answer, Choice] = {}
        self._begun: set[int] = set()
        self._long_texts = LongTexts()
        self._released_s = perf_counter()
        self._done = GenerationStats()
        """The sum of all answers that have ended."""
        with suppress(EdgespecError):
            # The first question does not wait for it.
            if template := template_of(engine.target.model):
                _ = template.abilities, template.calls

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do until something is asked."""
        return not (self._inbox or self._of or self._long_texts)

    def submit(self, asked: Asked) -> None:
        """Takes something in; `step` answers it."""
        self._inbox.append(asked)

    def rest(self) -> None:
        """Does what would keep the next question waiting; for when there is none.

        Raises:
            EngineError: llama.cpp failed.
        """
        self._batch.rest()
        if perf_counter() - self._released_s >= _RELEASE_S:
            release_freed_memory()
            self._released_s = perf_counter()

    def step(self) -> list[Told]:
        """One round of all answers.

        Returns:
            What there is to tell, in its order.
        """
        told: list[Told] = []
        asked = deque(self._asked_now())
        for one, read in self._long_texts.take(waits=not (asked or self._of)):
            self._take_in(one, told, read)
        until_s = perf_counter() + _TAKING_IN_S
        while asked:
            self._take_in(asked.popleft(), told)
            if perf_counter() > until_s:
                self._inbox.extendleft(reversed(asked))
                break
        if self._of:
            for got in self._batch.step():
                self._tell(got, told)
        return told

    def _asked_now(self) -> list[Asked]:
        """What has come in since the last round, without what nobody waits for any more; answers under way end here."""
        asked: list[Asked] = []
        while self._inbox:
            one = self._inbox.popleft()
            if not isinstance(one, Cancel):
                asked.append(one)
                continue
            asked = [before for before in asked if before.id != one.id]
            for choice in self._choices.pop(one.id, ()):
                self._end(choice)
            self._begun.discard(one.id)
            self._long_texts.cancel(one.id)
        return asked

    def _take_in(self, asked: Asked, told: list[Told], read: "Future[Read] | None" = None) -> None:
        """Answers or begins what was asked.

        Args:
            asked: That.
            told: Gets what there is to tell.
            read: Its text, where that was read beside the rounds.
        """
        try:
            match asked:
                case Ask() | Tokenize():
                    context = self.engine.target.context
                    if read is None and self._of and is_long(asked):
                        self._long_texts.begin(asked, partial(read_asked, asked, context))
                        return
                    self._take_read(asked, read.result() if read else read_asked(asked, context), told)
                case Detokenize():
                    told.append(detokenize(self.engine.target.model, asked))
                case Embed():
                    raise UsageError(
                        f"{self.engine.target.file.name} writes text and gives no embeddings",
                        "name an embedding model",
                    )
                case Look():
                    found = figures_of(asked, self.engine, self._batch, self._done, self._of)
                    told.append(replace(found, waiting_n=found.waiting_n + len(self._long_texts)))
                case LookAtAnswers():
                    told.append(places_of(asked, self.engine, self._batch, self._of))
        except EdgespecError as error:
            told.append(refusal_of(asked.id, error, self.engine.n_ctx))

    def _take_read(self, asked: Asked, read: Read, told: list[Told]) -> None:
        if isinstance(read, Tokenized):
            told.append(read)
        elif isinstance(asked, Ask):
            self._begin(asked, read)

    def _begin(self, ask: Ask, prompt: ChatPrompt) -> None:
        check_ranges(max_tokens=ask.max_tokens)
        check_tokens(self.engine.target.model, [token for token, _ in ask.logit_bias])
        if not all(-math.inf <= bias < math.inf for _, bias in ask.logit_bias):
            raise UsageError("a bias of a token is no number", "use a finite one, or minus infinity")
        if ask.logprobs_n is not None and not 0 <= ask.logprobs_n <= _MOST_LOGPROBS:
            raise UsageError(
                f"{ask.logprobs_n} log probabilities are out of range", f"ask for 0 to {_MOST_LOGPROBS}"
            )
        if not 0 < ask.n_choices <= _MOST_CHOICES:
            raise UsageError(
                f"{ask.n_choices} answers to one prompt are out of range", f"ask for 1 to {_MOST_CHOICES}"
            )
        model, choices = self.engine.target.model, []
        for number in range(ask.n_choices):
            constraint = constrain_answer(model, prompt)
            reader = TokenReader(model, prompt, ask.thinking.budget, constraint)
            tokens = check_length(self.engine.target.context, reader.prompt)
            sampling = settle_sampling(ask.sampling, self.own_sampling)
            sampling = replace(sampling, seed=(sampling.seed + number) % _SEEDS)
            picking = Picking(sampling, ask.logprobs_n, ask.logit_bias, constraint)
            wanted = Wanted(tokens, ask.max_tokens or self.engine.n_ctx, picking, ignore_end=ask.ignore_end)
            choices.append(Choice(ask, number, Answer(wanted), reader, model))
        self._choices[ask.id] = choices
        for choice in choices:
            self._of[choice.answer] = choice
            self._batch.add(choice.answer)

    def _tell(self, got: Got, told: list[Told]) -> None:
        choice = self._of[got.answer]
        ask = choice.ask
        if got.error:
            told.append(refusal_of(ask.id, got.error, self.engine.n_ctx))
            for other in self._choices.pop(ask.id):
                self._end(other, is_damaged=other is choice)
            self._begun.discard(ask.id)
            return
        if ask.id not in self._begun:
            self._begun.add(ask.id)
            told.append(Began(ask.id, got.answer.stats.prompt_n, got.answer.cached_n))
        told.append(choice.read(got, got.seconds))
        if choice.is_whole:
            self._finish(choice, told)

    def _finish(self, choice: Choice, told: list[Told]) -> None:
        stats, ask, engine = choice.answer.stats, choice.ask, self.engine
        # The machine may run at another speed than when the answer began.
        stats.plain_step_s = engine.state.costs.step_s
        replays = engine.target.context.abilities.replays
        stats.why = explain(
            engine.mode, engine.draft_name, stats, replays=replays, unmeasured=engine.state.unmeasured
        )
        self._end(choice)
        notes = tuple(notes_of(engine.target.model))
        told.append(Ended(ask.id, choice.number, choice.reason, choice.stop, stats, notes))
        left = self._choices[ask.id]
        left.remove(choice)
        if not left:
            del self._choices[ask.id]
            self._begun.discard(ask.id)

    def _end(self, choice: Choice, *, is_damaged: bool = False) -> None:
        if self._of.pop(choice.answer, None):
            self._batch.end(choice.answer, is_damaged=is_damaged)
            self._done.add(choice.answer.stats)

    def close(self) -> None:
        """Ends all answers, keeps what was learnt, and frees the models. A second call does nothing."""
        for choices in list(self._choices.values()):
            for choice in choices:
                self._end(choice)
        self._choices.clear()
        self._inbox.clear()
        self._long_texts.close()
        self.engine.close()
