"""Figure 1: plain against speculative decoding on the same prompts in the same run, all arms side by side."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Final

from edgespec.bench.arm import Arm, ArmSpec
from edgespec.bench.arm_loop import ArmLoop, tokenize_prompts
from edgespec.bench.environment import describe_environment
from edgespec.bench.prompts import Prompt
from edgespec.bench.result import Audit, BenchResult, MeasuredCosts
from edgespec.bench.store import ResultStore, new_run_id
from edgespec.bench.summary import arm_name
from edgespec.chat.template import Think
from edgespec.decode.policy import MAX_DRAFT, Mode
from edgespec.errors import EngineError, UsageError
from edgespec.llama.sampler import Sampling
from edgespec.progress import SILENT, Progress
from edgespec.ranges import check_ranges
from edgespec.session.engine import Engine

MOST_REPEATS: Final = 6
"""Times as many repeats as were asked for, at most: single answers of half a second differ by a twentieth."""


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """What is run.

    Raises:
        UsageError: a number outside its range.
    """

    max_tokens: int = 96
    repeat: int = 3
    sampling: Sampling = field(default_factory=Sampling)
    fixed: tuple[int, ...] = ()
    """Lengths of drafts, 1 to `policy.MAX_DRAFT`, each of which is an arm besides."""
    think: Think = "auto"
    """Whether the model thinks before it answers, where its template has a switch for it; the same for all arms."""

    def __post_init__(self) -> None:
        check_ranges(max_tokens=self.max_tokens, repeat=self.repeat)
        for length in self.fixed:
            if not 1 <= length <= MAX_DRAFT:
                raise UsageError(f"`fixed` {length} is out of range", f"use lengths from 1 to {MAX_DRAFT}")


class SpeculativeBench:
    """One run: `plain`, every draft, `ngram`, `auto`, and what is asked for of fixed length, over all prompts.

    Args:
        engine: The loaded pair; its drafts become arms.
        prompts: What is answered.
        settings: Length, repeats, sampling, fixed lengths.
        store: Where the run is saved after every prompt.
        progress: Told about every prompt, in tokens of its answers.

    Raises:
        UsageError: fixed lengths are wanted and there is no draft.
        ContextOverflowError: a prompt does not fit the context; nothing has been measured then.
    """

    def __init__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        settings: BenchSettings,
        store: ResultStore,
        progress: Progress = SILENT,
    ) -> None:
        if settings.fixed and not engine.drafts:
            raise UsageError(
                f"`fixed` lengths need a draft model and {engine.target.file.name} has none here",
                "name one with `draft`, or leave `fixed` out",
            )
        self._engine, self._settings, self._store, self._progress = engine, settings, store, progress
        self._prompts = tokenize_prompts(engine, prompts, settings.think)
        self._loop: ArmLoop | None = None
        self._run_id, self._started = new_run_id(), datetime.now(UTC).isoformat(timespec="seconds")
        self._done = 0

    def run(self) -> BenchResult:
        """Measures everything. Ctrl-C ends it early: what is finished is saved and returned as incomplete.

        Raises:
            EngineError: a process did not survive the measuring of costs here; the log says what to do.
            NotEnoughMemoryError: there is not enough for a KV cache of every arm.
        """
        try:
            with ArmLoop(
                self._arms_with_costs(),
                self._prompts,
                self._settings.max_tokens,
                self._settings.sampling,
                ended=self._count,
            ) as self._loop:
                self._loop.warm_up()
                self._measure(self._loop)
            result = self._result(complete=True)
            self._store.save(result)
        except KeyboardInterrupt:
            result = self._result(complete=False)
            if result.arms:
                self._store.save(result)
        return result

    def _arms_with_costs(self) -> list[ArmSpec]:
        """The arms, after the costs of every pair have been measured."""
        engine = self._engine
        for draft in (None, *engine.drafts):
            if reason := engine.measure_costs(draft, self._progress).unmeasured:
                raise EngineError(f"there is nothing to compare: {reason}")
        best = engine.best_draft()
        ways: list[tuple[Mode, str | None, int | None]] = [
            (Mode.OFF, None, None),
            *((Mode.MODEL, draft, None) for draft in engine.drafts),
            (Mode.NGRAM, None, None),
            (Mode.AUTO, best, None),
            *((Mode.MODEL, best, length) for length in self._settings.fixed),
        ]
        return [
            ArmSpec(arm_name(mode, draft, length), engine, mode, draft, engine.states[draft], length)
            for mode, draft, length in ways
        ]

    def _measure(self, loop: ArmLoop) -> None:
        for repeat in range(self._settings.repeat * MOST_REPEATS):
            for number, prompt in enumerate(self._prompts):
                if repeat < self._repeats()[number]:
                    total = self._expected_tokens() * len(loop.arms)
                    self._progress.stage(f"{prompt.category}: {prompt.id}, tokens", total, done=self._done)
                    loop.run(prompt, repeat, turn=number + repeat)
                    self._store.save(self._result(complete=False))

    def _count(self, arm: Arm) -> None:
        self._done += arm.stats.predicted_n
        self._progress.advance(arm.stats.predicted_n)

    def _expected_tokens(self) -> int:
        """Of all answers of one arm. Their number would be a bad measure of time: short ones are quick and come often."""
        lengths, longest = self._lengths(), self._settings.max_tokens
        places = zip(self._prompts, self._repeats(), strict=True)
        return sum(repeats * lengths.get(prompt.id, longest) for prompt, repeats in places)

    def _repeats(self) -> list[int]:
        """Of each prompt as many as were asked for; of short answers as many as have the tokens of that many long ones.

        Of three repeats of 96 tokens at most, a prompt that is answered with 96 tokens gets three, one that is answered
        with 40 gets ceil(3 * 96 / 40) = 8, and one that is answered with 3 gets 3 * `MOST_REPEATS` = 18.
        """
        asked, lengths = self._settings.repeat, self._lengths()
        enough = asked * self._settings.max_tokens
        return [
            min(max(asked, math.ceil(enough / lengths.get(prompt.id, math.inf))), asked * MOST_REPEATS)
            for prompt in self._prompts
        ]

    def _lengths(self) -> dict[str, int]:
        """Tokens of the first plain answer to each prompt that has one."""
        plain = self._loop.arms[0].samples if self._loop else []
        return {sample.prompt_id: sample.predicted_n for sample in reversed(plain)}

    def _result(self, *, complete: bool) -> BenchResult:
        engine, loop = self._engine, self._loop
        return BenchResult(
            run_id=self._run_id,
            started_at=self._started,
            target=engine.target.file.name,
            env=describe_environment(engine),
            settings={**asdict(self._settings), "prompts": len(self._prompts)},
            arms=loop.results() if loop else (),
            audit=loop.audit if loop else Audit(),
            calibration=_measured_costs(engine),
            complete=complete,
        )


def _measured_costs(engine: Engine) -> MeasuredCosts:
    plain = engine.states.get(None)
    return MeasuredCosts(
        {name: state.costs.draft_step_s for name, state in engine.states.items() if name},
        dict(sorted(plain.costs.verify.points.items())) if plain else {},
    )
