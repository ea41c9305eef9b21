"""The chat side of a worker: one open pair that answers, drafts in other ways, and races itself."""

from typing import assert_never

from edgespec.catalog.entries import NGRAM
from edgespec.catalog.model_file import ModelFile
from edgespec.catalog.resolve import open_model
from edgespec.catalog.toml_file import load_catalog
from edgespec.decode.policy import Mode
from edgespec.errors import UsageError
from edgespec.session import Session, open_pair
from edgespec.session.choice import NONE
from edgespec.session.loading import resident_bytes
from edgespec.worker.protocol import (
    Answer,
    Answered,
    ChangeDraft,
    ChangeMode,
    CountTokens,
    Link,
    OpenPair,
    PairOpened,
    Pause,
    Request,
    Resume,
    RunJob,
    RunRace,
    Stop,
    TokensCounted,
)
from edgespec.worker.race import run_race
from edgespec.worker.token_stream import TokenStream, rate_of, stoppable


class PairServer:
    """Serves every request but jobs. Nothing is loaded before the first one."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._session: Session | None = None
        self._told: set[str] = set()
        """Notes on chat templates that the front door has."""

    def serve(self, request: Request) -> None:
        """Does what is asked and tells how it went.

        Raises:
            EdgespecError: any of its kinds.
            KeyboardInterrupt: it was stopped.
        """
        match request:
            case OpenPair():
                self._open(request)
            case Answer():
                self._answer(request)
            case CountTokens():
                self._count(request)
            case ChangeMode(mode):
                self._opened().mode = mode
                self._tell_pair()
            case ChangeDraft():
                self._change_draft(request)
            case RunRace():
                run_race(self._opened(), request, self._link)
            case Stop() | Pause() | Resume() | RunJob():
                raise AssertionError(request)
            case _:
                assert_never(request)

    def close(self) -> None:
        """Keeps what was learnt and frees the models."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _opened(self) -> Session:
        if self._session is None:
            raise UsageError("no model is loaded", "open a pair first")
        return self._session

    def _open(self, request: OpenPair) -> None:
        self.close()
        self._session = open_pair(
            request.target,
            request.draft,
            settings=request.settings,
            offline=request.offline,
            progress=self._link.progress,
        )
        if request.mode is not None and (self._session.draft_name or request.mode is not Mode.MODEL):
            self._session.mode = request.mode
        self._tell_pair()

    def _change_draft(self, request: ChangeDraft) -> None:
        session = self._opened()
        session.change_draft(self._find_draft(request), self._link.progress)
        if request.draft == NGRAM:
            session.mode = Mode.NGRAM
        elif request.draft == NONE:
            session.mode = Mode.AUTO if session.mode is Mode.MODEL else session.mode
        elif session.mode in (Mode.OFF, Mode.NGRAM):
            session.mode = Mode.AUTO
        self._tell_pair()

    def _find_draft(self, request: ChangeDraft) -> ModelFile | None:
        if request.draft in (NONE, NGRAM):
            return None
        return open_model(
            request.draft, load_catalog(), offline=request.offline, progress=self._link.progress
        )

    def _answer(self, request: Answer) -> None:
        session = self._opened()
        tokens = session.stream(
            request.messages,
            max_tokens=request.max_tokens,
            sampling=request.sampling,
            drop_oldest=request.drop_oldest,
            thinking=request.thinking,
            continues=request.continues,
            structure=request.structure,
            toolbox=request.toolbox,
        )
        stream: TokenStream | None = None
        try:
            for token in stoppable(tokens):
                if stream is None:
                    stream = TokenStream(self._link, session.live_stats)
                stream.add(token)
        except KeyboardInterrupt:
            pass
        finally:
            tokens.close()
        if stream is not None:
            stream.flush()
        notes = tuple(note for note in session.notes if note not in self._told)
        self._told.update(notes)
        self._link.send(Answered(session.stats, resident_bytes(), notes))

    def _count(self, request: CountTokens) -> None:
        session = self._opened()
        text_n = tuple(session.count_tokens(text, raw=True) for text in request.texts)
        self._link.send(TokensCounted(session.count_tokens(request.messages), text_n))

    def _tell_pair(self) -> None:
        session = self._opened()
        self._link.send(
            PairOpened(
                session.engine.target.file.name,
                session.draft_name,
                session.mode,
                session.engine.target.context.n_ctx,
                rate_of(session.state.costs.step_s),
                resident_bytes(),
                "; ".join([*session.engine.placements(), *session.engine.cautions()]),
                session.own_sampling,
            )
        )
