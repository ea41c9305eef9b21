"""ggml's conversions: against the reference reader of the gguf package, and what is refused."""

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from edgespec.errors import EngineError, UsageError
from edgespec.llama.weights import dequantize, quantize, row_bytes

# Root mean square error relative to the weights' own, for normal weights: above it, something is wrong.
WRITTEN = {
    "F32": 0.0,
    "F16": 1e-3,
    "BF16": 1e-2,
    "Q8_0": 0.01,
    "Q6_K": 0.03,
    "Q5_K": 0.05,
    "Q5_1": 0.05,
    "Q5_0": 0.06,
    "Q4_K": 0.09,
    "Q4_1": 0.1,
    "Q4_0": 0.12,
    "IQ4_NL": 0.1,
    "IQ4_XS": 0.1,
    "Q3_K": 0.2,
    "IQ3_S": 0.2,
    "IQ3_XXS": 0.25,
    "Q2_K": 0.4,
}
NEED_IMPORTANCE = ("IQ2_XXS", "IQ2_XS", "IQ1_S")
SHAPE = (12, 512)


@pytest.fixture
def weights() -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal(SHAPE, dtype=np.float32)


@pytest.mark.parametrize("type_name", WRITTEN)
def test_what_is_written_is_read_back_near_what_it_was(weights: NDArray[np.float32], type_name: str):
    data = quantize(weights, type_name)
    assert data.shape == (SHAPE[0] * row_bytes(type_name, SHAPE[1]),)
    back = dequantize(data, type_name, SHAPE)
    assert np.sqrt(np.mean((back - weights) ** 2)) <= WRITTEN[type_name]


@pytest.mark.parametrize(
    "type_name", [*WRITTEN, *NEED_IMPORTANCE, "IQ2_S", "IQ1_M", "TQ1_0", "TQ2_0", "MXFP4"]
)
def test_bytes_are_read_as_the_gguf_package_reads_them(weights: NDArray[np.float32], type_name: str):
    data = quantize(weights, type_name, np.ones(SHAPE[1], np.float32))
    kind = gguf.GGMLQuantizationType[type_name]
    stored = data.view({"F32": np.float32, "F16": np.float16}.get(type_name, np.uint8))
    expected = gguf.quants.dequantize(stored.reshape(SHAPE[0], -1), kind)
    assert dequantize(data, type_name, SHAPE) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("n_threads", [2, 5, 40])
def test_threads_change_nothing(weights: NDArray[np.float32], n_threads: int):
    data = quantize(weights, "Q4_K")
    assert (quantize(weights, "Q4_K", n_threads=n_threads) == data).all()
    assert (dequantize(data, "Q4_K", SHAPE, n_threads) == dequantize(data, "Q4_K", SHAPE)).all()


def test_importance_moves_the_error_to_where_it_counts_less(weights: NDArray[np.float32]):
    importance = np.ones(SHAPE[1], np.float32)
    importance[::4] = 100
    plain, weighted = (
        dequantize(quantize(weights, "Q2_K", given), "Q2_K", SHAPE) for given in (None, importance)
    )
    assert ((weighted - weights)[:, ::4] ** 2).sum() < ((plain - weights)[:, ::4] ** 2).sum()


def test_weights_that_are_a_view_are_read_in_their_own_order(weights: NDArray[np.float32]):
    turned = np.ascontiguousarray(weights.T).T
    assert (quantize(turned, "Q8_0") == quantize(weights, "Q8_0")).all()


@pytest.mark.parametrize("type_name", NEED_IMPORTANCE)
def test_types_that_need_an_importance_say_so(weights: NDArray[np.float32], type_name: str):
    with pytest.raises(UsageError, match=f"{type_name} needs an importance matrix"):
        quantize(weights, type_name)


def test_what_would_end_the_process_is_refused(weights: NDArray[np.float32]):
    with pytest.raises(EngineError, match="96 columns are not a whole number of Q4_K blocks of 256"):
        quantize(weights[:, :96], "Q4_K")
    with pytest.raises(EngineError, match="weights of type Q8_K cannot be converted"):
        quantize(weights, "Q8_K")
    with pytest.raises(EngineError, match=r"an importance of shape \(3,\) is not one of 512 columns"):
        quantize(weights, "Q4_K", np.ones(3, np.float32))
    with pytest.raises(EngineError, match="5 bytes are not 12 x 512 weights of Q8_0: those take 6528"):
        dequantize(np.zeros(5, np.uint8), "Q8_0", SHAPE)
    weights[3, 4] = np.nan
    with pytest.raises(EngineError, match="weights that are not finite cannot be written as Q4_K"):
        quantize(weights, "Q4_K")
