"""A draft that is taught: its last blocks are trained on what the target says to questions of its own.

The option `--distill` of `edgespec tune`. What is kept is what the search measures: the taught draft is a candidate like
the others, with the acceptance of the untaught one beside it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from edgespec.catalog.metadata import GgufMetadata, is_whole, read_metadata
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.eval_callback import EvalCallback, Node
from edgespec.llama.interrupts import HeldInterrupts
from edgespec.llama.model import Model
from edgespec.paths import derived_file, identity_of
from edgespec.tune.distillation_data import Lesson, write_lessons
from edgespec.tune.variants import TargetForm
from quant.gguf.plan import GgufPlan, copy_of
from quant.gguf.recipe import stamp
from quant.gguf.tensors import computed, find_tensor, replace_tensors
from quant.gguf.writer import write_gguf
from quant.numeric.distill import Exercise, Student, TrainSettings, train
from quant.numeric.residual_stream import Matrix
from quant.progress import FromStages, StageProgress

LESSON_TOKENS: Final = 24_576
N_BLOCKS: Final = 4
"""Trained, of the draft's last: they hold what follows from the text, and fit a laptop's memory in single precision."""

_TRAINED_TYPES: Final = {"Q4_0": "Q4_1"}
"""Published weights are often Q5_0, and half of its values lie on the edges of Q4_0's roundings: there the smallest lesson
moves a weight by a whole step, all those of a direction together, which cost a 0.5B draft seven points of acceptance."""


def find_or_make_taught(
    meta: GgufMetadata,
    fast: Path,
    target: TargetForm,
    n_threads: int,
    progress: StageProgress,
    has_time: Callable[[], bool],
) -> Path:
    """The draft with its last blocks trained on the target's answers, in types as cheap as its fast copy's; made once.

    Args:
        meta: The draft as published: its weights are where training begins.
        fast: Its fast copy: what comes before the trained blocks is computed with this one.
        target: What is to be agreed with.
        n_threads: Of the CPU.
        progress: Told about every stage.
        has_time: Whether more lessons may be written; training takes about half as long as writing.

    Raises:
        UsageError: an architecture whose gradients are not computed.
        NotEnoughMemoryError: no room for a context.
        DiskSpaceError: no room for the file.
    """
    file = derived_file(fast, f"tune-taught.{identity_of(target.path)}.gguf")
    if is_whole(file):
        return file
    with Model(target.path) as model:
        report = partial(progress, "writing lessons")
        lessons = write_lessons(model, LESSON_TOKENS, n_threads, report, has_time)
    words = np.unique(np.concatenate([one.likeliest.ravel() for one in lessons]))
    student = Student(copy_of(meta), min(N_BLOCKS, (meta.block_count or 2) - 1), words)
    exercises = exercises_of(fast, student, lessons, n_threads, progress)
    train(student, exercises, TrainSettings(), progress=FromStages(progress))
    step = {"step": "distill", "blocks": student.n_blocks, "tokens": sum(len(one.words) for one in exercises)}
    write_gguf(stamp(taught_plan(fast, student), step), file, force=True)
    return file


def exercises_of(
    path: Path, student: Student, lessons: Sequence[Lesson], n_threads: int, progress: StageProgress
) -> list[Exercise]:
    """The lessons as the trained blocks meet them.

    Raises:
        NotEnoughMemoryError: no room for a context.
    """
    found: list[Matrix] = []
    tap = EvalCallback(nodes={f"l_out-{student.first_block - 1}": partial(_take, found)})
    longest = max(len(one.tokens) for one in lessons)
    settings = ContextSettings(longest, n_threads, n_batch=longest)
    report = partial(progress, "reading lessons")
    with Model(path) as model, Context(model, settings, tap=tap) as context:
        for number, lesson in enumerate(lessons, 1):
            context.clear()
            with HeldInterrupts():
                context.decode(lesson.tokens[:-1].tolist())
            report(number, len(lessons))
    return [
        Exercise(
            stream,
            lesson.n_prompt - 1,
            np.searchsorted(student.listed, lesson.likeliest).astype(np.int32),
            lesson.shares,
        )
        for stream, lesson in zip(found, lessons, strict=True)
    ]


def taught_plan(path: Path, student: Student) -> GgufPlan:
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


def _take(found: list[Matrix], node: Node) -> None:
    found.append(node.output.copy())
