"""What a program uses: open a pair, stream tokens, close."""

from collections.abc import Generator as PyGenerator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Final

from edgespec.catalog.model_file import ModelFile
from edgespec.chat.answer_grammar import constrain_answer
from edgespec.chat.messages import ChatMessage
from edgespec.chat.prompt_tokens import count_beyond, tokenize_messages, tokenize_rendered
from edgespec.chat.structure import Structure
from edgespec.chat.template import render_chat, template_of
from edgespec.chat.thinking import (
    AS_IT_LIKES,
    ChatPrompt,
    Thinking,
    notes_of,
    read_prompt,
    stream_answer,
)
from edgespec.chat.tools import NO_TOOLS, Toolbox
from edgespec.decode.generate import Generator
from edgespec.decode.policy import Mode
from edgespec.decode.token import GenerationStats, Token
from edgespec.errors import UsageError
from edgespec.lifetime import Closes
from edgespec.llama.sampling_wish import AnySampling, settle_sampling
from edgespec.progress import SILENT, Progress
from edgespec.ranges import check_ranges
from edgespec.session.choice import AUTO_DRAFT, choose_files, mode_for
from edgespec.session.cost_store import CostStore
from edgespec.session.engine import Engine
from edgespec.session.explain import explain
from edgespec.session.going_on import WrittenAnswer, answer_of
from edgespec.session.own_sampling import own_sampling
from edgespec.session.settings import EngineSettings
from edgespec.session.shorten import drop_oldest_turns

Prompt = str | Sequence[ChatMessage]
_CONTEXTS: Final = "contexts"
_ROOM: Final = 4
"""A quarter of the context is room enough for an answer."""


