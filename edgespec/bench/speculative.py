"""Figure 1: plain against speculative decoding on the same prompts in the same run.

Per prompt the target reads the prompt once, and every arm continues from a copy of that KV cache, all of them side by
side, a token each in turn: what the machine does meanwhile, it does to all arms. Drafts start empty and pay for what
they read. TTFT and prompt speed are the target's own and the same for all arms.
"""

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from time import perf_counter

from edgespec.bench.audit import compare_answers, merge_audits
from edgespec.bench.environment import describe_environment
from edgespec.bench.interleave import run_interleaved
from edgespec.bench.prompts import Prompt
from edgespec.bench.result import Audit, BenchResult, CalibrationFigures, Sample
from edgespec.bench.store import ResultStore, new_run_id
from edgespec.bench.summary import VANILLA, has_figures, sample_of, summarize_arm
from edgespec.bench.verdict import AUTO
from edgespec.decode.chat_template import tokenize_chat
from edgespec.decode.policy import Mode
from edgespec.llama.library import default_threads
from edgespec.llama.sampler import Sampling
from edgespec.session.context_pair import ContextPair
from edgespec.session.engine import Engine, PairState
from edgespec.session.loading import TARGET_ROWS, resident_bytes

WARM_UP_TOKENS = 12
MOST_REPEATS = 6
"""Times as many repeats as were asked for, at most: single answers of half a second differ by a twentieth."""

Progress = Callable[[int, int, str], None]
"""Called with answers done, answers in all, and what is being done."""


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """What is run."""

    max_tokens: int = 96
    repeat: int = 3
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(slots=True)
class _Arm:
    name: str
    mode: Mode
    draft: str | None
    state: PairState
    lane: ContextPair
    lane_bytes: int = 0
    samples: list[Sample] = field(default_factory=list)
    peak_bytes: int = 0


