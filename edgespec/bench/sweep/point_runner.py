"""Runs one point: contexts for its batch, the layout of the cache that is faster here, timed batches."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np

from edgespec.bench.builtin_text import TIMING_PROMPT
from edgespec.bench.sweep.variant import Variant, context_settings, largest_context
from edgespec.bench.throughput.result import Run
from edgespec.bench.throughput.shapes import Batch, Layout, Shape
from edgespec.catalog.model_file import ModelFile
from edgespec.decode.batched import BatchAnswer, generate_batch
from edgespec.decode.batched_speculative import SpeculativeBatch, measure_batch_costs
from edgespec.lifetime import Closes
from edgespec.llama.context import Context
from edgespec.llama.library import default_threads
from edgespec.llama.memory import release_freed_memory
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement, PlacementRequest
from edgespec.llama.sampler import Sampling
from edgespec.llama.sequences import SequencesContext
from edgespec.session.fast_draft import choose_draft_file
from edgespec.session.loading import resident_bytes, warm_up
from edgespec.session.placing import place_file
from edgespec.session.settings import EngineSettings

_TRIAL_STEPS: Final = 4
"""Tokens of a warm-up batch, and decodes of a trial."""
_WARM_UP_CONTEXT: Final = 256

Stepped = Callable[[], None]
"""Called after every decode of a batch."""
_Answer = Callable[[int, Stepped], BatchAnswer]
"""Writes so many tokens after every prompt of a batch."""


@dataclass(frozen=True, slots=True)
class TimedBatch:
    """A run and the memory that its contexts took."""

    run: Run
    context_bytes: int


class LoadedModels(Closes):
    """Models by their files, each loaded once and warm.

    Args:
        engine: Placement, threads, types.
        shapes: Of the prompts and answers that they are for.
        sizes: Of the batches: layers are placed so that the largest context fits a device, too.
    """

    def __init__(self, engine: EngineSettings, shapes: Sequence[Shape], sizes: Sequence[int]) -> None:
        self.engine, self._shapes, self._sizes = engine, shapes, sizes
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
                warm_up(context, file.meta)
            self._loaded[file.path] = (model, max(0, resident_bytes() - before))
        return self._loaded[file.path]

    def place(self, file: ModelFile, request: PlacementRequest, rows_each: int) -> Placement:
        """Where the layers of a model go.

        Args:
            file: The model.
            request: What was asked for it.
            rows_each: Rows of each sequence in one of its decodes.

        Raises:
            UsageError: there is not such a device.
            EngineError: an RPC server cannot be reached.
        """
        largest = largest_context(self.engine, self._shapes, self._sizes, rows_each)
        return place_file(file, request, largest, self.engine)

    def close(self) -> None:
        """Frees the weights. A second call does nothing."""
        for model, _ in self._loaded.values():
            model.close()


class PointRunner:
    """Runs batches of one variant. `loaded_bytes` is what its weights take.

    Args:
        variant: What is run.
        models: Loads its files; frees them, too.
        sampling: How tokens are chosen.

    Raises:
        NotEnoughMemoryError: no room for the weights.
        ModelFileError: llama.cpp cannot load them.
    """

    def __init__(self, variant: Variant, models: LoadedModels, sampling: Sampling) -> None:
        self.variant, self._engine, self._sampling = variant, models.engine, sampling
        placement = models.place(variant.model, self._engine.placement, variant.rows_each)
        self._model, self.loaded_bytes = models.load(variant.model, placement)
        self._draft: Model | None = None
        if variant.draft:
            placement = models.place(variant.draft, self._engine.draft_placement, variant.rows_each)
            draft = choose_draft_file(variant.draft, placement, self._engine)
            self._draft, draft_bytes = models.load(draft, placement)
            self.loaded_bytes += draft_bytes

    def run(
        self, batch: Batch, repeat: int, *, layout: Layout, warm_up_n: int, stepped: Stepped
    ) -> TimedBatch:
        """Warm-up batches of a few tokens, and one that counts.

        Args:
            batch: What is answered.
            repeat: Number of the run.
            layout: Of the target's cache.
            warm_up_n: How many warm-up batches.
            stepped: Told about the decodes of the batch that counts.

        Raises:
            NotEnoughMemoryError: no room for the contexts.
            EngineError: llama.cpp failed.
        """
        release_freed_memory()
        before = resident_bytes()
        with ExitStack() as opened:
            answer = self._prepare(batch, layout, opened)
            for _ in range(warm_up_n):
                answer(min(batch.shape.output_n, _TRIAL_STEPS), lambda: None)
            found = answer(batch.shape.output_n, stepped)
            taken = resident_bytes() - before
        return TimedBatch(_run_of(found, repeat), taken)

    def step_s(self, batch: Batch, layout: Layout) -> float:
        """Seconds of one step of the batch when half of its answers are out: what the sweep's plan is made of.

        Raises:
            NotEnoughMemoryError: no room for the context.
        """
        shape = batch.shape
        with self._context(self._model, batch, layout) as context:
            half = shape.output_n // 2
            # Where the prompt's cells are shared, fewer of them are in use.
            filled = (
                shape.prompt_n // batch.size + half if layout is Layout.UNIFIED else shape.prompt_n + half
            )
            context.fill(self._prompt(max(1, filled)))
            tokens = np.full(batch.size, self._prompt(1)[0], np.int32)
            taken = []
            for _ in range(_TRIAL_STEPS):
                before = perf_counter()
                context.step(tokens)
                context.logits(1)
                taken.append(perf_counter() - before)
            return min(taken)

    def _prepare(self, batch: Batch, layout: Layout, opened: ExitStack) -> _Answer:
        prompts = [self._prompt(batch.shape.prompt_n)] * batch.size
        target = opened.enter_context(self._context(self._model, batch, layout))
        if self._draft is None:
            return lambda n, stepped: generate_batch(target, prompts, n, self._sampling, stepped=stepped)
        draft = opened.enter_context(self._context(self._draft, batch, Layout.UNIFIED))
        pair = SpeculativeBatch(target, draft, measure_batch_costs(target, draft))
        return lambda n, stepped: pair.generate(prompts, n, self._sampling, stepped=stepped)

    def _context(self, model: Model, batch: Batch, layout: Layout) -> SequencesContext:
        return SequencesContext(model, context_settings(self._engine, batch, layout, self.variant.rows_each))

    def _prompt(self, length: int) -> list[int]:
        """The first `length` tokens of the timing prompt, repeated as often as it takes."""
        tokens = self._model.tokenize(TIMING_PROMPT)
        body = self._model.tokenize(" " + TIMING_PROMPT, add_special=False)
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
