"""A distilled draft: its last blocks are trained on what the target says to questions of its own.

The search's option `distills`. What is saved is what the search measures: the distilled draft is a candidate like the
others, with the acceptance of the draft as it was beside it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgespec.catalog.derived import find_or_make
from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.eval_callback import EvalCallback, Node
from edgespec.llama.interrupts import HeldInterrupts
from edgespec.llama.model import Model
from edgespec.paths import derived_file, identity_of
from edgespec.progress import SILENT, Progress
from edgespec.tune.distillation_data import DistillationSample, write_distillation_data
from edgespec.tune.variants import TargetVariant
from quant.gguf.plan import GgufPlan, copy_of
from quant.gguf.recipe import stamp
from quant.gguf.tensors import computed, find_tensor, replace_tensors
from quant.gguf.writer import write_gguf
from quant.numeric.distill import Exercise, Student, TrainSettings, train

DATA_TOKENS: Final = 24_576
"""Answered tokens that a draft is trained on; some thousand were too few to gain anything (docs/tune.md)."""
N_BLOCKS: Final = 4
"""Trained, of the draft's last: they hold what follows from the text, and fit a laptop's memory in single precision."""

_TRAINED_TYPES: Final = {"Q4_0": "Q4_1"}
"""Published weights are often Q5_0, and half of its values lie on the edges of Q4_0's roundings: there the smallest change
moves a weight by a whole step, all those of a direction together, which cost a 0.5B draft seven points of acceptance."""


def find_or_make_distilled(
    meta: GgufMetadata,
    fast: Path,
    target: TargetVariant,
    n_threads: int,
    has_time: Callable[[], bool],
    progress: Progress = SILENT,
) -> Path:
    """The draft with its last blocks trained on the target's answers, in types as cheap as its fast copy's; made once.

    Args:
        meta: Of the draft as published: its weights are where training begins.
        fast: Its fast copy: what comes before the trained blocks is computed with this one.
        target: What is to be agreed with.
        n_threads: Of the CPU.
        has_time: Whether more data may be written; training takes about half as long as writing.
        progress: Several stages.

    Raises:
        UsageError: an architecture whose gradients are not computed.
        NotEnoughMemoryError: no room for a context.
        DiskSpaceError: no room for the file.
    """
    file = derived_file(fast, f"tune-taught.{identity_of(target.path)}.gguf")

    def make() -> None:
        student, n_tokens = _taught(meta, fast, target, n_threads, has_time, progress)
        step = {"step": "distill", "blocks": student.n_blocks, "tokens": n_tokens}
        write_gguf(stamp(distilled_plan(fast, student), step), file, force=True)

    return find_or_make(file, make, progress)


def _taught(
    meta: GgufMetadata,
    fast: Path,
    target: TargetVariant,
    n_threads: int,
    has_time: Callable[[], bool],
    progress: Progress,
) -> tuple[Student, int]:
    """The last blocks of the draft, trained, and how many tokens of answers they were trained on."""
    with Model(target.path) as model:
        samples = write_distillation_data(model, DATA_TOKENS, n_threads, has_time, progress)
    listed = np.unique(np.concatenate([one.likeliest.ravel() for one in samples]))
    student = Student(copy_of(meta), min(N_BLOCKS, (meta.block_count or 2) - 1), listed)
    exercises = make_exercises(fast, student, samples, n_threads, progress)
    train(student, exercises, TrainSettings(), progress=progress)
    return student, sum(one.n_answered for one in samples)


def make_exercises(
    path: Path,
    student: Student,
    samples: Sequence[DistillationSample],
    n_threads: int,
    progress: Progress = SILENT,
) -> list[Exercise]:
    """The samples as the trained blocks meet them: with the residuals that the blocks before compute.

    Args:
        path: The file that computes them.
        student: The trained blocks, of the same model.
        samples: Whose likeliest tokens are all among the student's.
        n_threads: Of the CPU.
        progress: A stage of its own.

    Raises:
        NotEnoughMemoryError: no room for a context.
    """
    residuals: list[NDArray[np.float32]] = []  # [n_tokens - 1, n_embd] each

    def take(node: Node) -> None:
        residuals.append(node.output.copy())

    callback = EvalCallback(nodes={f"l_out-{student.first_block - 1}": take})
    longest = max(len(one.tokens) for one in samples)
    settings = ContextSettings(longest, n_threads, n_batch=longest)
    progress.stage("reading distillation data", len(samples))
    with Model(path) as model, Context(model, settings, callback=callback) as context:
        for sample in samples:
            context.clear()
            with HeldInterrupts():
                context.decode(sample.tokens[:-1].tolist())
            progress.advance()
    return [
        Exercise(
            residual,
            sample.n_prompt - 1,
            np.searchsorted(student.listed, sample.likeliest).astype(np.int32),
            sample.probabilities,
        )
        for residual, sample in zip(residuals, samples, strict=True)
    ]


def distilled_plan(path: Path, student: Student) -> GgufPlan:
    """The file with the trained weights in their places, in the types that it has or those of `_TRAINED_TYPES`."""
    plan = copy_of(read_metadata(path))
    changed = {"output_norm.weight": student.norm}
    for number, block in enumerate(student.blocks, student.first_block):
        changed |= {f"blk.{number}.{name}": weight for name, weight in block.items()}
    tensors = {}
    for name, weight in changed.items():
        tensor = find_tensor(plan, name)
        if tensor is not None:
            kind = _TRAINED_TYPES.get(tensor.ggml_type, tensor.ggml_type)
            tensors[name] = computed(tensor, tensor.shape, partial(np.asarray, weight), ggml_type=kind)
    return replace_tensors(plan, tensors)
