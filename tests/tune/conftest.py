"""What several tests of tune read."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgespec.catalog.metadata import read_metadata
from edgespec.chat.messages import ChatMessage
from edgespec.decode.replay import Recording
from edgespec.llama.model import Model
from edgespec.tune.answers import Answers, find_or_record_answers
from edgespec.tune.recordings import record_answers
from edgespec.tune.variants import PUBLISHED, TargetVariant
from quant.gguf.plan import copy_of
from quant.gguf.tensors import computed, find_tensor, planned_weights, replace_tensors
from quant.gguf.writer import write_gguf
from quant.measure import activations, evaluate
from tests.tune.made_up import shorter_answers


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models are slower with more threads, which wait for each other."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (activations, evaluate):
            patch.setattr(module, "default_threads", lambda: 1)
        yield


QUESTIONS = [[ChatMessage("user", text)] for text in ("Name three colours.", "Say a word.", "Why?")]


@pytest.fixture(scope="session")
def recordings(tiny_model: Path) -> list[Recording]:
    """What `tiny_model` answers to three questions."""
    with Model(tiny_model) as model:
        return record_answers(model, QUESTIONS, 1)


@pytest.fixture(scope="session")
def ending_model(tiny_folder: Path, tiny_model: Path, recordings: list[Recording]) -> Path:
    """`tiny_model`, but where it would say the eleventh token of the first recording it ends its answer, or before."""
    plan = copy_of(read_metadata(tiny_model))
    with Model(tiny_model) as model:
        end = next(token for token in range(model.n_vocab) if model.is_end(token))
    weights = np.array(planned_weights(plan, "output.weight"))
    weights[end] = 1.2 * weights[recordings[0].tokens[10]]
    tensor = find_tensor(plan, "output.weight")
    assert tensor is not None
    changed = computed(tensor, tensor.shape, lambda: weights)
    file = tiny_folder / "tiny-ending.gguf"
    write_gguf(replace_tensors(plan, {tensor.name: changed}), file)
    return file


@pytest.fixture(scope="session")
def answers(tiny_model: Path) -> Answers:
    """What `tiny_model` answers to the questions of a search."""
    return find_or_record_answers(TargetVariant(PUBLISHED, tiny_model), 1)


@pytest.fixture(scope="module")
def few_and_short_answers() -> Iterator[None]:
    """Searches of this module do the same in less time."""
    with shorter_answers():
        yield
