"""One engine process as the server sees it: loaded or not, and the answers that it is writing."""

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, cast

from edgespec.errors import ExitCode
from edgespec.serve.answers import Answers
from edgespec.serve.errors import ApiError, error_of, sentence_of
from edgespec.serve.watchdog import LOOK_S, Watchdog
from edgespec.session.shared.asked import (
    Ask,
    Cancel,
    Detokenize,
    Embed,
    Embedded,
    Figures,
    Look,
    LookAtAnswers,
    Places,
    RefusalKind,
    Refused,
    Tokenize,
    Tokenized,
    Told,
)
from edgespec.worker.process import WorkerProcess
from edgespec.worker.protocol import Logged, Progressed, WorkerDied
from edgespec.worker.serving_protocol import Alive, EngineEvent, OpeningFailed, OpenShared, SharedOpened

log = logging.getLogger(__name__)

_RETRY_S: Final = 10
"""Until a model that is busy now may have made room."""
_SOME_ANSWER_S: Final = 5.0
"""What an answer is taken to last before one was seen."""


class OpeningError(Exception):
    """A model that cannot be loaded, with what its process said."""

    def __init__(self, failed: OpeningFailed) -> None:
        super().__init__(failed.message)
        self.failed = failed


class Engine:
    """Runs a process, and hands what it tells to those who wait for it.

    Args:
        request: What it opens.
        n_queue: Answers that may wait beside those that are written.
        command: Runs it; None for `edgespec.worker.serving`.
        tell_progress: Of loading.
    """

    def __init__(
        self,
        request: OpenShared,
        n_queue: int,
        command: Sequence[str],
        tell_progress: Callable[[Progressed], None] | None = None,
    ) -> None:
        self.request, self._n_queue, self._tell_progress = request, n_queue, tell_progress
        self._process = WorkerProcess(command)
        self._numbers = itertools.count(1)
        self._answers: dict[int, Answers] = {}
        self._questions: dict[int, asyncio.Future[Told]] = {}
        self._following: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._watchdog = Watchdog()
        self._opening: asyncio.Future[SharedOpened] | None = None
        self.opened: SharedOpened | None = None
        self.is_dead = False
        self._answer_s = _SOME_ANSWER_S

    @property
    def pid(self) -> int | None:
        """Of its process."""
        return self._process.pid

    @property
    def n_answers(self) -> int:
        """Choices that are written or wait."""
        return sum(answers.n_left for answers in set(self._answers.values()))

    @property
    def is_idle(self) -> bool:
        """Whether nobody wants anything of it."""
        return not (self._answers or self._questions)

    async def open(self) -> SharedOpened:
        """Starts the process and waits until the pair is loaded.

        Raises:
            OpeningError: it cannot be loaded.
        """
        self._opening = asyncio.get_running_loop().create_future()
        self._process.send(self.request)
        self._following = asyncio.create_task(self._process.follow(self._hear))  # type: ignore[arg-type]
        self._watching = asyncio.create_task(self._watch())
        self.opened = await self._opening
        return self.opened

    async def close(self) -> None:
        """Ends the process, which has three seconds to keep what it learnt; whoever waits is refused."""
        self._die("is being stopped")
        await self._process.close()
        if self._following is not None and self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._following, self._watching])

    def _hear(self, event: EngineEvent) -> None:
        match event:
            case tuple():
                self._watchdog.heard()
                for told in event:
                    self._hand_on(told)
            case Alive(rounds_n):
                self._watchdog.heard(rounds_n)
            case Progressed():
                self._watchdog.heard()
                if self._tell_progress is not None:
                    self._tell_progress(event)
            case SharedOpened():
                self._watchdog.step_s = 1 / event.plain_tok_per_s if event.plain_tok_per_s else 0.0
                self._settle(event)
            case OpeningFailed():
                self._settle(OpeningError(event))
            case Logged(line):
                _pass_on(line)
            case WorkerDied(cause):
                self._die(cause)

    async def _watch(self) -> None:
        """Ends a process that has been stopped or hangs: it would never answer."""
        while not self.is_dead:
            opening = self.opened is None
            if wrong := self._watchdog.look(is_awaited=opening or not self.is_idle, is_opening=opening):
                log.error("the engine of %s %s, and is ended", self.request.target, wrong)
                self._die(wrong, "silent")
                self._process.kill()
            await asyncio.sleep(LOOK_S)

    def _settle(self, outcome: SharedOpened | OpeningError) -> None:
        if self._opening is None or self._opening.done():
            return
        if isinstance(outcome, SharedOpened):
            self._opening.set_result(outcome)
        else:
            self._opening.set_exception(outcome)

    def _hand_on(self, told: Told) -> None:
        if (answers := self._answers.get(told.id)) is not None:
            answers.put(told)
        elif (question := self._questions.pop(told.id, None)) is not None and not question.done():
            question.set_result(told)

    def _die(self, cause: str, kind: RefusalKind = "engine") -> None:
        self.is_dead = True
        said = f"the engine {cause}"
        self._settle(OpeningError(OpeningFailed(said, "the server's log has the details", ExitCode.FAILED)))
        self.refuse_all(said, "ask again: another one is started", kind)

    def refuse_all(self, message: str, hint: str = "", kind: RefusalKind = "engine") -> None:
        """Ends everything that is asked of it with an error."""
        for number in [*self._answers, *self._questions]:
            self._hand_on(Refused(number, kind, message, hint))

    def ask(self, *asks: Ask) -> Answers:
        """Asks for answers; the ids of the asks are replaced.

        Raises:
            ApiError: too many wait already, or the engine has ended.
        """
        self._check_alive()
        if self.opened and self.opened.pooling:
            what, where = (
                ("a reranker", "/v1/rerank")
                if self.opened.ranks
                else ("an embedding model", "/v1/embeddings")
            )
            said = f"this is {what}, which writes no text; ask it at {where}"
            raise ApiError(400, said, "model", "writes_no_text")
        wanted = sum(ask.n_choices for ask in asks)
        room = self.request.n_parallel + self._n_queue
        if self.n_answers and self.n_answers + wanted > room:
            raise self._busy(wanted)
        numbered = [replace(ask, id=next(self._numbers)) for ask in asks]
        answers = Answers(self, numbered)
        for ask in numbered:
            self._answers[ask.id] = answers
            self._process.send(ask)
        return answers

    def _check_alive(self) -> None:
        if self.is_dead:
            raise ApiError(500, "the engine has ended; ask again", None, "engine_failed")

    def _busy(self, wanted: int) -> ApiError:
        rounds = -(-(self.n_answers + wanted) // self.request.n_parallel)
        room = self.request.n_parallel + self._n_queue
        said = (
            f"{self.n_answers} of {room} places are taken by answers that are written or wait, "
            f"and {wanted} more were asked for; ask again later"
        )
        wait_s = min(max(1, round(self._answer_s * rounds / 2)), 120)
        return ApiError(503, said, None, "queue_full", retry_after_s=wait_s)

    def cancel(self, answers: Answers) -> None:
        """Nobody waits for these any more."""
        for number in answers.offsets:
            if self._answers.pop(number, None) is not None:
                self._process.send(Cancel(number))

    def release(self, answers: Answers) -> None:
        """All has been told of these, or one of them was refused."""
        if answers.n_left:
            self.cancel(answers)
            return
        self._answer_s += (answers.age_s - self._answer_s) / 4
        for number in answers.offsets:
            self._answers.pop(number, None)

    async def tokenize(self, question: Tokenize) -> Tokenized:
        """The tokens of a prompt; its id is replaced.

        Raises:
            ApiError: it is refused.
        """
        return cast(Tokenized, await self._question(replace(question, id=next(self._numbers))))

    async def detokenize(self, tokens: tuple[int, ...]) -> Tokenized:
        """The text of tokens.

        Raises:
            ApiError: one is none of the model's.
        """
        return cast(Tokenized, await self._question(Detokenize(next(self._numbers), tokens)))

    async def embed(self, question: Embed) -> Embedded:
        """The vectors of texts; its id is replaced.

        Raises:
            ApiError: it is refused.
        """
        asked = replace(question, id=next(self._numbers))
        try:
            return cast(Embedded, await self._question(asked))
        except asyncio.CancelledError:
            self._process.send(Cancel(asked.id))
            raise

    async def look(self) -> Figures:
        """How things stand.

        Raises:
            ApiError: the engine ended.
        """
        return cast(Figures, await self._question(Look(next(self._numbers))))

    async def look_at_answers(self, *, with_texts: bool) -> Places:
        """What is being written.

        Raises:
            ApiError: the engine ended.
        """
        return cast(Places, await self._question(LookAtAnswers(next(self._numbers), with_texts)))

    async def _question(self, question: Tokenize | Detokenize | Embed | Look | LookAtAnswers) -> Told:
        self._check_alive()
        answer: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._questions[question.id] = answer
        self._process.send(question)
        try:
            told = await answer
        finally:
            self._questions.pop(question.id, None)
        if isinstance(told, Refused):
            raise error_of(told)
        return told


def _pass_on(line: str) -> None:
    """A line of a process's log, whose warnings are the server's own."""
    level, _, rest = line.partition(" ")
    if level in ("WARNING", "ERROR") and ": " in rest:
        log.log(logging.getLevelNamesMapping()[level], "%s", rest.partition(": ")[2])
    else:
        log.debug("%s", line)


def api_error_of(error: OpeningError, name: str) -> ApiError:
    """What a caller is told of a model that cannot be loaded."""
    failed = error.failed
    said = f"{name} cannot be loaded: {sentence_of(failed.message, failed.hint)}"
    if failed.exit_code == ExitCode.MEMORY:
        return ApiError(503, said, "model", "out_of_memory", retry_after_s=_RETRY_S)
    return ApiError(500, said, "model", "model_not_loaded")
