"""edgespec's own kernels for batches of a few rows: the same figures for every size of batch, and those of ggml's kernels."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgespec.llama.build import native_kernels
from edgespec.llama.context import Context
from edgespec.llama.kv_types import KvType
from edgespec.llama.model import Model
from edgespec.llama.quantizer import QuantizeSettings, quantize_file
from edgespec.llama.sequences import SequencesContext
from tests.llama.engines import TEXT, settings
from tests.tiny import TinyShape, make_tiny_model
from tests.tiny_memories import make_tiny_memory

ROWS = range(1, 17)
OF_256 = ("Q4_K", "Q5_K", "Q6_K", "Q3_K", "Q2_K", "IQ4_XS")
"""Types of which rows have to be multiples of 256."""
TYPES = (*OF_256, "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "MXFP4", "F16", "BF16")
MIXTURES = {f"Q{bits}_K": f"Q{bits}_K_S" for bits in (3, 4, 5)} | {"MXFP4": "MXFP4_MOE"}
"""Files that have the type as their first one, where they have another name."""
SHAPE = TinyShape(blocks=2, embedding=512, heads=8, kv_heads=4, feed_forward=768)
_PRINT = """
import sys
from pathlib import Path
import numpy as np
from edgespec.llama.build import native_kernels
from edgespec.llama.kv_types import KvType
from tests.llama.test_kernels import logits_of_batch
path, kv_type = Path(sys.argv[1]), KvType[sys.argv[3]]
found = [
    logits_of_batch(path, rows, 2, length=n, kv_type=kv_type) for n in (0, 600) for rows in (1, 3, 8, 16)
]
np.savez(sys.argv[2], *found)
print(repr(native_kernels().isa))
"""


PROMPT_ROWS = 75
"""Rows of a batch that takes several tiles, the last of them not full."""
LONG = 600
"""Tokens of a text from where ggml by itself shares one row's attention out otherwise than several rows'."""


def logits_of_batch(
    path: Path, rows: int, n_threads: int, *, length: int = 0, kv_type: KvType = KvType.F16
) -> NDArray[np.float32]:
    """Logits of the last rows of a fixed text, decoded in one batch after the rest; shape (rows, n_vocab).

    The text is repeated up to `length` tokens.
    """
    changes = {"n_threads": n_threads, "n_ctx": max(256, length + 64), "type_k": kv_type, "type_v": kv_type}
    with Model(path) as model, Context(model, settings(**changes)) as context:
        tokens = model.tokenize(TEXT)
        if length:
            tokens = (tokens * (length // len(tokens) + 1))[:length]
        context.prefill(tokens[: len(tokens) - 16])
        context.decode(tokens[len(tokens) - 16 :][:rows], outputs=rows)
        return context.logits(rows).copy()


@pytest.fixture(scope="module", params=TYPES)
def quantized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kernels")
    shape = SHAPE if request.param in OF_256 else replace(SHAPE, feed_forward=800)
    dense = make_tiny_model(folder / "dense.gguf", shape=shape, vocab_size=512)
    file = folder / f"{request.param}.gguf"
    mixture = MIXTURES.get(request.param, request.param)
    quantize_file(dense, file, QuantizeSettings(mixture, request.param, "Q8_0", pure=True), n_threads=1)
    return file


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_row_has_the_same_logits_in_every_batch(quantized: Path, n_threads: int):
    whole = logits_of_batch(quantized, 16, n_threads)
    for rows in ROWS:
        part = logits_of_batch(quantized, rows, n_threads)
        if native_kernels().isa:
            np.testing.assert_array_equal(part, whole[:rows])
        else:
            np.testing.assert_allclose(part, whole[:rows], rtol=0, atol=0.05)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_a_row_has_the_same_logits_in_every_batch_after_a_long_text(quantized: Path, n_threads: int):
    whole = logits_of_batch(quantized, 16, n_threads, length=LONG)
    for rows in (1, 2, 7):
        part = logits_of_batch(quantized, rows, n_threads, length=LONG)
        if native_kernels().isa:
            np.testing.assert_array_equal(part, whole[:rows])
        else:
            np.testing.assert_allclose(part, whole[:rows], rtol=0, atol=0.1)


@pytest.mark.parametrize("kv_type", [KvType.F16, KvType.Q8_0])
def test_a_row_has_the_same_logits_in_a_prompts_batch_as_alone(quantized: Path, kv_type: KvType):
    with Model(quantized) as model:
        tokens = (model.tokenize(TEXT) * 4)[:PROMPT_ROWS]
        changes = {"n_threads": 2, "n_outputs_max": PROMPT_ROWS, "type_k": kv_type, "type_v": kv_type}
        with Context(model, settings(**changes)) as whole, Context(model, settings(**changes)) as single:
            whole.decode(tokens, outputs=PROMPT_ROWS)
            rows = whole.logits(PROMPT_ROWS)
            for row, token in zip(rows, tokens, strict=True):
                single.decode([token])
                if native_kernels().isa:
                    np.testing.assert_array_equal(row, single.logits(1)[0])
                else:
                    np.testing.assert_allclose(row, single.logits(1)[0], rtol=0, atol=0.1 * row.std())


@pytest.mark.parametrize("kv_type", [KvType.F16, KvType.Q8_0])
def test_a_row_has_the_same_logits_wherever_its_sequence_lies_in_the_cache(quantized: Path, kv_type: KvType):
    with Model(quantized) as model:
        tokens = np.array((model.tokenize(TEXT) * 4)[:80], np.int32)
        one = settings(type_k=kv_type, type_v=kv_type)
        several = replace(one, n_ctx=1024, n_sequences=3, kv_unified=True)
        with Context(model, one) as alone, SequencesContext(model, several) as beside:
            # An odd place to begin at, and then tokens of another sequence between.
            beside.decode(tokens[:37], np.ones(37, np.int32), np.arange(37) == 36)
            for place, token in enumerate(tokens):
                alone.decode([int(token)])
                count = 1 + (place % 3 == 0)
                sequences = np.array([0, 2][:count], np.int32)
                beside.decode(np.repeat(token, count).astype(np.int32), sequences, np.ones(count, np.bool_))
                if native_kernels().isa:
                    np.testing.assert_array_equal(beside.logits(1)[0], alone.logits(1)[0])


def figures_by_switch(
    file: Path, folder: Path, kv_type: KvType = KvType.F16
) -> list[list[NDArray[np.float32]]]:
    """Logits with edgespec's kernels, and with EDGESPEC_KERNELS=0."""
    found = []
    for switch in ("1", "0"):
        out = folder / f"{switch}.npz"
        ran = subprocess.run(
            [sys.executable, "-c", _PRINT, str(file), str(out), kv_type.name],
            env={**os.environ, "EDGESPEC_KERNELS": switch},
            capture_output=True,
            text=True,
            check=True,
        )
        with np.load(out) as arrays:
            found.append([arrays[name] for name in arrays.files])
    assert ran.stdout.strip() == "''", "EDGESPEC_KERNELS=0 leaves the work to ggml"
    return found


