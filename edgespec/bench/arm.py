"""An arm: one way to answer, and what it has answered so far."""

from dataclasses import dataclass, field

from edgespec.bench.result import ArmResult, Sample
from edgespec.bench.summary import summarize_arm
from edgespec.decode.generate import Generator
from edgespec.decode.policy import Mode
from edgespec.decode.token import GenerationStats
from edgespec.llama.context import Context
from edgespec.llama.sampler import Sampling
from edgespec.session.context_pair import ContextPair
from edgespec.session.engine import Engine
from edgespec.session.pair_state import PairState


@dataclass(frozen=True, slots=True)
class ArmSpec:
    """A way to answer: a target with a draft in some mode, and what is known of the pair beforehand."""

    name: str
    """One of its own among those that run together."""
    engine: Engine
    mode: Mode
    draft: str | None
    state: PairState
    draft_length: int | None = None
    """Of every draft; None where it is as long as it pays."""


@dataclass(slots=True)
class Arm:
    """An arm at work, with caches and knowledge of its own: what one arm learns is not known to another."""

    spec: ArmSpec
    state: PairState
    contexts: ContextPair
    samples: list[Sample] = field(default_factory=list)
    stats: GenerationStats = field(default_factory=GenerationStats)
    """Of the answer that is under way, or of the last one."""
    context_bytes: int = 0
    """Growth of resident memory through its caches and buffers."""
    peak_bytes: int = 0
    """Highest resident memory of a program with this arm alone."""

    @property
    def name(self) -> str:
        """`plain`, a draft's name, `ngram`, `auto`, `fixed-2`, or what else tells it from the others."""
        return self.spec.name

    @property
    def engine(self) -> Engine:
        """With its target."""
        return self.spec.engine

    def generator(self, state: PairState, target: Context, sampling: Sampling) -> Generator:
        """For one answer.

        Args:
            state: What is known; corrected on the way.
            target: The arm's own context of the target, or another's that holds the same.
            sampling: How tokens are picked.
        """
        spec, contexts = self.spec, ContextPair(target, self.contexts.draft)
        return self.engine.generator(spec.mode, spec.draft, sampling, state, contexts, spec.draft_length)

    def result(self, first: "Arm") -> ArmResult:
        """The figures of all samples, against those of the first arm.

        Raises:
            EdgespecError: no answer of this arm counts.
        """
        return summarize_arm(
            self.name,
            self.spec.draft,
            self.samples,
            first.samples,
            t_d_s=self.spec.state.costs.draft_step_s if self.spec.draft else None,
            peak_memory_bytes=self.peak_bytes,
            note=self._note(),
            draft_length=self.spec.draft_length,
        )

    def _note(self) -> str:
        """What it drafted with, in words."""
        if self.spec.mode is Mode.OFF:
            return "plain decoding"
        tested = sum(sample.draft_n for sample in self.samples)
        if not tested:
            is_fixed = self.spec.draft_length is not None
            return "nothing was drafted" if is_fixed else "speculation stayed off: no draft promised to pay"
        passes = sum(sample.target_passes for sample in self.samples)
        mode = self.spec.mode if self.spec.draft else Mode.NGRAM
        source = {Mode.NGRAM: "the text itself", Mode.MODEL: self.spec.draft}.get(mode, "both")
        length = f", {self.spec.draft_length} at a time," if self.spec.draft_length is not None else ""
        return f"{tested} tokens drafted from {source}{length} in {passes} target passes"
