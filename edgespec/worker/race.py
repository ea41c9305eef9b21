"""A race: one prompt, all arms side by side on the chat's own engine, measured and audited as a benchmark is."""

from datetime import UTC, datetime
from typing import Final

from edgespec.bench.arm import Arm, ArmSpec
from edgespec.bench.arm_loop import ArmLoop, TokenizedPrompt
from edgespec.bench.environment import describe_environment
from edgespec.bench.result import BenchResult, MeasuredCosts
from edgespec.bench.store import new_run_id
from edgespec.bench.summary import arm_name
from edgespec.decode.policy import Mode
from edgespec.decode.token import Token
from edgespec.session import Session
from edgespec.session.explain import explain
from edgespec.worker.protocol import Link, RaceAdvanced, RunRace
from edgespec.worker.token_stream import TokenStream

_RACE: Final = "race"
"""Id and category of the prompt."""


def run_race(session: Session, request: RunRace, link: Link) -> None:
    """Runs one round: tokens of all arms as they come, and when all are in, the figures of all rounds so far.

    The arms have caches of their own: the session's conversation stays where it is.

    Raises:
        ContextOverflowError: the prompt does not fit the context.
        NotEnoughMemoryError: there is not enough memory for a cache of every arm.
        KeyboardInterrupt: it was stopped. What came has been told; the round counts in no figure.
    """
    prompt = TokenizedPrompt(_RACE, _RACE, tuple(session.tokenize(request.prompt)))
    shown = _Shown(link)
    specs = [_spec(session, mode) for mode in request.modes]
    # Without a warm-up: on an engine that has worked before, the first tokens after fresh caches took no longer than
    # later ones (SmolLM2-135M, 16 rounds with and without), and who pressed Enter waits for them.
    with ArmLoop(specs, [prompt], request.max_tokens, came=shown.came, ended=shown.ended) as loop:
        number = _take_over(request.earlier, loop)
        try:
            loop.run(prompt, repeat=number, turn=number)
        finally:
            shown.flush()
        _tell(session, request, link, loop)


class _Shown:
    """The arms' tokens on their way to the front door."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._streams: dict[str, TokenStream] = {}

    def came(self, arm: Arm, token: Token) -> None:
        """One more token."""
        if arm.name not in self._streams:
            self._streams[arm.name] = TokenStream(self._link, arm.stats, arm.name)
        self._streams[arm.name].add(token)

    def ended(self, arm: Arm) -> None:
        """The arm waits for the others: its last tokens do not."""
        self._streams[arm.name].flush()

    def flush(self) -> None:
        """Sends what is left of all."""
        for stream in self._streams.values():
            stream.flush()


def _spec(session: Session, mode: Mode) -> ArmSpec:
    draft = session.draft_name if mode in (Mode.MODEL, Mode.AUTO) else None
    return ArmSpec(arm_name(mode, draft), session.engine, mode, draft, session.state)


def _take_over(earlier: BenchResult | None, loop: ArmLoop) -> int:
    """Gives the arms their samples of earlier rounds; how many rounds those were."""
    if earlier is None:
        return 0
    samples = {arm.name: arm.samples for arm in earlier.arms}
    for arm in loop.arms:
        arm.samples.extend(samples.get(arm.name, ()))
    loop.audit = earlier.audit
    return max(len(arm.samples) for arm in loop.arms)


def _tell(session: Session, request: RunRace, link: Link, loop: ArmLoop) -> None:
    """Sends the arms' figures of this round, each with the result of all rounds."""
    earlier, costs = request.earlier, session.state.costs
    draft = session.draft_name
    result = BenchResult(
        run_id=earlier.run_id if earlier else new_run_id(),
        started_at=earlier.started_at if earlier else datetime.now(UTC).isoformat(timespec="seconds"),
        target=session.engine.target.file.name,
        env=describe_environment(session.engine),
        settings={"race": request.prompt, "max_tokens": request.max_tokens},
        arms=loop.results(),
        audit=loop.audit,
        calibration=MeasuredCosts(
            {draft: costs.draft_step_s} if draft else {}, dict(sorted(costs.verify.points.items()))
        ),
    )
    for arm in loop.arms:
        replays = arm.contexts.target.abilities.replays
        unmeasured = arm.spec.state.unmeasured
        arm.stats.why = explain(
            arm.spec.mode, arm.spec.draft, arm.stats, replays=replays, unmeasured=unmeasured
        )
        link.send(RaceAdvanced(result, arm.name, arm.stats, arm is loop.arms[-1]))
