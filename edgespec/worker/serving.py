"""The engine process of a server: one pair that answers many callers at once.

The main thread computes, a round of all answers at a time; a second one listens, so that what is asked or cancelled
meanwhile counts from the next round on. It ends when its stdin does.
"""

import contextlib
import signal
import sys
from collections.abc import Sequence

from edgespec.catalog.model_file import ModelFile
from edgespec.errors import ExitCode
from edgespec.llama.model import Model
from edgespec.session.loading import resident_bytes
from edgespec.session.shared.embedding_session import EmbeddingSession
from edgespec.session.shared.opening import open_shared
from edgespec.session.shared.session import SharedSession
from edgespec.worker.entry import claim_stdout, send_log_to_stderr
from edgespec.worker.failure import failure_of
from edgespec.worker.link import SentProgress
from edgespec.worker.outbox import Outbox
from edgespec.worker.pulse import Pulse
from edgespec.worker.rounds import Inbox, Rounds
from edgespec.worker.serving_protocol import OpeningFailed, OpenShared, SharedOpened


def main() -> int:
    """Serves until stdin ends; returns the exit code."""
    out = claim_stdout()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    send_log_to_stderr()
    inbox, outbox = Inbox(sys.stdin.buffer), Outbox(out)
    inbox.start()
    pulse = Pulse(outbox)
    pulse.start()
    try:
        return _serve(inbox, outbox, pulse)
    finally:
        pulse.end()


def _serve(inbox: Inbox, outbox: Outbox, pulse: Pulse) -> int:
    request = inbox.take_first()
    if not isinstance(request, OpenShared):
        return ExitCode.OK
    pulse.work()
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        pair = _open(request, inbox, outbox)
        if pair is None:
            return ExitCode.FAILED
        with contextlib.closing(pair):
            outbox.send(_opened(pair, request))
            return Rounds(pair, inbox, outbox, pulse).run()
    return ExitCode.OK


def _open(request: OpenShared, inbox: Inbox, outbox: Outbox) -> SharedSession | EmbeddingSession | None:
    """Loads the pair; None where that failed, and the server knows why."""
    progress = SentProgress(outbox.send, lambda: None)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        inbox.is_opening.set()
        if inbox.has_ended.is_set():
            return None
        pair = open_shared(
            request.target,
            request.draft,
            settings=request.settings,
            n_parallel=request.n_parallel,
            cache_bytes=request.cache_bytes,
            cache_dir=request.cache_dir,
            offline=request.offline,
            progress=progress,
        )
    except Exception as error:
        failure = failure_of(error)
        outbox.send(OpeningFailed(failure.message, failure.hint, failure.exit_code))
        return None
    finally:
        inbox.is_opening.clear()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return pair


def _opened(pair: SharedSession | EmbeddingSession, request: OpenShared) -> SharedOpened:
    return _embedder_opened(pair) if isinstance(pair, EmbeddingSession) else _pair_opened(pair, request)


def _embedder_opened(one: EmbeddingSession) -> SharedOpened:
    engine, model = one.engine, one.engine.model
    return SharedOpened(
        target=engine.file.name,
        draft=None,
        path=str(engine.file.path),
        n_ctx=engine.n_ctx,
        n_parallel=1,
        plain_tok_per_s=0.0,
        memory_bytes=resident_bytes(),
        file_bytes=engine.file.meta.file_bytes,
        n_vocab=model.n_vocab,
        n_ctx_train=engine.file.meta.context_length or 0,
        chat_template="",
        bos_text=model.bos_text,
        eos_text=model.eos_text,
        n_embd=engine.context.width,
        n_params=model.n_params,
        quantization=engine.file.meta.quantization,
        pooling=engine.pooling.name,
        note=_placed([engine.file], [model]),
    )


def _pair_opened(pair: SharedSession, request: OpenShared) -> SharedOpened:
    engine = pair.engine
    target, model = engine.target.file, engine.target.model
    draft = engine.draft.file if engine.draft else None
    loaded = [engine.target, *([engine.draft] if engine.draft else [])]
    step_s = engine.state.costs.step_s
    return SharedOpened(
        target=target.name,
        draft=engine.draft_name,
        path=str(target.path),
        n_ctx=engine.n_ctx,
        n_parallel=request.n_parallel,
        plain_tok_per_s=1 / step_s if step_s else 0.0,
        memory_bytes=resident_bytes(),
        file_bytes=target.meta.file_bytes + (draft.meta.file_bytes if draft else 0),
        n_vocab=model.n_vocab,
        n_ctx_train=target.meta.context_length or 0,
        chat_template=model.chat_template or "",
        bos_text=model.bos_text,
        eos_text=model.eos_text,
        n_embd=model.n_embd,
        n_params=model.n_params,
        quantization=target.meta.quantization,
        sampling=pair.own_sampling,
        note=_placed([one.file for one in loaded], [one.model for one in loaded]),
    )


def _placed(files: Sequence[ModelFile], models: Sequence[Model]) -> str:
    """Where layers went, if some left the CPU."""
    placements = (
        f"{file.name}: {model.placement.reason}"
        for file, model in zip(files, models, strict=True)
        if model.placement.gpu_layers
    )
    return "; ".join(placements)


if __name__ == "__main__":
    sys.exit(main())
