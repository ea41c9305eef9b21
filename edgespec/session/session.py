"""What a program uses: open a pair, stream tokens, close."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgespec.catalog.sources import ProgressCallback
from edgespec.decode.chat_template import ChatMessage, tokenize_chat
from edgespec.decode.policy import Mode
from edgespec.decode.token import GenerationStats, Token
from edgespec.lifetime import Closes
from edgespec.llama.sampler import Sampling
from edgespec.session.calibration_store import CalibrationStore
from edgespec.session.choice import AUTO, NGRAM, NONE, choose_files
from edgespec.session.engine import Engine, PairState
from edgespec.session.explain import explain
from edgespec.session.loading import Note
from edgespec.session.settings import EngineSettings

Prompt = str | Sequence[ChatMessage]


class Session(Closes):
    """A loaded pair. Answers one prompt at a time; what was learnt is kept when it closes."""

    def __init__(self, engine: Engine, draft: str, note: Note = lambda _text: None) -> None:
        self.engine = engine
        self._draft_name = next(iter(engine.drafts), None)
        self.mode = {NONE: Mode.OFF, NGRAM: Mode.NGRAM}.get(draft, Mode.AUTO)
        draft_loaded = engine.drafts[self._draft_name] if self._draft_name else None
        self._store = CalibrationStore(engine.target, draft_loaded)
        kept = self._store.load()
        self.state = PairState(*kept) if kept else engine.calibrate(self._draft_name, note)
        self.stats = GenerationStats()

    def stream(
        self,
        prompt: Prompt,
        *,
        max_tokens: int = 1024,
        sampling: Sampling | None = None,
        raw: bool = False,
    ) -> Iterator[Token]:
        """Yields the answer's tokens as they come; `stats` is complete at the end.

        Args:
            prompt: A text, taken as one user message, or a conversation.
            max_tokens: Length limit.
            sampling: Greedy unless given.
            raw: Send the text without the chat template.

        Raises:
            ContextOverflowError: the prompt does not fit the context.
        """
        tokens = self.tokenize(prompt, raw=raw)
        generator = self.engine.generator(self.mode, self._draft_name, sampling or Sampling(), self.state)
        try:
            yield from generator.generate(tokens, max_tokens)
        finally:
            self.stats = generator.stats
            self.stats.stopped = self.stats.stopped or "interrupted"
            self.stats.why = explain(self.mode, self._draft_name, self.stats)
            generator.close()

    def tokenize(self, prompt: Prompt, *, raw: bool = False) -> list[int]:
        """The prompt's tokens, chat template included.

        Raises:
            ContextOverflowError: they do not fit the context.
            UsageError: there are none.
        """
        messages = [ChatMessage("user", prompt)] if isinstance(prompt, str) else list(prompt)
        return tokenize_chat(self.engine.target.context, messages, raw=raw)

    def close(self) -> None:
        """Keeps what was learnt and frees the models."""
        try:
            self._store.save(self.state.costs, self.state.acceptance)
        finally:
            self.engine.close()


def open_pair(
    target: str | Path | None = None,
    draft: str | Path = AUTO,
    *,
    settings: EngineSettings | None = None,
    offline: bool = False,
    progress: ProgressCallback | None = None,
    note: Note = lambda _text: None,
) -> Session:
    """Opens a target with a draft.

    Args:
        target: A pair's or model's name, `owner/repo:file.gguf`, or a path; None for the default model.
        draft: `auto`, `ngram`, `none`, or a model like `target`.
        settings: Placement, context, threads.
        offline: Fetch nothing.
        progress: Told about downloads, in bytes.
        note: Told what is being loaded or measured.

    Raises:
        EdgespecError: any of its kinds; see `edgespec.errors`.
    """
    files = choose_files(
        str(target) if target is not None else None, [str(draft)], offline=offline, progress=progress
    )
    engine = Engine(files.target, files.drafts, settings or EngineSettings(), note)
    try:
        return Session(engine, str(draft), note)
    except BaseException:
        engine.close()
        raise