def assert_near(ours: NDArray[np.float32], ggmls: NDArray[np.float32]) -> None:
    """Quantized activations may round to the other side after a float sum in another order."""
    assert ours.std() > 0.5
    assert np.sqrt(np.mean((ours - ggmls) ** 2)) < 0.025 * ggmls.std()
    np.testing.assert_allclose(ours, ggmls, rtol=0, atol=0.15 * ggmls.std())


def test_the_figures_are_those_of_ggmls_kernels(quantized: Path, tmp_path: Path):
    for ours, ggmls in zip(*figures_by_switch(quantized, tmp_path), strict=True):
        assert_near(ours, ggmls)


def test_the_figures_of_a_cache_in_q8_0_are_those_of_ggmls_kernels(tmp_path: Path):
    dense = make_tiny_model(tmp_path / "dense.gguf", shape=SHAPE, vocab_size=512)
    for ours, ggmls in zip(*figures_by_switch(dense, tmp_path, KvType.Q8_0), strict=True):
        assert_near(ours, ggmls)


@pytest.fixture(scope="module", params=["Q4_0", "Q5_1", "Q8_0", "MXFP4"])
def experts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of eight for each row, so that those of 16 rows share some."""
    folder = tmp_path_factory.mktemp("experts")
    dense = make_tiny_memory(folder / "dense.gguf", "experts")
    file = folder / f"{request.param}.gguf"
    mixture = MIXTURES.get(request.param, request.param)
    quantize_file(dense, file, QuantizeSettings(mixture, request.param, "Q8_0", pure=True), n_threads=1)
    return file


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_a_row_of_experts_has_the_same_logits_in_every_batch(experts: Path, n_threads: int):
    whole = logits_of_batch(experts, 16, n_threads)
    for rows in ROWS:
        part = logits_of_batch(experts, rows, n_threads)
        if native_kernels().isa:
            np.testing.assert_array_equal(part, whole[:rows])
        else:
            np.testing.assert_allclose(part, whole[:rows], rtol=0, atol=0.05 * whole.std())


def test_the_figures_of_experts_are_those_of_ggmls_kernels(experts: Path, tmp_path: Path):
    """Of most rows: a router that is undecided between two experts takes the other one after a rounding."""
    ours, ggmls = (np.concatenate(figures) for figures in figures_by_switch(experts, tmp_path))
    assert ours.std() > 0.5
    errors = np.sqrt(np.mean((ours - ggmls) ** 2, axis=1))
    assert np.median(errors) < 0.06 * ggmls.std()
