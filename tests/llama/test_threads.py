"""Two contexts of two models in two threads: each comes to what it would alone, and hears only its own log."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest

from edgespec.errors import ModelFileError
from edgespec.llama.build import ggml_kernels, native_kernels
from edgespec.llama.context import Context
from edgespec.llama.library import native_lines
from edgespec.llama.model import Model
from edgespec.llama.quantizer import QuantizeSettings, quantize_file
from edgespec.llama.shortlist import Shortlist
from tests.llama.engines import TEXT, settings
from tests.llama.test_library import run_clean
from tests.threads import run_together
from tests.tiny import TinyShape, make_tiny_model

ROUNDS = int(os.environ.get("THREADS_ROUNDS", "200"))
"""Decodes of each thread; 10,000 in the long form."""
SHAPE = TinyShape(embedding=256, heads=4, kv_heads=2, feed_forward=256)
VOCABULARIES = (512, 2048)
needs_kernels = pytest.mark.skipif(not native_kernels().isa, reason="this build has no kernels of edgespec's")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Model]]:
    """In Q4_0, with different vocabularies: the longer one's list reaches beyond the end of the shorter."""
    folder = tmp_path_factory.mktemp("threads")
    loaded = []
    for number, n_vocab in enumerate(VOCABULARIES):
        dense = make_tiny_model(folder / "dense.gguf", shape=SHAPE, vocab_size=n_vocab, seed=number)
        file = folder / f"{n_vocab}.gguf"
        quantize_file(dense, file, QuantizeSettings("Q4_0", "Q4_0", "Q4_0", pure=True), n_threads=1)
        loaded.append(Model(file))
    yield loaded
    for model in loaded:
        model.close()


def guesses(model: Model, n_threads: int, n_rounds: int) -> list[tuple[int, float]]:
    """A draft's guesses with their leads, each on the one before, while the list of its tokens changes."""
    random, came = Random(model.n_vocab), list[tuple[int, float]]()
    shortlist = Shortlist(model.n_vocab, 64, extra=[model.n_vocab - 1])
    prompt = model.tokenize(TEXT)
    with Context(model, settings(n_threads=n_threads), shortlist=shortlist) as context:
        context.prefill(prompt)
        while len(came) < n_rounds:
            if context.free_tokens < 2:
                context.rollback(len(prompt))
            if random.random() < 0.1:
                shortlist.reset()
            shortlist.add(random.sample(range(model.n_vocab), 3))
            came.append(context.best_guess())
            context.decode([came[-1][0]])
    return came


@needs_kernels
def test_drafts_with_lists_of_their_own_guess_in_two_threads_as_they_do_alone(models: list[Model]):
    works = [
        partial(guesses, model, n_threads, ROUNDS) for model, n_threads in zip(models, (1, 2), strict=True)
    ]
    alone = [work() for work in works]
    assert run_together(works) == alone


@contextmanager
def applied_elsewhere(shortlist: Shortlist) -> Iterator[None]:
    """A list that another thread has applied for as long as the block runs."""
    applied, over = threading.Event(), threading.Event()

    def apply() -> None:
        with shortlist.applied():
            applied.set()
            over.wait()

    thread = threading.Thread(target=apply)
    thread.start()
    applied.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()


@needs_kernels
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_list_that_another_thread_applies_limits_nothing_here(models: list[Model], n_threads: int):
    """Threads may never meet by chance where the machine is busy; here they do."""
    model = models[1]
    with Context(model, settings(n_threads=n_threads)) as context:
        context.decode(model.tokenize(TEXT))
        alone = context.logits(1)[0].copy()
        context.clear()
        with applied_elsewhere(Shortlist(model.n_vocab, 64)):
            context.decode(model.tokenize(TEXT))
        np.testing.assert_array_equal(context.logits(1)[0], alone)


def logits_of(model: Model, n_rounds: int) -> np.ndarray:
    """After each of many texts, `[n_rounds, n_vocab]`, without a list."""
    random = Random(0)
    with Context(model, settings(n_threads=2)) as context:
        rows = []
        for _ in range(n_rounds):
            context.clear()
            context.decode([random.randrange(3, 250) for _ in range(random.randrange(1, 9))])
            rows.append(context.logits(1)[0].copy())
    return np.array(rows)


def logits_of_ggml(model: Model, n_rounds: int) -> np.ndarray:
    rows = []
    for _ in range(n_rounds):
        with ggml_kernels():
            rows.append(logits_of(model, 1)[0])
    return np.array(rows)


@needs_kernels
def test_the_switch_to_ggmls_kernels_is_never_met_half_thrown(models: list[Model]):
    """Threads of one product that see it differently would wait for each other for ever."""
    ours, ggmls = partial(logits_of, models[0], ROUNDS // 2), partial(logits_of_ggml, models[1], ROUNDS // 8)
    alone = [ours(), ggmls()]
    assert not np.array_equal(alone[1][0], logits_of(models[1], 1)[0])
    for together, one in zip(run_together([ours, ggmls]), alone, strict=True):
        np.testing.assert_array_equal(together, one)


def test_each_thread_hears_only_its_own_log(tiny_model: Path):
    names = [f"nothing-{number}.gguf" for number in range(3)]

    def fail(name: str) -> list[str]:
        said = []
        for _ in range(40):
            with native_lines(said.append), pytest.raises(ModelFileError) as caught:
                Model(tiny_model.with_name(name))
            said.append(caught.value.message)
        return said

    for name, said in zip(names, run_together([partial(fail, name) for name in names]), strict=True):
        assert len(said) > 40
        assert any("failed to open GGUF file" in line and name in line for line in said)
        assert not [line for line in said for other in names if other != name and other in line]


def test_the_library_is_loaded_once_by_threads_that_begin_together(tiny_model: Path):
    code = """
import sys
from functools import partial
from pathlib import Path
from edgespec.llama.library import load_library
from edgespec.llama.model import Model
from tests.threads import run_together
libraries = run_together([load_library] * 8)
run_together([partial(Model, Path(sys.argv[1]))] * 4)
print(len(set(map(id, libraries))))
"""
    for _ in range(3):
        ran = run_clean(code, tiny_model)
        assert (ran.stdout, ran.stderr) == ("1\n", "")