class Session(Closes):
    """A loaded pair. Answers one prompt at a time, in whatever thread; what was learnt is kept when it closes.

    Two answers at a time take two sessions, which may run in two threads.

    Args:
        engine: With one draft model at most; closed with the session.
        draft: As it was asked for: `auto`, `ngram`, `none`, or a model.
        progress: Gets a stage where the pair has to be measured.
    """

    def __init__(self, engine: Engine, draft: str, progress: Progress = SILENT) -> None:
        self.engine = engine
        self.own_sampling = own_sampling(engine.target.file)
        """How the target's tokens are picked where nobody says."""
        self._users: dict[str, object] = {}
        """Who has the contexts: an answer that is under way, or what may not come between its tokens."""
        self._models = RLock()
        """Held while they work, so that no thread frees them meanwhile."""
        self.mode = mode_for(draft)
        """What may draft; it may be changed between two answers."""
        self._use_draft(next(iter(engine.drafts), None), progress)
        self.stats = GenerationStats()
        self._written: WrittenAnswer | None = None
        self._generator: Generator | None = None

    @property
    def draft_name(self) -> str | None:
        """The draft model, or None."""
        return self._draft_name

    def change_draft(self, draft: ModelFile | None, progress: Progress = SILENT) -> None:
        """Drafts with another model from now on, or with none; the target stays loaded.

        What is in the target's cache may be lost to the measuring, so the next answer may read its prompt anew.

        Args:
            draft: Its file; None for no model.
            progress: Gets stages for loading and measuring.

        Raises:
            EdgespecError: the draft does not fit, and the one from before is still in use.
            UsageError: an answer is under way.
        """
        before = self._draft_name
        if (draft.name if draft else None) == before:
            return
        with self._alone(), self._models:
            if draft:
                self.engine.add_draft(draft, progress)
            self._store.save(self.state)
            self._use_draft(draft.name if draft else None, progress)
            if before:
                self.engine.drop_draft(before)

    def _use_draft(self, name: str | None, progress: Progress) -> None:
        store = CostStore(self.engine.target, self.engine.drafts[name] if name else None)
        self.state = store.load() or self.engine.measure_costs(name, progress)
        self._store, self._draft_name = store, name

    def stream(
        self,
        prompt: Prompt,
        *,
        max_tokens: int = 1024,
        sampling: AnySampling | None = None,
        raw: bool = False,
        drop_oldest: bool = False,
        thinking: Thinking = AS_IT_LIKES,
        structure: Structure | None = None,
        toolbox: Toolbox = NO_TOOLS,
        continues: bool = False,
    ) -> PyGenerator[Token, None, None]:
        """Yields the answer's tokens as they come; `stats` is complete at the end.

        What a model thinks before it answers is in `Token.thought`, the answer in `Token.text`.

        Args:
            prompt: A text, taken as one user message, or a conversation.
            max_tokens: Length limit.
            sampling: The model's own (`own_sampling`) unless given, and for what a `SamplingWish` does not say.
            raw: Send the text without the chat template; the answer then comes as it is written, thoughts and all.
            drop_oldest: Leave out the oldest turns where the conversation is too long (`shorten`); `stats` says how many messages.
            thinking: Whether it is to think, and how long.
            structure: What the answer must look like, where it is no call of a tool; thoughts before it are free.
            toolbox: Tools that the answer may call, or has to; calls come in `Token.calls`.
            continues: The last message is an answer that was cut, and goes on where it ends; what is new of it comes. The newest answer
                of the session goes on from its own tokens, without reading them again: greedily, as if it had not been cut.

        Raises:
            ContextOverflowError: the prompt does not fit the context.
            EngineError: llama.cpp failed.
            ModelFileError: the chat template fails.
            UsageError: the prompt is empty, `max_tokens` out of its range, the structure is none, or another answer under way: that
                one goes on.
        """
        with self._alone():
            check_ranges(max_tokens=max_tokens)
            dropped_n = 0
            with self._models:
                if drop_oldest and not isinstance(prompt, str):
                    prompt, whole = self.shorten(prompt, max_tokens, raw=raw), prompt
                    dropped_n = len(whole) - len(prompt)
                read, written = self._read_answer(
                    prompt, raw=raw, thinking=thinking, toolbox=toolbox, continues=continues
                )
                read = replace(read, structure=structure)
                settled = settle_sampling(sampling, self.own_sampling)
                constraint = constrain_answer(self.engine.target.model, read)
                generator = self.engine.generator(
                    self.mode, self._draft_name, settled, self.state, constraint=constraint
                )
                self._generator = generator
            model = self.engine.target.model
            answer = stream_answer(generator, model, read, max_tokens, thinking.budget, constraint)
            try:
                while (token := self._next_of(answer)) is not None:
                    written.tokens.append(token)
                    yield token
            finally:
                answer.close()
                # What ends a thought joins the cache without being told.
                self._written = written if thinking.budget is None else None
                self._finish_stats(generator.stats, dropped_n)
                generator.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While it is entered, nothing else uses the contexts: an answer that another one interleaves with is neither's."""
        me = object()
        # Ctrl-C may come between any two lines: a lock would stay held by nobody.
        try:
            if self._users.setdefault(_CONTEXTS, me) is not me:
                raise UsageError(
                    "this session is writing an answer already",
                    "read that one to its end or close it first; a second session answers at the same time",
                )
            yield
        finally:
            if self._users.get(_CONTEXTS) is me:
                del self._users[_CONTEXTS]

    def _next_of(self, answer: PyGenerator[Token, None, None]) -> Token | None:
        """The next token; None at the end."""
        with self._models:
            return next(answer, None)

    def _finish_stats(self, stats: GenerationStats, dropped_n: int) -> None:
        self.stats = stats
        stats.dropped_n = dropped_n
        if self.mode is not Mode.OFF:
            stats.pass_deviation = self.state.costs.pass_deviation
        stats.stopped = stats.stopped or "interrupted"
        replays = self.engine.target.context.abilities.replays
        stats.why = explain(
            self.mode, self._draft_name, stats, replays=replays, unmeasured=self.state.unmeasured
        )

    @property
    def live_stats(self) -> GenerationStats:
        """The figures of the answer that is under way, or of the last one."""
        return self._generator.stats if self._generator else self.stats

    @property
    def notes(self) -> list[str]:
        """What could not be done as it was asked, each in a sentence."""
        return notes_of(self.engine.target.model)

    def forget(self) -> None:
        """Empties the caches: the next answer reads all of its prompt, as a first one does.

        Raises:
            UsageError: an answer is under way.
        """
        with self._alone(), self._models:
            self.engine.target.context.clear()
            if self._draft_name:
                self.engine.drafts[self._draft_name].context.clear()

    def tokenize(self, prompt: Prompt, *, raw: bool = False) -> list[int]:
        """The prompt's tokens, chat template included.

        Raises:
            ContextOverflowError: they do not fit the context.
            ModelFileError: the chat template fails.
            UsageError: the prompt is empty.
        """
        with self._models:
            return self._read(prompt, raw=raw, thinking=AS_IT_LIKES).tokens

    def count_tokens(self, prompt: Prompt, *, raw: bool = False) -> int:
        """How many tokens a prompt has, chat template included, whether they fit the context or not.

        Of what is far too long for the context only the beginning is counted: it has that many at least.

        Args:
            prompt: A text, taken as one user message, or a conversation.
            raw: Count the text alone.

        Raises:
            ModelFileError: the chat template fails.
        """
        messages = [ChatMessage("user", prompt)] if isinstance(prompt, str) else list(prompt)
        target = self.engine.target
        with self._models:
            text = render_chat(template_of(target.model, raw=raw), messages)
            beyond_n = count_beyond(target.model, text, target.context.n_ctx)
            if beyond_n:
                return beyond_n
            return len(
                target.model.tokenize(text, add_special=False)
                if raw
                else tokenize_rendered(target.model, text)
            )

    def _read_answer(
        self, prompt: Prompt, *, raw: bool, thinking: Thinking, toolbox: Toolbox, continues: bool
    ) -> tuple[ChatPrompt, WrittenAnswer]:
        """What the answer goes on from, and what is there of it."""
        if not continues:
            read = self._read(prompt, raw=raw, thinking=thinking, toolbox=toolbox)
            return read, WrittenAnswer(read.tokens)
        if isinstance(prompt, str):
            raise UsageError("a text has no answer that could go on", "give a conversation")
        answer, model = answer_of(prompt), self.engine.target.model
        read = self._read(prompt[:-1], raw=raw, thinking=thinking, toolbox=toolbox)
        if (written := self._written) is not None and written.goes_on(read, answer, model):
            return written.resumed(read, answer), written
        if not answer.content:
            raise UsageError("an answer that has only been thought of cannot go on", "have it answered again")
        context = self.engine.target.context
        read = read_prompt(context, prompt, raw=raw, thinking=thinking, toolbox=toolbox, continues=True)
        return read, WrittenAnswer(read.tokens)

    def _read(
        self, prompt: Prompt, *, raw: bool, thinking: Thinking, toolbox: Toolbox = NO_TOOLS
    ) -> ChatPrompt:
        messages = [ChatMessage("user", prompt)] if isinstance(prompt, str) else list(prompt)
        context = self.engine.target.context
        return read_prompt(context, messages, raw=raw, thinking=thinking, toolbox=toolbox)

    def shorten(
        self, messages: Sequence[ChatMessage], max_tokens: int = 1024, *, raw: bool = False
    ) -> tuple[ChatMessage, ...]:
        """The conversation without its oldest turns where it leaves too little room for an answer.

        Then it takes half of the context at most, so that the next questions find room too, and what is left of it in the
        cache is read again. System prompts and the last question stay.

        Args:
            messages: The oldest first.
            max_tokens: Of the answer; a quarter of the context is room enough.
            raw: As of `stream`.

        Raises:
            ModelFileError: the chat template fails.
            UsageError: `max_tokens` is out of its range.
        """
        check_ranges(max_tokens=max_tokens)
        model, n_ctx = self.engine.target.model, self.engine.target.context.n_ctx

        def count_tokens(some: Sequence[ChatMessage]) -> int:
            with self._models:
                return len(tokenize_messages(model, some, raw=raw))

        if count_tokens(messages) + min(max_tokens, n_ctx // _ROOM) <= n_ctx:
            return tuple(messages)
        return drop_oldest_turns(messages, count_tokens, n_ctx // 2)

    def close(self) -> None:
        """Keeps what was learnt and frees the models, when the token is done that another thread may be waiting for.

        The rest of an answer that is under way is an EngineError.
        """
        with self._models:
            try:
                self._store.save(self.state)
            finally:
                self.engine.close()


def open_pair(
    target: str | Path | None = None,
    draft: str | Path = AUTO_DRAFT,
    *,
    settings: EngineSettings | None = None,
    offline: bool = False,
    progress: Progress = SILENT,
) -> Session:
    """Opens a target with a draft.

    Args:
        target: A pair's or model's name, `owner/repo:Q4_K_M`, or a path; None for the default model.
        draft: `auto`, `ngram`, `none`, or a model like `target`.
        settings: Placement, context, threads.
        offline: Fetch nothing.
        progress: Gets a stage for everything that is fetched, loaded or measured.

    Raises:
        EdgespecError: any of its kinds; see `edgespec.errors`.
    """
    files = choose_files(
        str(target) if target is not None else None, [str(draft)], offline=offline, progress=progress
    )
    engine = Engine(files.target, files.drafts, settings or EngineSettings(), progress, files.acceptance)
    try:
        return Session(engine, str(draft), progress)
    except BaseException:
        engine.close()
        raise
