"""Runs one point: contexts for its batch, the layout of the cache that is faster here, timed batches."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from edgespec.bench.throughput.result import Run
from edgespec.bench.throughput.shapes import Shape
from edgespec.bench.throughput.variant import Subject, context_settings
from edgespec.catalog.model_file import ModelFile
from edgespec.decode.batched import BatchAnswer, generate_batch
from edgespec.decode.batched_speculative import MOST_DRAFTED, SpeculativeBatch, measure_batch_costs
from edgespec.lifetime import Closes
from edgespec.llama.context import Context
from edgespec.llama.library import default_threads
from edgespec.llama.memory import release_freed_memory
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement, PlacementRequest
from edgespec.llama.sampler import Sampling
from edgespec.llama.sequences import SequencesContext
from edgespec.session.fast_draft import choose_draft_file
from edgespec.session.loading import place_file, resident_bytes, warm_up
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


class LoadedModels(Closes):
    """Models by their files, each loaded once and warm.

    Args:
        engine: Placement, threads, types.
        n_ctx: Tokens of the largest context: layers are placed so that it fits a device, too.
    """

    def __init__(self, engine: EngineSettings, n_ctx: int) -> None:
        self.engine, self._n_ctx = engine, n_ctx
        self._loaded: dict[Path, tuple[Model, int]] = {}

    def load(self, file: ModelFile, placement: Placement) -> tuple[Model, int]:
        """The model, and what its weights take in bytes.

        Raises:
            NotEnoughMemoryError: no room for the weights.
            ModelFileError: llama.cpp cannot load them.
        """
        if file.path not in self._loaded:
            before = resident_bytes()
            model = Model(file.path, placement)
            self._loaded[file.path] = (model, 0)
            n_threads = self.engine.n_threads or default_threads()
            with Context(model, self.engine.context(_WARM_UP_CONTEXT, n_threads, 1)) as context:
                warm_up(context)
            self._loaded[file.path] = (model, max(0, resident_bytes() - before))
        return self._loaded[file.path]

    def place(self, file: ModelFile, request: PlacementRequest) -> Placement:
        """Where the layers of a model go."""
        return place_file(file, request, self._n_ctx, self.engine)

    def close(self) -> None:
        """Frees the weights. A second call does nothing."""
        for model, _ in self._loaded.values():
            model.close()


class Bed:
    """A subject, ready to run. `loaded_bytes` is what its weights take.

    Args:
        subject: Which curve.
        models: Loads its files; frees them, too.
        sampling: How tokens are chosen.

    Raises:
        NotEnoughMemoryError: no room for the weights.
        ModelFileError: llama.cpp cannot load them.
    """

    def __init__(self, subject: Subject, models: LoadedModels, sampling: Sampling) -> None:
        self.subject, self._engine, self._sampling = subject, models.engine, sampling
        placement = models.place(subject.model, self._engine.placement)
        self._model, self.loaded_bytes = models.load(subject.model, placement)
        self._draft: Model | None = None
        if subject.draft:
            placement = models.place(subject.draft, self._engine.draft_placement)
            draft = choose_draft_file(subject.draft, placement, self._engine)
            self._draft, draft_bytes = models.load(draft, placement)
            self.loaded_bytes += draft_bytes

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
