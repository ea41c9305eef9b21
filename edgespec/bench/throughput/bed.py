"""Runs one point: contexts for its batch, the layout of the cache that is faster here, timed batches."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from edgespec.bench.throughput.result import Run
from edgespec.bench.throughput.shapes import Shape
from edgespec.bench.throughput.subject import Subject, context_settings
from edgespec.decode.batched import BatchAnswer, generate_batch
from edgespec.decode.batched_speculative import MOST_DRAFTED, SpeculativeBatch, measure_batch_costs
from edgespec.lifetime import Closes
from edgespec.llama.context import Context
from edgespec.llama.library import default_threads
from edgespec.llama.memory import release_freed_memory
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampling
from edgespec.llama.sequences import SequencesContext
from edgespec.session.loading import choose_draft_file, place_file, resident_bytes, warm_up
from edgespec.session.settings import EngineSettings

PROMPT = "The Leaning Tower of Pisa is known for"
"""The published harness's prompt (Shortened LLaMA, gen_batch_eval_time.py); repeated up to the shape's length."""
UNIFIED, SPLIT = "unified", "split"
_TRIAL_STEPS = 4
_WARM_UP_CONTEXT = 256

Stepped = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """A run and the memory that its contexts took."""

    run: Run
    context_bytes: int


class Bed(Closes):
    """A subject, loaded and ready to run. `loaded_bytes` is what its weights take.

    Args:
        subject: Which curve.
        engine: Placement, threads, types, flash attention.
        sampling: How tokens are chosen.
        n_ctx: Tokens of its largest context: layers are placed so that it fits a device, too.

    Raises:
        NotEnoughMemoryError: no room for the weights.
        ModelFileError: llama.cpp cannot load them.
    """

    def __init__(self, subject: Subject, engine: EngineSettings, sampling: Sampling, n_ctx: int) -> None:
        self.subject, self._engine, self._sampling = subject, engine, sampling
        before = resident_bytes()
        self._model = Model(subject.model.path, place_file(subject.model, engine.placement, n_ctx, engine))
        self._draft: Model | None = None
        try:
            if subject.draft:
                placement = place_file(subject.draft, engine.draft_placement, n_ctx, engine)
                draft = choose_draft_file(subject.draft, placement, engine, lambda _text: None)
                self._draft = Model(draft.path, placement)
            for model in filter(None, (self._model, self._draft)):
                with Context(
                    model, engine.context(_WARM_UP_CONTEXT, engine.n_threads or default_threads(), 1)
                ) as one:
                    warm_up(one)
        except BaseException:
            self.close()
            raise
        self.loaded_bytes = max(0, resident_bytes() - before)

    def run(
        self, shape: Shape, batch: int, repeat: int, *, layout: str, warm_up_n: int, stepped: Stepped
    ) -> Measured:
        """Warm-up batches of a few tokens, and one that counts.

        Raises:
            NotEnoughMemoryError: no room for the contexts.
            EngineError: llama.cpp failed.
        """
        prompts = [self._prompt(shape.prompt_n)] * batch
        release_freed_memory()
        before = resident_bytes()
        with ExitStack() as opened:
            target = opened.enter_context(self._context(self._model, shape, batch, layout))
            answer = self._answerer(target, opened, shape, batch, prompts, stepped)
            for _ in range(warm_up_n):
                answer(min(shape.output_n, _TRIAL_STEPS))
            found = answer(shape.output_n)
            taken = resident_bytes() - before
        return Measured(_run_of(found, repeat), taken)

    def step_s(self, shape: Shape, batch: int, layout: str) -> float:
        """Seconds of one step of the batch when half of its answers are out: what the sweep's plan is made of."""
        with self._context(self._model, shape, batch, layout) as context:
            half = shape.output_n // 2
            # Where the prompt's cells are shared, fewer of them are in use.
            filled = shape.prompt_n // batch + half if layout == UNIFIED else shape.prompt_n + half
            context.fill(self._prompt(max(1, filled)))
            tokens = np.full(batch, self._prompt(1)[0], np.int32)
            taken = []
            for _ in range(_TRIAL_STEPS):
                before = perf_counter()
                context.step(tokens)
                context.logits(1)
                taken.append(perf_counter() - before)
            return min(taken)

    def close(self) -> None:
        """Frees the weights. A second call does nothing."""
        if self._draft:
            self._draft.close()
        self._model.close()

    def _answerer(
        self,
        target: SequencesContext,
        opened: ExitStack,
        shape: Shape,
        batch: int,
        prompts: list[list[int]],
        stepped: Stepped,
    ) -> Callable[[int], BatchAnswer]:
        if self._draft is None:
            return lambda n: generate_batch(target, prompts, n, self._sampling, stepped=stepped)
        draft = opened.enter_context(self._context(self._draft, shape, batch, UNIFIED))
        pair = SpeculativeBatch(target, draft, measure_batch_costs(target, draft))
        return lambda n: pair.generate(prompts, n, self._sampling, stepped=stepped)

    def _context(self, model: Model, shape: Shape, batch: int, layout: str) -> SequencesContext:
        rows_each = MOST_DRAFTED + 1 if self._draft else 1
        settings = context_settings(
            self._engine, shape, batch, unified=layout == UNIFIED, rows_each=rows_each
        )
        return SequencesContext(model, settings)

    def _prompt(self, length: int) -> list[int]:
        tokens = self._model.tokenize(PROMPT)
        body = self._model.tokenize(" " + PROMPT, add_special=False)
        while len(tokens) < length:
            tokens = tokens + body
        return tokens[:length]


def _run_of(answer: BatchAnswer, repeat: int) -> Run:
    return Run(
        repeat,
        answer.latency_s,
        answer.ttft_s,
        answer.engine_s,
        answer.draft_n,
        answer.draft_n_accepted,
    )
