"""A race: the same prompt with one arm after the other, each from an empty cache."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from edgespec.bench.environment import describe_environment
from edgespec.bench.result import ArmResult, Audit, BenchResult, CalibrationFigures, Sample
from edgespec.bench.store import new_run_id
from edgespec.bench.summary import VANILLA, has_figures, sample_of, summarize_arm
from edgespec.decode.policy import Mode
from edgespec.decode.token import Token
from edgespec.llama.library import default_threads
from edgespec.session import Session
from edgespec.session.loading import resident_bytes
from edgespec.worker.protocol import Link, RaceAdvanced, RunRace


class _Stream(Protocol):
    def add(self, token: Token) -> None: ...
    def flush(self) -> None: ...


def arm_name(mode: Mode, draft: str | None) -> str:
    """What an arm is called, as in `edgespec bench`."""
    return {Mode.OFF: VANILLA, Mode.MODEL: draft or "model"}.get(mode, str(mode))


def run_race(
    session: Session,
    request: RunRace,
    link: Link,
    open_stream: Callable[[Link, Session, str], _Stream],
    stoppable: Callable[[Iterator[Token]], Iterator[Token]],
) -> None:
    """Runs every arm once and tells the figures of all rounds so far after each.

    Raises:
        KeyboardInterrupt: it was stopped; the arms that came in have been told.
    """
    mode_before = session.mode
    samples = {arm.name: list(arm.samples) for arm in request.earlier.arms} if request.earlier else {}
    started = datetime.now(UTC).isoformat(timespec="seconds")
    run_id = request.earlier.run_id if request.earlier else new_run_id()
    try:
        for place, mode in enumerate(request.modes):
            name = arm_name(mode, session.draft_name)
            session.mode = mode
            session.forget()
            answer = session.stream(request.prompt, max_tokens=request.max_tokens)
            ids = _run_arm(stoppable(answer), partial(open_stream, link, session, name))
            rounds = samples.setdefault(name, [])
            stats = session.stats
            rounds.append(
                sample_of(stats, "race", "race", len(rounds), tokens=ids, prefill_s=stats.prefill_s)
            )
            arms = _summaries(samples, session.draft_name)
            result = BenchResult(
                run_id=run_id,
                started_at=started,
                target=session.engine.target.file.name,
                env=describe_environment(
                    session.engine, session.engine.settings.n_threads or default_threads()
                ),
                settings={"race": request.prompt, "max_tokens": request.max_tokens},
                arms=arms,
                audit=Audit(),
                calibration=CalibrationFigures(),
                complete=True,
            )
            link.send(RaceAdvanced(result, name, session.stats, place == len(request.modes) - 1))
    finally:
        session.mode = mode_before
        session.forget()


def _run_arm(tokens: Iterator[Token], open_stream: Callable[[], _Stream]) -> tuple[int, ...]:
    """Streams one answer; returns its token ids."""
    ids: list[int] = []
    stream: _Stream | None = None
    for token in tokens:
        stream = stream or open_stream()
        stream.add(token)
        ids.append(token.id)
    if stream is not None:
        stream.flush()
    return tuple(ids)


def _summaries(samples: dict[str, list[Sample]], draft: str | None) -> tuple[ArmResult, ...]:
    plain = samples.get(VANILLA, [])
    return tuple(
        summarize_arm(
            name,
            draft if name == draft else None,
            rounds,
            plain,
            peak_memory_bytes=resident_bytes(),
        )
        for name, rounds in samples.items()
        if has_figures(rounds)
    )