class SpeculativeBench:
    """One run: `vanilla`, every draft, `ngram` and `auto` over all prompts.

    Args:
        engine: The loaded pair; its drafts become arms.
        prompts: What is answered.
        settings: Length, repeats, sampling.
        store: Where the run is saved after every prompt.
        progress: Told about every answer.

    Raises:
        ContextOverflowError: a prompt does not fit the context; nothing has been measured then.
    """

    def __init__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        settings: BenchSettings,
        store: ResultStore,
        progress: Progress = lambda _done, _total, _label: None,
    ) -> None:
        self._engine, self._settings, self._store, self._progress = engine, settings, store, progress
        self._prompts = [
            (prompt, tokenize_chat(engine.target.context, prompt.messages)) for prompt in prompts
        ]
        self._arms: list[_Arm] = []
        self._audits: list[Audit] = []
        self._run_id, self._started = new_run_id(), datetime.now(UTC).isoformat(timespec="seconds")
        self._done = 0

    def run(self) -> BenchResult:
        """Measures everything. Ctrl-C ends it early: what is finished is saved and returned as incomplete.

        Raises:
            NotEnoughMemoryError: there is no room for a KV cache of every arm.
        """
        try:
            self._prepare()
            for repeat in range(self._settings.repeat * MOST_REPEATS):
                for number, (prompt, tokens) in enumerate(self._prompts):
                    if repeat < self._repeats()[number]:
                        self._measure(prompt, tokens, repeat, number)
                        self._store.save(self._result(complete=False))
            result = self._result(complete=True)
            self._store.save(result)
        except KeyboardInterrupt:
            result = self._result(complete=False)
            if result.arms:
                self._store.save(result)
        finally:
            for arm in self._arms:
                arm.lane.close()
        return result

    def _repeats(self) -> list[int]:
        """Of each prompt as many as were asked for; of short answers as many as have the tokens of that many long ones."""
        asked = self._settings.repeat
        lengths = {s.prompt_id: s.predicted_n for s in reversed(self._vanilla())}
        enough = asked * self._settings.max_tokens
        return [
            min(max(asked, math.ceil(enough / lengths.get(prompt.id, math.inf))), asked * MOST_REPEATS)
            for prompt, _ in self._prompts
        ]

    def _vanilla(self) -> list[Sample]:
        return self._arms[0].samples if self._arms else []

    def _prepare(self) -> None:
        """Calibrates, makes the arms, and warms each of them up on the first prompt."""
        engine = self._engine
        total = sum(self._repeats())
        for name in [None, *engine.drafts]:
            self._progress(0, total, f"measuring {name or engine.target.file.name}")
            engine.measure_costs(name)
        self._add_arm(VANILLA, Mode.OFF, None)
        for name in engine.drafts:
            self._add_arm(name, Mode.MODEL, name)
        self._add_arm("ngram", Mode.NGRAM, None)
        self._add_arm(AUTO, Mode.AUTO, engine.best_draft())

    def _add_arm(self, name: str, mode: Mode, draft: str | None) -> None:
        before = resident_bytes()
        longest = max(len(tokens) for _, tokens in self._prompts)
        lane = self._engine.open_context_pair(draft, longest + self._settings.max_tokens + TARGET_ROWS)
        state = self._engine.states[draft]
        arm = _Arm(name, mode, draft, copy.deepcopy(state), lane)
        self._arms.append(arm)
        generator = self._engine.generator(mode, draft, self._settings.sampling, copy.deepcopy(state), lane)
        for _ in generator.generate(self._prompts[0][1], WARM_UP_TOKENS):
            pass
        generator.close()
        arm.lane_bytes = resident_bytes() - before

    def _measure(self, prompt: Prompt, tokens: list[int], repeat: int, number: int) -> None:
        """All arms on one prompt, the audit behind them."""
        self._report(prompt)
        prefill_s = self._read(tokens)
        turn = (number + repeat) % len(self._arms)
        answers = self._answer(turn, prompt, tokens, repeat, prefill_s)
        others = {name: sample for name, sample in answers.items() if name != VANILLA}
        # The gap is one of bare logits: it says nothing about a choice that penalties had a part in.
        judge = self._settings.sampling.is_plain_greedy
        audit = compare_answers(self._arms[0].lane.target, tokens, answers[VANILLA], others, judge=judge)
        # Only whole, audited rounds count: an interrupted prompt leaves no arm with more samples than another.
        self._audits.append(audit)
        for arm in self._arms:
            arm.samples.append(answers[arm.name])
            arm.peak_bytes = max(arm.peak_bytes, self._memory_of(arm))

    def _report(self, prompt: Prompt) -> None:
        self._progress(self._done, sum(self._repeats()) * len(self._arms), f"{prompt.category}: {prompt.id}")

    def _read(self, tokens: list[int]) -> float:
        """Reads a prompt into one lane, timed, and copies the cache into the others."""
        first, *others = (arm.lane for arm in self._arms)
        first.target.clear()
        before = perf_counter()
        first.target.prefill(tokens)
        first.target.logits(1)
        prefill_s = perf_counter() - before
        saved = first.target.save()
        for lane in others:
            lane.target.restore(saved)
            if lane.draft:
                lane.draft.clear()
        return prefill_s

    def _answer(
        self, turn: int, prompt: Prompt, tokens: list[int], repeat: int, prefill_s: float
    ) -> dict[str, Sample]:
        """The answers of all arms, by their names; `turn` says who goes first, and with whose cache.

        Where a cache lies in memory can be worth a percent: so each arm has each in turn.
        """
        arms = self._arms[turn:] + self._arms[:turn]

        def count(_place: int) -> None:
            self._done += 1
            self._report(prompt)

        with ExitStack() as ended:
            generators = []
            for arm, owner in zip(arms, self._arms, strict=True):
                lane = ContextPair(owner.lane.target, arm.lane.draft)
                generators.append(
                    self._engine.generator(arm.mode, arm.draft, self._settings.sampling, arm.state, lane)
                )
                ended.callback(generators[-1].close)
            texts = run_interleaved(
                [g.generate(tokens, self._settings.max_tokens) for g in generators], count
            )
            return {
                arm.name: sample_of(
                    generator.stats,
                    prompt.id,
                    prompt.category,
                    repeat,
                    tokens=tuple(token.id for token in text),
                    prefill_s=prefill_s,
                )
                for arm, generator, text in zip(arms, generators, texts, strict=True)
            }

    def _memory_of(self, arm: _Arm) -> int:
        """Resident memory of a program with this arm alone: the engine's own contexts stand for the arm's lane."""
        unused = sum(d.memory_bytes for name, d in self._engine.drafts.items() if name != arm.draft)
        return resident_bytes() - unused - sum(other.lane_bytes for other in self._arms)

    def _result(self, *, complete: bool) -> BenchResult:
        engine, settings = self._engine, self._settings
        arms = tuple(
            summarize_arm(
                arm.name,
                arm.draft,
                arm.samples,
                self._vanilla(),
                t_d_s=engine.states[arm.draft].costs.draft_step_s if arm.draft else None,
                peak_memory_bytes=arm.peak_bytes,
                note=_note(arm),
            )
            for arm in self._arms
            if has_figures(arm.samples)
        )
        plain = engine.states.get(None)
        return BenchResult(
            run_id=self._run_id,
            started_at=self._started,
            target=engine.target.file.name,
            env=describe_environment(engine, engine.settings.n_threads or default_threads()),
            settings={**asdict(settings), "prompts": len(self._prompts)},
            arms=arms,
            audit=merge_audits(self._audits),
            calibration=CalibrationFigures(
                {name: state.costs.draft_step_s for name, state in engine.states.items() if name},
                dict(sorted(plain.costs.verify.points.items())) if plain else {},
            ),
            complete=complete,
        )


def _note(arm: _Arm) -> str:
    """What the arm drafted with, in words."""
    if arm.mode is Mode.OFF:
        return "plain decoding"
    tested = sum(sample.draft_n for sample in arm.samples)
    if not tested:
        return "speculation stayed off: no draft promised to pay"
    passes = sum(sample.target_passes for sample in arm.samples)
    source = {Mode.NGRAM: "the text itself", Mode.MODEL: arm.draft}.get(arm.mode, "both")
    return f"{tested} tokens drafted from {source} in {passes} target passes"
